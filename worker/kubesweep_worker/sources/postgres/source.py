"""The Source on PostgreSQL. Every call is one transaction. The table's description is read once, and again after an error that
says that the table changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from kubesweep.api.plan import Plan
from kubesweep.errors import Outage, RowError, SweepFailure
from kubesweep.queue.model import Database, Key, Sample, StaleRows
from kubesweep_worker.sources.base import (
    WRITE_REFUSED,
    Cuts,
    Explanation,
    Keys,
    Measured,
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
from kubesweep_worker.sources.postgres.database import count_table, identify_database
from kubesweep_worker.sources.postgres.health import HealthProbe
from kubesweep_worker.sources.postgres.oldest import OldestSearch
from kubesweep_worker.sources.postgres.pool import Pool, Rows, Timeouts
from kubesweep_worker.sources.postgres.session import READ_SETTINGS, settings, user_settings
from kubesweep_worker.sources.postgres.statements import Statements
from kubesweep_worker.sources.postgres.table_snapshot import TableSnapshot, read_snapshot
from kubesweep_worker.sources.postgres.window import cut, page
from kubesweep_worker.sources.postgres.write import ArchiveMiscount, TableAltered, apply, lock_rows
from kubesweep_worker.sources.stale_search import StaleSearch

NOW = "SELECT now()::text"
# Two statements of one window must see the same rows: a delete in between would move the end of the second.
SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"
MAX_WRITES = 3  # tries of one write, each without the rows that the previous one left unchanged


class PostgresSource:
    """See :class:`kubesweep_worker.sources.base.Source` and ``Inspector``."""

    def __init__(self, plan: Plan, url: Callable[[], str], margin: float = 5.0) -> None:
        """``margin``: seconds that this side waits for an answer in addition to statementTimeout."""
        self._plan = plan
        self._settings = (*settings(plan), *user_settings(plan))
        self._url = url
        self._identified: tuple[Relation, str, Measured] | None = None  # with the origin
        timeouts = Timeouts(plan.source.statement_timeout, margin)
        name = f"kubesweep/{plan.namespace}/{plan.name}"
        self._pool = Pool(url, plan.concurrency + 1, name, timeouts)
        self._health = HealthProbe(url, f"kubesweep/:health/{plan.namespace}/{plan.name}", self._settings)
        self._snapshot: TableSnapshot | None = None
        self._before: TableSnapshot | None = None  # the previous snapshot
        self._counted = False  # the archive stored fewer rows than were deleted, so its copies are counted
        self._page_size: PageSize | None = None  # set while a sweep's windows exceed the statement timeout
        self._snapshot_lock = asyncio.Lock()
        self._stamps = len(stamp_columns(plan))

    async def close(self) -> None:
        await self._pool.close()
        await self._health.close()

    async def warm(self) -> None:
        statements = await self._statements()
        cutoff = await self.now()
        build = statements.write if self._plan.write is not None and not self._plan.dry_run else statements.keys
        # For an empty list of keys, and rolled back: a new server process reads much of the catalog at its first statement.
        statement = build(Keys(()), Predicate(cutoff))
        await self._pool.run_on_each(self._plan.concurrency, self._settings, statement)

    async def probe(self) -> None:
        await self.now()

    async def now(self) -> str:
        async with self._pool.transaction(self._settings) as tx:
            *_, [(now,)] = await tx.finish(*READ_SETTINGS, NOW)
            return str(now)

    async def origin(self) -> str:
        return (await self._identify())[1]

    async def database(self) -> Database:
        async with self._pool.transaction(self._settings) as tx:
            return await identify_database(tx, self._url())

    async def table_rows(self) -> int | None:
        relation = (await self._learn()).relation
        async with self._pool.transaction(self._settings) as tx:
            return await count_table(tx, relation)

    async def measured(self) -> Measured:
        return (await self._identify())[2]

    async def measure(self, query: str) -> Sample:
        return await self._health.measure(query)

    async def _identify(self) -> tuple[Relation, str, Measured]:
        snapshot = await self._learn()
        relation, statements = snapshot.relation, snapshot.statements
        if self._identified is None or self._identified[0] is not relation:
            async with self._pool.transaction(self._settings) as tx:
                database = await read_database(tx, self._url())
            origin = origin_of(database, f"{relation.schema}.{relation.name}", [part.name for part in statements.key])
            measured = Measured("/".join(database), relation.oid, relation.role, ";".join(user_settings(self._plan)))
            self._identified = relation, origin, measured
        return self._identified

    async def bounds(self) -> tuple[str, Key | None]:
        if self._plan.write is not None and self._plan.write.deletes:
            self._snapshot = None  # a new sweep: the foreign keys may have changed
        snapshot = await self._learn()
        snapshot.check_sweep(self._plan)
        try:
            *_, [(now,)], last = await self._read(*READ_SETTINGS, NOW, snapshot.statements.last())
            return str(now), last[0] if last else None
        except Outage as outage:
            if not timed_out(outage):  # no index has the order of the key
                raise
            return await self.now(), None

    async def inspect(self) -> Table:
        self._snapshot = None
        snapshot = await self._learn()
        children = await self._count_children(snapshot)
        async with self._pool.transaction(self._settings) as tx:
            table = await inspect(tx, self._plan, snapshot)
        check_children(self._plan, snapshot.relation.quoted, children)
        snapshot.check_sweep(self._plan)
        more = child_warnings(self._plan, children)
        return replace(table, children=tuple(each.sentence for each in children), warnings=(*table.warnings, *more))

    async def _count_children(self, snapshot: TableSnapshot) -> tuple[Child, ...]:
        if not snapshot.references:
            return ()
        cutoff = await self.now()
        async with self._pool.transaction((*self._settings, "SET LOCAL statement_timeout = 2000")) as tx:
            return await count_children(tx, snapshot.statements, snapshot.references, cutoff)

    async def explain(self, cutoff: str) -> Explanation:
        snapshot = await self._learn()
        async with self._pool.transaction(self._settings) as tx:
            return await explain(tx, self._plan, snapshot.relation, snapshot.statements, cutoff)

    async def try_write(self, cutoff: str, most: int = 10) -> Tried:
        snapshot = await self._learn()
        patient = (*self._settings, "SET LOCAL lock_timeout = 1000")
        async with self._pool.transaction(patient) as tx:
            return await try_write(tx, snapshot.statements, snapshot.blockers, cutoff, most)

    async def count(self, predicate: Predicate, most: int) -> int:
        statements = await self._statements()
        [[(number,)]] = await self._read(statements.count(predicate, most))
        return int(number)

    async def oldest(self, predicate: Predicate, search: StaleSearch) -> StaleRows:
        snapshot = await self._learn()
        async with self._pool.transaction((*self._settings, SNAPSHOT)) as tx:
            return await OldestSearch(tx, self._plan, snapshot, predicate, search).run()

    async def cut(
        self,
        predicate: Predicate,
        after: Key | None,
        batch: int,
        most: int,
        until: Key | None = None,
    ) -> Cuts:
        snapshot = await self._learn()
        statements = snapshot.statements
        if after is None:  # a new sweep: an index may have been created
            self._page_size = None
        try:
            if self._page_size is None:
                async with self._pool.transaction((*self._settings, SNAPSHOT)) as tx:
                    return await cut(tx, snapshot.relation, statements, predicate, Range(after, until), batch, most)
        except Outage as outage:
            if not timed_out(outage):
                raise
            self._page_size = PageSize(self._plan.source.statement_timeout)
        except SweepFailure:
            self._snapshot = None
            raise

        async def read(start: Key | None, stale: int, rows: int) -> Page:
            async with self._pool.transaction((*self._settings, SNAPSHOT)) as tx:
                return await page(tx, statements, predicate, Range(start, until), stale, rows)

        return await cut_pages(read, self._page_size, after, batch, most)

    async def stale(self, scope: Scope, predicate: Predicate, most: int) -> list[SourceRow]:
        if isinstance(scope, Keys) and not scope.keys:
            return []
        snapshot = await self._learn()
        statements = snapshot.statements
        rows = await self._rows(snapshot, scope, predicate, most)
        end = len(statements.key)
        names = statements.effect_columns
        return [
            SourceRow(
                row[:end],
                dict(zip(names, row[end + self._stamps :], strict=True)),
                tuple(row[end : end + self._stamps]),
            )
            for row in rows
        ]

    async def _rows(self, snapshot: TableSnapshot, scope: Scope, predicate: Predicate, most: int) -> Rows:
        """Find rows under the user's settings, and read them under ``READ_SETTINGS``; in one statement where that is equivalent."""
        statements = snapshot.statements
        if snapshot.same_settings:
            *_, rows = await self._read(*READ_SETTINGS, statements.rows(scope, predicate, most))
            return rows
        try:
            async with self._pool.transaction((*self._settings, SNAPSHOT)) as tx:
                [found] = await tx.run(f"{statements.keys(scope, predicate)} LIMIT {most}")
                if not found:
                    return []
                # Without the COMMIT in the same message, because the driver converts values by the latest settings.
                *_, rows = await tx.run(*READ_SETTINGS, statements.read(Keys(tuple(found))))
                return rows
        except SweepFailure:
            self._snapshot = None
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
        for _ in range(MAX_WRITES):
            try:
                unchanged, written = await self._write(scope, predicate.without(refused), refused, skip_locked)
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
            refused += unchanged
        raise altered or RowError(WRITE_REFUSED, (await self._learn()).blockers.why)

    async def _altered(self) -> bool:
        """Read the tables again; returns whether their columns changed."""
        snapshot, self._snapshot = self._snapshot, None
        return (await self._learn()).altered(snapshot)

    async def _write(
        self, scope: Scope, predicate: Predicate, refused: tuple[Key, ...], skip_locked: bool
    ) -> tuple[tuple[Key, ...], Written | None]:
        """One transaction. Returns what it wrote, or, rolled back, the rows that it cannot write."""
        snapshot = await self._learn()
        statements, blockers = snapshot.statements, snapshot.blockers
        locked: tuple[Key, ...] = ()
        async with self._pool.transaction(self._settings) as tx:
            if skip_locked and blockers.lockable:
                scope, locked = await lock_rows(tx, statements, scope, predicate)
                if not scope.keys:
                    return (), Written(0, locked=locked, refused=refused, why=blockers.why)
            done = await apply(tx, statements, blockers, scope, predicate, counted=self._counted)
            if done.never_ends(blockers):
                return (), Written(0, still_stale=done.again, locked=locked, refused=done.unchanged)
            if done.unchanged:
                return done.unchanged, None
            await tx.commit()
            return (), Written(done.applied, locked=locked, refused=refused, why=blockers.why)

    async def _read(self, *statements: str) -> list[Rows]:
        try:
            async with self._pool.transaction(self._settings) as tx:
                return await tx.finish(*statements)
        except SweepFailure:
            self._snapshot = None
            raise

    async def _statements(self) -> Statements:
        return (await self._learn()).statements

    async def _learn(self) -> TableSnapshot:
        snapshot = self._snapshot
        if snapshot is not None:
            return snapshot
        async with self._snapshot_lock:
            if self._snapshot is None:
                async with self._pool.transaction((*self._settings, SNAPSHOT)) as tx:
                    self._snapshot = self._before = await read_snapshot(tx, self._plan, self._before)
            return self._snapshot
