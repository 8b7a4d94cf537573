"""The Source on PostgreSQL. Every call is one transaction; what it needs to know of the table is read once and read
again after an error that says that the table changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import replace

from kubesweep.api.plan import Plan
from kubesweep.errors import Outage, RowError, SweepFailure
from kubesweep.queue.model import Key
from kubesweep_worker.predicate import quote_name, quote_pg, stamp_columns
from kubesweep_worker.sources.base import (
    WRITE_REFUSED,
    Cuts,
    Explanation,
    Keys,
    Range,
    Scope,
    SourceRow,
    Table,
    Tried,
    Written,
)
from kubesweep_worker.sources.children import Reference, check_children, child_warnings
from kubesweep_worker.sources.origin import origin_of
from kubesweep_worker.sources.postgres_catalogue import (
    Relation,
    build_statements,
    check_kin,
    check_new_columns,
    check_types,
    is_part,
    is_utc,
    lost_columns,
    read_database,
    read_relation,
    read_session,
)
from kubesweep_worker.sources.postgres_check import explain, inspect, try_write
from kubesweep_worker.sources.postgres_children import count_children, read_children
from kubesweep_worker.sources.postgres_cut import cut, page
from kubesweep_worker.sources.postgres_pool import Patience, Pool, Rows, Transaction
from kubesweep_worker.sources.postgres_sql import Statements
from kubesweep_worker.sources.postgres_write import (
    Hindrances,
    TableAltered,
    Uncounted,
    apply,
    check_update,
    read_hindrances,
)
from kubesweep_worker.sources.stride import Page, Stride, cut_pages, timed_out

ARCHIVE = "spec.write.delete.archiveTo"
NOW = "SELECT now()::text"
# Two statements of one window must see the same rows: what is deleted in between would move the end of the second.
SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"
ROUNDS = 3  # tries of a write, each without the rows that the one before left as they were


def settings(plan: Plan) -> tuple[str, ...]:
    """LOCAL, in every transaction: behind a pooler the next one may run in another session."""
    return (
        f"SET LOCAL lock_timeout = {max(1, round(plan.source.lock_timeout * 1000))}",
        f"SET LOCAL statement_timeout = {max(1, round(plan.source.statement_timeout * 1000))}",
        # A worker that hangs between the write and its commit must not hold the rows for ever.
        # On a busy machine it is no hang to take longer than a short statementTimeout between two statements.
        f"SET LOCAL idle_in_transaction_session_timeout = {max(10_000, round(plan.source.statement_timeout * 1000))}",
        "SET LOCAL standard_conforming_strings = on",
        "SET LOCAL quote_all_identifiers = off",  # the catalogue's names of types are compared with ours
        "SET LOCAL jit = off",  # compiling costs more than any of our statements
    )


# What Python, stamps and values are read under.
OURS = ("SET LOCAL TimeZone = 'UTC'", "SET LOCAL DateStyle = 'ISO, MDY'", "SET LOCAL IntervalStyle = 'postgres'")


def theirs(plan: Plan) -> tuple[str, ...]:
    """What the user's sql, triggers and defaults run under. DEFAULT is what the login gets, whoever used the session before."""
    session = plan.source.session
    named = {
        "TimeZone": session.time_zone,
        "DateStyle": session.date_style,
        "IntervalStyle": session.interval_style,
    }
    path = ", ".join(map(quote_name, session.search_path)) or "DEFAULT"
    return (
        *(f"SET LOCAL {name} = {'DEFAULT' if value is None else quote_pg(value)}" for name, value in named.items()),
        f"SET LOCAL search_path = {path}",
    )


class PostgresSource:
    """See :class:`kubesweep_worker.sources.base.Source` and ``Inspector``."""

    def __init__(self, plan: Plan, url: Callable[[], str], margin: float = 5.0) -> None:
        """``margin``: seconds on top of statementTimeout that this side waits for an answer."""
        self._plan = plan
        self._settings = (*settings(plan), *theirs(plan))
        self._url = url
        self._origin: tuple[Relation, str] | None = None
        patience = Patience(plan.source.statement_timeout, margin)
        self._pool = Pool(url, plan.concurrency + 1, f"kubesweep/{plan.namespace}/{plan.name}", patience)
        self._known: tuple[Relation, Statements] | None = None
        self._archive: Relation | None = None
        self._lost: frozenset[str] | None = None  # columns that the archive lacks
        self._session: dict[str, str] = {}
        self._references: tuple[Reference, ...] = ()
        self._counted = False  # the archive was seen to take fewer rows than were deleted
        self._hindrances = Hindrances()
        self._stride: Stride | None = None  # while a sweep's windows outlast the statement timeout
        self._knowing = asyncio.Lock()
        self._times = len(stamp_columns(plan))

    async def close(self) -> None:
        await self._pool.close()

    async def warm(self) -> None:
        _, statements = await self._learn()
        cutoff = await self.now()
        ask = statements.write if self._plan.write is not None and not self._plan.dry_run else statements.keys
        # For no key at all, and rolled back: a new server process reads much of its catalogue at its first statement.
        statement = ask(Keys(()), cutoff, ())
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
        relation, statements = await self._learn()
        if self._origin is None or self._origin[0] is not relation:
            async with self._pool.transaction(self._settings) as tx:
                database = await read_database(tx, self._url())
            name = f"{relation.schema}.{relation.name}"
            self._origin = relation, origin_of(database, name, [part.name for part in statements.key])
        return self._origin[1]

    def _permit(self, relation: Relation) -> None:
        """Raises SweepFailure for what a sweep must not begin with."""
        check_children(self._plan, relation.quoted, [each.child for each in self._references])
        check_types(self._plan, relation, self._archive)
        check_update(self._plan, relation, self._hindrances)

    async def bounds(self) -> tuple[str, Key | None]:
        if self._plan.write is not None and self._plan.write.deletes:
            self._known = None  # a new sweep: there may be other foreign keys by now
        relation, statements = await self._learn()
        self._permit(relation)
        try:
            *_, [(now,)], last = await self._read(*OURS, NOW, statements.last())
            return str(now), last[0] if last else None
        except Outage as outage:
            if not timed_out(outage):  # no index has the key's order
                raise
            return await self.now(), None

    async def inspect(self) -> Table:
        self._known = None
        relation, statements = await self._learn()
        async with self._pool.transaction(self._settings) as tx:
            table = await inspect(tx, self._plan, relation, statements, self._archive, self._session)
        self._permit(relation)
        if not self._references:
            return table
        cutoff = await self.now()
        async with self._pool.transaction((*self._settings, "SET LOCAL statement_timeout = 2000")) as tx:
            children = await count_children(tx, statements, self._references, cutoff)
        told = child_warnings(self._plan, children)
        return replace(table, children=tuple(each.sentence for each in children), warnings=(*table.warnings, *told))

    async def explain(self, cutoff: str) -> Explanation:
        relation, statements = await self._learn()
        async with self._pool.transaction(self._settings) as tx:
            return await explain(tx, self._plan, relation, statements, cutoff)

    async def try_write(self, cutoff: str, most: int = 10) -> Tried:
        _, statements = await self._learn()
        patient = (*self._settings, "SET LOCAL lock_timeout = 1000")
        async with self._pool.transaction(patient) as tx:
            return await try_write(tx, statements, self._hindrances, cutoff, most)

    async def count(self, cutoff: str, held: Collection[Key], most: int) -> int:
        statements = await self._statements()
        [[(number,)]] = await self._read(statements.count(cutoff, held, most))
        return int(number)

    async def cut(
        self,
        cutoff: str,
        after: Key | None,
        held: Collection[Key],
        batch: int,
        most: int,
        until: Key | None = None,
    ) -> Cuts:
        relation, statements = await self._learn()
        if after is None:  # a new sweep: there may be an index by now
            self._stride = None
        try:
            if self._stride is None:
                async with self._pool.transaction((*self._settings, SNAPSHOT)) as tx:
                    return await cut(tx, relation, statements, cutoff, Range(after, until), held, batch, most)
        except Outage as outage:
            if not timed_out(outage):
                raise
            self._stride = Stride(self._plan.source.statement_timeout)
        except SweepFailure:
            self._known = None
            raise

        async def ask(start: Key | None, stale: int, rows: int) -> Page:
            async with self._pool.transaction((*self._settings, SNAPSHOT)) as tx:
                return await page(tx, statements, cutoff, Range(start, until), held, stale, rows)

        return await cut_pages(ask, self._stride, after, batch, most)

    async def stale(self, scope: Scope, cutoff: str, held: Collection[Key], most: int) -> list[SourceRow]:
        if isinstance(scope, Keys) and not scope.keys:
            return []
        statements = await self._statements()
        rows = await self._rows(statements, scope, cutoff, held, most)
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

    async def _rows(self, statements: Statements, scope: Scope, cutoff: str, held: Collection[Key], most: int) -> Rows:
        """Found under the login's settings, read under ours; in one statement where that makes no difference."""
        if self._alike:
            *_, rows = await self._read(*OURS, statements.rows(scope, cutoff, held, most))
            return rows
        try:
            async with self._pool.transaction((*self._settings, SNAPSHOT)) as tx:
                [found] = await tx.run(f"{statements.keys(scope, cutoff, held)} LIMIT {most}")
                if not found:
                    return []
                # Without the COMMIT in the same message: the driver converts by the settings that it was told last.
                *_, rows = await tx.run(*OURS, statements.read(Keys(tuple(found))))
                return rows
        except SweepFailure:
            self._known = None
            raise

    async def keys(self, scope: Scope, cutoff: str, held: Collection[Key]) -> tuple[Key, ...]:
        if isinstance(scope, Keys) and not scope.keys:
            return ()
        statements = await self._statements()
        [rows] = await self._read(statements.keys(scope, cutoff, held))
        return tuple(rows)

    async def write(self, scope: Scope, cutoff: str, held: Collection[Key], *, skip_locked: bool = False) -> Written:
        if isinstance(scope, Keys) and not scope.keys:
            return Written(0)
        refused: tuple[Key, ...] = ()
        altered: Exception | None = None
        for _ in range(ROUNDS):
            try:
                left, written = await self._write(scope, cutoff, (*held, *refused), refused, skip_locked)
            except Uncounted:
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
        raise altered or RowError(WRITE_REFUSED, self._hindrances.why)

    @property
    def _alike(self) -> bool:
        """Whether the user's sql means the same under our settings."""
        session = self._session
        return (
            is_utc(session["TimeZone"])
            and session["DateStyle"] == "ISO, MDY"
            and session["IntervalStyle"] == "postgres"
        )

    async def _altered(self) -> bool:
        """Look at the tables again: whether their columns changed."""
        known, before = self._known, self._archive
        self._known = None
        relation, _ = await self._learn()
        archive = self._archive
        if known is None or relation.columns != known[0].columns:
            return True
        return before is not None and archive is not None and before.columns != archive.columns

    async def _write(
        self, scope: Scope, cutoff: str, held: Collection[Key], refused: tuple[Key, ...], skip_locked: bool
    ) -> tuple[tuple[Key, ...], Written | None]:
        """One transaction: what it wrote, or, rolled back, the rows that it cannot write."""
        _, statements = await self._learn()
        hindrances = self._hindrances
        locked: tuple[Key, ...] = ()
        async with self._pool.transaction(self._settings) as tx:
            if skip_locked and hindrances.lockable:
                scope, locked = await _lock(tx, statements, scope, cutoff, held)
                if not scope.keys:
                    return (), Written(0, locked=locked, refused=refused, why=hindrances.why)
            done = await apply(tx, statements, hindrances, scope, cutoff, held, counted=self._counted)
            if done.never_ends(hindrances):
                return (), Written(0, still_stale=done.again, locked=locked, refused=done.left)
            if done.left:
                return done.left, None
            await tx.commit()
            return (), Written(done.applied, locked=locked, refused=refused, why=hindrances.why)

    async def _read(self, *statements: str) -> list[Rows]:
        try:
            async with self._pool.transaction(self._settings) as tx:
                return await tx.finish(*statements)
        except SweepFailure:
            self._known = None
            raise

    async def _statements(self) -> Statements:
        return (await self._learn())[1]

    async def _learn(self) -> tuple[Relation, Statements]:
        known = self._known
        if known is not None:
            return known
        async with self._knowing:
            if self._known is None:
                self._known = await self._look()
            return self._known

    async def _look(self) -> tuple[Relation, Statements]:
        source, write = self._plan.source, self._plan.write
        async with self._pool.transaction((*self._settings, SNAPSHOT)) as tx:
            relation = await read_relation(tx, source.schema, source.table)
            archive = None
            if write is not None and write.archive is not None:
                archive = await read_relation(tx, write.archive.schema or relation.schema, write.archive.table, ARCHIVE)
            statements = build_statements(self._plan, relation, archive)
            hindrances = await read_hindrances(tx, self._plan, statements, relation, archive)
            self._references = await read_children(tx, relation) if write is not None and write.deletes else ()
            check_kin(relation, archive, await is_part(tx, relation, archive))
            if self._lost is not None:  # the sweep was permitted by what the tables were
                check_new_columns(relation, archive, self._lost)
                check_types(self._plan, relation, archive)
                check_children(self._plan, relation.quoted, [each.child for each in self._references])
            self._lost, self._archive, self._hindrances = lost_columns(relation, archive), archive, hindrances
            self._session = await read_session(tx)
            return relation, statements


async def _lock(
    tx: Transaction, statements: Statements, scope: Scope, cutoff: str, held: Collection[Key]
) -> tuple[Keys, tuple[Key, ...]]:
    """Take what nobody else holds. The list of all comes first: a row that its holder finished with in between is then
    reported as locked and found not stale later, never lost."""
    every, got = await tx.run(statements.keys(scope, cutoff, held), statements.lock(scope, cutoff, held))
    mine = dict.fromkeys(got)
    return Keys(tuple(mine)), tuple(key for key in every if key not in mine)
