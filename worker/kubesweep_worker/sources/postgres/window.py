"""Cut a window, in one of two ways with the same result. The query planner's estimate chooses, and the rows found correct it:

key scan      for dense stale rows: along the key's index, at most ten rows for each wanted one; returns only the boundaries
match search  for sparse stale rows: by the best index of the match, sorted afterwards; returns the keys, which the jobs need

Both are bounded, so a wrong estimate costs time once, and never reads a whole table for a few rows.
"""

from __future__ import annotations

from collections.abc import Iterator

from kubesweep.queue.model import Key
from kubesweep_worker.sources.base import Cut, Cuts, Keys, Predicate, Range
from kubesweep_worker.sources.paging import Page
from kubesweep_worker.sources.postgres.checks.catalog import Relation
from kubesweep_worker.sources.postgres.checks.fit import INTEGERS
from kubesweep_worker.sources.postgres.pool import Transaction
from kubesweep_worker.sources.postgres.statements import Statements
from kubesweep_worker.sources.postgres.values import query_plan

SPAN = 10  # a range job reads at most this many rows for each stale one
DOUBT = 2  # the key scan is tried even where the estimate misses "dense" by this factor
# The query planner cannot see that the key scan is bounded: without this it may sort the table instead.
ALONG_THE_KEY = ("SET LOCAL enable_seqscan = off", "SET LOCAL enable_bitmapscan = off", "SET LOCAL enable_sort = off")
# No order is needed: a bitmap scan reads each heap page once, with prefetching (measured cold: 30 ms instead of 45 ms).
PAGE_BY_PAGE = ("SET LOCAL enable_indexscan = off",)
ANY_INDEX_SCAN = ("SET LOCAL enable_indexscan = on",)
ANY_WAY = ("SET LOCAL enable_seqscan = on", "SET LOCAL enable_bitmapscan = on", "SET LOCAL enable_sort = on")


async def estimate(tx: Transaction, *queries: str) -> list[int]:
    """The query planner's estimate of each query's rows; reads nothing."""
    answers = await tx.run(*(f"EXPLAIN (FORMAT JSON) {query}" for query in queries))
    return [int(query_plan(rows)["Plan Rows"]) for rows in answers]


async def cut(
    tx: Transaction,
    relation: Relation,
    statements: Statements,
    predicate: Predicate,
    behind: Range,
    batch: int,
    most: int,
) -> Cuts:
    window = _Window(tx, relation, statements, predicate, behind, batch, most)
    if not await window.looks_dense():
        found = await window.match_search()
        if found is not None:
            return found
    return await window.key_scan()


async def page(
    tx: Transaction, statements: Statements, predicate: Predicate, behind: Range, most: int, span: int
) -> Page:
    """At most ``most`` stale keys among the next ``span`` rows of the table. See paging.py."""
    *_, rows = await tx.run(*ALONG_THE_KEY, statements.key_scan(behind, predicate, 1, most, span))
    keys = tuple(row[1:] for row in rows)
    if len(keys) == most:
        return Page(keys, span, keys[-1])
    [last] = await tx.run(statements.key_scan_end(behind, span))
    scanned = int(last[0][0]) if last else 0
    return Page(keys, scanned, last[0][1:] if scanned == span else None)


class _Window:
    def __init__(
        self,
        tx: Transaction,
        relation: Relation,
        statements: Statements,
        predicate: Predicate,
        behind: Range,
        batch: int,
        most: int,
    ) -> None:
        self._tx = tx
        self._statements = statements
        self._integer = len(statements.key) == 1 and statements.key[0].type in INTEGERS
        self._analysed = relation.rows >= 0
        self._predicate = predicate
        self._behind = behind
        self._after = behind.low
        self._batch = batch
        self._most = most
        self._searched_match = False

    async def looks_dense(self) -> bool:
        if not self._analysed:
            return True
        stale, rows = await estimate(
            self._tx,
            self._statements.any(self._behind, Predicate(self._predicate.cutoff)),
            self._statements.span(self._behind),
        )
        return stale * SPAN * DOUBT >= rows

    async def match_search(self) -> Cuts | None:
        """None where there are too many rows to sort."""
        self._searched_match = True
        limit = SPAN * self._most
        _, rows, _ = await self._tx.run(
            *PAGE_BY_PAGE,
            self._statements.match_search(self._behind, self._predicate, self._most, limit),
            *ANY_INDEX_SCAN,
        )
        total = int(rows[0][0])
        if total > limit:
            return None
        keys = [row[1:] for row in rows] if total else []
        cursor = keys[-1] if total > len(keys) else None
        return await self._share(keys, cursor)

    async def key_scan(self) -> Cuts:
        span = SPAN * self._most
        *_, rows = await self._tx.run(
            *ALONG_THE_KEY,
            self._statements.key_scan(self._behind, self._predicate, self._batch, self._most, span),
        )
        ends = [(int(row[0]), row[1:]) for row in rows]
        count = ends[-1][0] if ends else 0
        if count == self._most:
            return Cuts(tuple(self._ranges(ends)), count, ends[-1][1])
        [last] = await self._tx.run(self._statements.key_scan_end(self._behind, span))
        scanned = int(last[0][0]) if last else 0
        end = last[0][1:] if scanned == span else None
        await self._tx.run(*ANY_WAY)
        if count * SPAN >= scanned:
            return Cuts(tuple(self._ranges(ends)), count, end)
        if not self._searched_match:
            found = await self.match_search()
            if found is not None:
                return found
        [listed] = await self._tx.run(
            self._statements.keys(Range(self._after, end or self._behind.high), self._predicate)
        )
        return self._lists(listed, end)

    async def _share(self, keys: list[Key], cursor: Key | None) -> Cuts:
        if not keys:
            return Cuts((), 0, cursor)
        if not await self._dense_between(keys):
            return self._lists(keys, cursor)
        ends = [
            (min(n, len(keys)), keys[min(n, len(keys)) - 1])
            for n in range(self._batch, len(keys) + self._batch, self._batch)
        ]
        return Cuts(tuple(self._ranges(ends)), len(keys), cursor)

    async def _dense_between(self, keys: list[Key]) -> bool:
        """For a single integer key the distance proves it; otherwise the query planner's estimate decides."""
        if self._integer:
            low = int(self._after[0]) if self._after else int(keys[0][0]) - 1
            if int(keys[-1][0]) - low <= SPAN * len(keys):
                return True
        [rows] = await estimate(self._tx, self._statements.span(Range(self._after, keys[-1])))
        return self._analysed and rows <= SPAN * len(keys)

    def _lists(self, keys: list[Key], cursor: Key | None) -> Cuts:
        jobs = max(1, -(-len(keys) // self._batch))
        size = max(1, -(-len(keys) // jobs))  # equal sizes: no full job and no job of a few rows is left for the end
        parts = (tuple(keys[n : n + size]) for n in range(0, len(keys), size))
        return Cuts(tuple(Cut(Keys(part), len(part)) for part in parts), len(keys), cursor)

    def _ranges(self, ends: list[tuple[int, Key]]) -> Iterator[Cut]:
        low, before = self._after, 0
        for number, high in ends:
            yield Cut(Range(low, high), number - before)
            low, before = high, number
