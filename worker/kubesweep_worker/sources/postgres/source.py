"""The Source on PostgreSQL. Every call is one transaction; what it needs to know of the table is read once and read
again after an error that says that the table changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from kubesweep.api.plan import Plan
from kubesweep.errors import Outage, RowError, SweepFailure
from kubesweep.queue.model import Key
from kubesweep_worker.sources.base import (
    WRITE_REFUSED,
    Cuts,
    Explanation,
    Keys,
    Predicate,
    Range,
    Scope,
    SourceRow,
    Table,
    Tried,
    Written,
)
from kubesweep_worker.sources.children import Child, check_children, child_warnings
from kubesweep_worker.sources.conditions import stamp_columns
from kubesweep_worker.sources.origin import origin_of
from kubesweep_worker.sources.paging import Page, PageSize, cut_pages, timed_out
from kubesweep_worker.sources.postgres.checks.catalog import Relation, read_database
from kubesweep_worker.sources.postgres.checks.children import count_children
from kubesweep_worker.sources.postgres.checks.inspection import explain, inspect, try_write
from kubesweep_worker.sources.postgres.pool import Pool, Rows, Timeouts, Transaction
from kubesweep_worker.sources.postgres.session import OURS, settings, theirs
from kubesweep_worker.sources.postgres.statements import Statements
from kubesweep_worker.sources.postgres.table_snapshot import TableSnapshot, read_snapshot
from kubesweep_worker.sources.postgres.window import cut, page
from kubesweep_worker.sources.postgres.write import ArchiveMiscount, TableAltered, apply

NOW = "SELECT now()::text"
# Two statements of one window must see the same rows: what is deleted in between would move the end of the second.
SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"
ROUNDS = 3  # tries of a write, each without the rows that the one before left as they were


class PostgresSource:
    """See :class:`kubesweep_worker.sources.base.Source` and ``Inspector``."""

    def __init__(self, plan: Plan, url: Callable[[], str], margin: float = 5.0) -> None:
        """``margin``: seconds on top of statementTimeout that this side waits for an answer."""
        self._plan = plan
        self._settings = (*settings(plan), *theirs(plan))
        self._url = url
        self._origin: tuple[Relation, str] | None = None
        patience = Timeouts(plan.source.statement_timeout, margin)
        self._pool = Pool(url, plan.concurrency + 1, f"kubesweep/{plan.namespace}/{plan.name}", patience)
        self._known: TableSnapshot | None = None
        self._before: TableSnapshot | None = None  # what was known at the last look
        self._counted = False  # the archive was seen to take fewer rows than were deleted
        self._stride: PageSize | None = None  # while a sweep's windows outlast the statement timeout
        self._knowing = asyncio.Lock()
        self._times = len(stamp_columns(plan))

    async def close(self) -> None:
        await self._pool.close()

    async def warm(self) -> None:
        statements = await self._statements()
        cutoff = await self.now()
        ask = statements.write if self._plan.write is not None and not self._plan.dry_run else statements.keys
        # For no key at all, and rolled back: a new server process reads much of its catalogue at its first statement.
        statement = ask(Keys(()), Predicate(cutoff))
        rehearsals = (self._rehearse(statement) for _ in range(self._plan.concurrency))
        # Without return_exceptions the first failure would leave the others running, on connections that nobody closes.
        for failure in await asyncio.gather(*rehearsals, return_exceptions=True):
            if failure is not None:
                raise failure

    async def _rehearse(self, statement: str) -> None:
        async with self._pool.transaction(self._settings) as tx:
            await tx.run(statement)

    async def probe(self) -> None:
        await self.now()

    async def now(self) -> str:
        async with self._pool.transaction(self._settings) as tx:
            *_, [(now,)] = await tx.finish(*OURS, NOW)
            return str(now)

    async def origin(self) -> str:
        known = await self._learn()
        relation, statements = known.relation, known.statements
        if self._origin is None or self._origin[0] is not relation:
            async with self._pool.transaction(self._settings) as tx:
                database = await read_database(tx, self._url())
            name = f"{relation.schema}.{relation.name}"
            self._origin = relation, origin_of(database, name, [part.name for part in statements.key])
        return self._origin[1]

    async def bounds(self) -> tuple[str, Key | None]:
        if self._plan.write is not None and self._plan.write.deletes:
            self._known = None  # a new sweep: there may be other foreign keys by now
        known = await self._learn()
        known.permit(self._plan)
        try:
            *_, [(now,)], last = await self._read(*OURS, NOW, known.statements.last())
            return str(now), last[0] if last else None
        except Outage as outage:
            if not timed_out(outage):  # no index has the key's order
                raise
            return await self.now(), None

    async def inspect(self) -> Table:
        self._known = None
        known = await self._learn()
        children = await self._count_children(known)
        async with self._pool.transaction(self._settings) as tx:
            table = await inspect(tx, self._plan, known)
        check_children(self._plan, known.relation.quoted, children)
        known.permit(self._plan)
        told = child_warnings(self._plan, children)
        return replace(table, children=tuple(each.sentence for each in children), warnings=(*table.warnings, *told))

    async def _count_children(self, known: TableSnapshot) -> tuple[Child, ...]:
        if not known.references:
            return ()
        cutoff = await self.now()
        async with self._pool.transaction((*self._settings, "SET LOCAL statement_timeout = 2000")) as tx:
            return await count_children(tx, known.statements, known.references, cutoff)

    async def explain(self, cutoff: str) -> Explanation:
        known = await self._learn()
        async with self._pool.transaction(self._settings) as tx:
            return await explain(tx, self._plan, known.relation, known.statements, cutoff)

    async def try_write(self, cutoff: str, most: int = 10) -> Tried:
        known = await self._learn()
        patient = (*self._settings, "SET LOCAL lock_timeout = 1000")
        async with self._pool.transaction(patient) as tx:
            return await try_write(tx, known.statements, known.blockers, cutoff, most)

    async def count(self, predicate: Predicate, most: int) -> int:
        statements = await self._statements()
        [[(number,)]] = await self._read(statements.count(predicate, most))
        return int(number)

    async def cut(
        self,
        predicate: Predicate,
        after: Key | None,
        batch: int,
        most: int,
        until: Key | None = None,
    ) -> Cuts:
        known = await self._learn()
        statements = known.statements
        if after is None:  # a new sweep: there may be an index by now
            self._stride = None
        try:
            if self._stride is None:
                async with self._pool.transaction((*self._settings, SNAPSHOT)) as tx:
                    return await cut(tx, known.relation, statements, predicate, Range(after, until), batch, most)
        except Outage as outage:
            if not timed_out(outage):
                raise
            self._stride = PageSize(self._plan.source.statement_timeout)
        except SweepFailure:
            self._known = None
            raise

        async def ask(start: Key | None, stale: int, rows: int) -> Page:
            async with self._pool.transaction((*self._settings, SNAPSHOT)) as tx:
                return await page(tx, statements, predicate, Range(start, until), stale, rows)

        return await cut_pages(ask, self._stride, after, batch, most)

    async def stale(self, scope: Scope, predicate: Predicate, most: int) -> list[SourceRow]:
        if isinstance(scope, Keys) and not scope.keys:
            return []
        known = await self._learn()
        statements = known.statements
        rows = await self._rows(known, scope, predicate, most)
        end = len(statements.key)
        names = statements.effect_columns
        return [
            SourceRow(
                row[:end],
                dict(zip(names, row[end + self._times :], strict=True)),
                tuple(row[end : end + self._times]),
            )
            for row in rows
        ]

    async def _rows(self, known: TableSnapshot, scope: Scope, predicate: Predicate, most: int) -> Rows:
        """Found under the login's settings, read under ours; in one statement where that makes no difference."""
        statements = known.statements
        if known.alike:
            *_, rows = await self._read(*OURS, statements.rows(scope, predicate, most))
            return rows
        try:
            async with self._pool.transaction((*self._settings, SNAPSHOT)) as tx:
                [found] = await tx.run(f"{statements.keys(scope, predicate)} LIMIT {most}")
                if not found:
                    return []
                # Without the COMMIT in the same message: the driver converts by the settings that it was told last.
                *_, rows = await tx.run(*OURS, statements.read(Keys(tuple(found))))
                return rows
        except SweepFailure:
            self._known = None
            raise

    async def keys(self, scope: Scope, predicate: Predicate) -> tuple[Key, ...]:
        if isinstance(scope, Keys) and not scope.keys:
            return ()
        statements = await self._statements()
        [rows] = await self._read(statements.keys(scope, predicate))
        return tuple(rows)

    async def write(self, scope: Scope, predicate: Predicate, *, skip_locked: bool = False) -> Written:
        if isinstance(scope, Keys) and not scope.keys:
            return Written(0)
        refused: tuple[Key, ...] = ()
        altered: Exception | None = None
        for _ in range(ROUNDS):
            try:
                left, written = await self._write(scope, predicate.without(refused), refused, skip_locked)
            except ArchiveMiscount:
                self._counted = True
                continue
            except (SweepFailure, TableAltered) as failure:
                altered = failure
                if not await self._altered():
                    raise
                continue
            if written is not None:
                return written
            refused += left
        raise altered or RowError(WRITE_REFUSED, (await self._learn()).blockers.why)

    async def _altered(self) -> bool:
        """Look at the tables again: whether their columns changed."""
        known, self._known = self._known, None
        return (await self._learn()).altered(known)

    async def _write(
        self, scope: Scope, predicate: Predicate, refused: tuple[Key, ...], skip_locked: bool
    ) -> tuple[tuple[Key, ...], Written | None]:
        """One transaction: what it wrote, or, rolled back, the rows that it cannot write."""
        known = await self._learn()
        statements, blockers = known.statements, known.blockers
        locked: tuple[Key, ...] = ()
        async with self._pool.transaction(self._settings) as tx:
            if skip_locked and blockers.lockable:
                scope, locked = await _lock(tx, statements, scope, predicate)
                if not scope.keys:
                    return (), Written(0, locked=locked, refused=refused, why=blockers.why)
            done = await apply(tx, statements, blockers, scope, predicate, counted=self._counted)
            if done.never_ends(blockers):
                return (), Written(0, still_stale=done.again, locked=locked, refused=done.left)
            if done.left:
                return done.left, None
            await tx.commit()
            return (), Written(done.applied, locked=locked, refused=refused, why=blockers.why)

    async def _read(self, *statements: str) -> list[Rows]:
        try:
            async with self._pool.transaction(self._settings) as tx:
                return await tx.finish(*statements)
        except SweepFailure:
            self._known = None
            raise

    async def _statements(self) -> Statements:
        return (await self._learn()).statements

    async def _learn(self) -> TableSnapshot:
        known = self._known
        if known is not None:
            return known
        async with self._knowing:
            if self._known is None:
                async with self._pool.transaction((*self._settings, SNAPSHOT)) as tx:
                    self._known = self._before = await read_snapshot(tx, self._plan, self._before)
            return self._known


async def _lock(
    tx: Transaction, statements: Statements, scope: Scope, predicate: Predicate
) -> tuple[Keys, tuple[Key, ...]]:
    """Take what nobody else holds. The list of all comes first: a row that its holder finished with in between is then
    reported as locked and found not stale later, never lost."""
    every, got = await tx.run(statements.keys(scope, predicate), statements.lock(scope, predicate))
    mine = dict.fromkeys(got)
    return Keys(tuple(mine)), tuple(key for key in every if key not in mine)
