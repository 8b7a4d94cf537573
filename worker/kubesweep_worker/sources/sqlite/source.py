"""The Source on SQLite.

SQLite has one writer at a time, so ``skip_locked`` has nothing to skip. The file is never created here.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from kubesweep.api.plan import Plan
from kubesweep.errors import Outage, RowError, SweepFailure
from kubesweep.queue.model import MESSAGE, Database, Key, Sample, StaleRows
from kubesweep.text import clip
from kubesweep_worker.sources.base import (
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
from kubesweep_worker.sources.children import Reference, check_children, child_warnings
from kubesweep_worker.sources.conditions import stamp_columns
from kubesweep_worker.sources.fit import check_update
from kubesweep_worker.sources.origin import origin_of
from kubesweep_worker.sources.paging import PageSize, cut_pages, timed_out
from kubesweep_worker.sources.sqlite.catalog import SqliteTable, read_table
from kubesweep_worker.sources.sqlite.children import count_children, read_children, violations
from kubesweep_worker.sources.sqlite.connection_thread import ConnectionThread
from kubesweep_worker.sources.sqlite.errors import SQL_INVALID, classify_sqlite
from kubesweep_worker.sources.sqlite.fit import build_statements, check_new_columns, check_types
from kubesweep_worker.sources.sqlite.inspection import (
    check_cutoff,
    check_now,
    check_order,
    compile_all,
    explain,
    inspect,
)
from kubesweep_worker.sources.sqlite.oldest import count_table, find_oldest
from kubesweep_worker.sources.sqlite.statements import SqliteStatements
from kubesweep_worker.sources.sqlite.url import no_health
from kubesweep_worker.sources.sqlite.window import cut, page
from kubesweep_worker.sources.sqlite.write import MAX_WRITES, TableAltered, try_write, write
from kubesweep_worker.sources.stale_search import StaleSearch

log = logging.getLogger("kubesweep.worker")
ARCHIVE = "spec.write.delete.archiveTo.table"
MAX_SAMPLE_SECONDS = 5.0  # for the user's sql over a sample; a slower check is left to the sweep
NOT_UTF8 = "Could not decode to UTF-8"  # in the message of the sqlite3 module
T = TypeVar("T")


def _decode(data: bytes) -> str:
    """A text column of SQLite may hold any bytes; such a value fails its own row, not the statement."""
    return data.decode("utf-8", "surrogateescape")


class SqliteSource:
    """See :class:`kubesweep_worker.sources.base.Source` and ``Inspector``."""

    def __init__(self, plan: Plan, url: Callable[[], str]) -> None:
        self._plan = plan
        self._thread = ConnectionThread(plan, url, self._forget_table)
        self._learned: tuple[SqliteTable, SqliteStatements] | None = None
        self._archive: SqliteTable | None = None
        self._before: tuple[SqliteTable, SqliteTable | None] | None = None  # table and archive when last read
        self._references: tuple[Reference, ...] = ()
        self._garbled = False  # some keys are not UTF-8: each statement tests every key, and skips their rows
        self._page_size: PageSize | None = None  # set while a sweep's windows exceed the statement timeout

    def _forget_table(self) -> None:
        self._learned = None

    async def close(self) -> None:
        await self._thread.close()

    async def warm(self) -> None:
        await self._do(self._sql)

    async def probe(self) -> None:
        await self.now()

    async def now(self) -> str:
        return await self._do(_read_now)

    async def origin(self) -> str:
        def read(connection: sqlite3.Connection) -> str:
            path = os.path.realpath(self._thread.current_url().path)
            return origin_of([path], self._plan.source.table, self._sql(connection).key)

        return await self._do(read)

    async def database(self) -> Database:
        return await self._do(lambda _: Database.of(os.path.realpath(self._thread.current_url().path)))

    async def table_rows(self) -> int | None:
        return await self._do(lambda c: count_table(c, self._sql(c)))

    async def measured(self) -> Measured:
        raise no_health()

    async def measure(self, query: str) -> Sample:
        raise no_health()

    async def bounds(self) -> tuple[str, Key | None]:
        def last(c: sqlite3.Connection) -> Key | None:
            self._thread.url.check(self._plan)
            self._forget_table()  # a new sweep: the foreign keys may have changed
            table, sql = self._learn(c)
            self._check_sweep(table)
            key: Key | None = c.execute(sql.last()).fetchone()
            return key

        return await self.now(), await self._do(last)

    async def inspect(self) -> Table:
        self._forget_table()
        return await self._do(self._inspect)

    async def explain(self, cutoff: str) -> Explanation:
        return await self._do(lambda c: explain(c, self._plan, *self._learn(c), cutoff))

    async def try_write(self, cutoff: str, most: int = 10) -> Tried:
        return await self._do(lambda c: self._try_write(c, cutoff, most))

    async def count(self, predicate: Predicate, most: int) -> int:
        return await self._do(lambda c: int(c.execute(self._sql(c).count(predicate, most)).fetchone()[0]))

    async def oldest(self, predicate: Predicate, search: StaleSearch) -> StaleRows:
        return await self._do(lambda c: self._oldest(c, predicate, search))

    async def cut(
        self, predicate: Predicate, after: Key | None, batch: int, most: int, until: Key | None = None
    ) -> Cuts:
        if after is None:  # a new sweep: an index may have been created
            self._page_size = None
        try:
            if self._page_size is None:
                return await self._do(lambda c: cut(c, self._sql(c), predicate, Range(after, until), batch, most))
        except Outage as outage:
            if not timed_out(outage):
                raise
            self._page_size = PageSize(self._plan.source.statement_timeout)
        return await cut_pages(
            lambda start, stale, rows: self._do(
                lambda c: page(c, self._sql(c), predicate, Range(start, until), stale, rows)
            ),
            self._page_size,
            after,
            batch,
            most,
        )

    async def stale(self, scope: Scope, predicate: Predicate, most: int) -> list[SourceRow]:
        if isinstance(scope, Keys) and not scope.keys:
            return []
        return await self._do(lambda c: self._stale(c, scope, predicate, most))

    async def keys(self, scope: Scope, predicate: Predicate) -> tuple[Key, ...]:
        if isinstance(scope, Keys) and not scope.keys:
            return ()
        return await self._do(lambda c: tuple(c.execute(self._sql(c).keys(scope, predicate))))

    async def write(self, scope: Scope, predicate: Predicate, *, skip_locked: bool = False) -> Written:
        if isinstance(scope, Keys) and not scope.keys:
            return Written(0)
        return await self._do(lambda c: self._write(c, scope, predicate))

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._thread.run(lambda: self._run(work))

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self._thread.limit_time()
        try:
            try:
                return work(self._thread.open())
            except (sqlite3.OperationalError, UnicodeEncodeError) as error:
                if self._garbled or not (isinstance(error, UnicodeError) or NOT_UTF8 in str(error)):
                    raise
                self._garbled = True
                self._forget_table()
                log.warning("some keys of %s are not UTF-8: their rows are skipped", self._plan.source.table)
                return work(self._thread.open())
        except sqlite3.Error as error:
            raise self._classify(error) from None

    def _classify(self, error: sqlite3.Error) -> Exception:
        self._forget_table()
        found, connection = classify_sqlite(error), self._thread.connection
        if not isinstance(found, SweepFailure) or found.reason != SQL_INVALID or connection is None:
            return found
        try:  # a missing table or column has no error code of its own; reading the schema finds it
            compile_all(connection, self._plan, self._sql(connection))
        except SweepFailure as better:
            return better
        except sqlite3.Error:
            return found
        # The statements compile, so a row is the cause: malformed JSON, a function that fails.
        return RowError(getattr(error, "sqlite_errorname", SQL_INVALID), clip(str(error), MESSAGE))

    def _check_sweep(self, table: SqliteTable) -> None:
        """Raises SweepFailure for anything that must not begin a sweep."""
        check_children(self._plan, table.quoted, [each.child for each in self._references])
        check_types(self._plan, table, self._archive)
        check_update(self._plan, table.quoted, table.columns, has_triggers=bool(table.triggers))
        c = self._thread.open()
        sql = self._sql(c)
        check_now(c, self._plan, sql)
        check_order(c, self._plan, table, sql)
        self._thread.limit_time(min(MAX_SAMPLE_SECONDS, self._plan.source.statement_timeout))
        check_cutoff(c, self._plan, table, sql)
        self._thread.limit_time()

    def _inspect(self, c: sqlite3.Connection) -> Table:
        if self._plan.source.health is not None:
            raise no_health()
        table, sql = self._learn(c)
        found = inspect(c, self._plan, table, sql, read_only=self._thread.url.read_only)
        children = count_children(c, sql, self._references, _read_now(c))
        check_children(self._plan, table.quoted, children)
        self._check_sweep(table)
        more = (*child_warnings(self._plan, children), *violations(c, table, self._references))
        return replace(found, children=tuple(each.sentence for each in children), warnings=(*found.warnings, *more))

    def _learn(self, connection: sqlite3.Connection) -> tuple[SqliteTable, SqliteStatements]:
        """The table and its statements, read once for each connection. Raises SweepFailure where the plan does not fit."""
        if self._learned is None:
            table = read_table(connection, self._plan.source.table)
            write = self._plan.write
            archive = read_table(connection, write.archive.table, ARCHIVE) if write and write.archive else None
            statements = build_statements(self._plan, table, archive, garbled_key=self._garbled)
            self._references = read_children(connection, table) if self._thread.url.foreign_keys else ()
            self._archive = archive
            if self._before is not None:  # the sweep was allowed for the earlier tables
                check_new_columns((table, archive), self._before)
                check_types(self._plan, table, archive)
                check_children(self._plan, statements.table, [each.child for each in self._references])
            self._before = table, archive
            self._learned = table, statements
        return self._learned

    def _sql(self, connection: sqlite3.Connection) -> SqliteStatements:
        return self._learn(connection)[1]

    def _stale(self, c: sqlite3.Connection, scope: Scope, predicate: Predicate, most: int) -> list[SourceRow]:
        sql = self._sql(c)
        end, stamps = len(sql.key), len(stamp_columns(self._plan))
        c.text_factory = _decode
        try:
            rows = [
                SourceRow(
                    row[:end], dict(zip(sql.effect_columns, row[end + stamps :], strict=True)), row[end : end + stamps]
                )
                for row in c.execute(sql.rows(scope, predicate, most))
            ]
            for row in rows if sql.loose_key else ():
                "".join(row.key).encode()  # raises for a key that is not UTF-8, which cannot be named in a statement
            return rows
        finally:
            c.text_factory = str

    def _write(self, c: sqlite3.Connection, scope: Scope, predicate: Predicate) -> Written:
        self._thread.url.check(self._plan)
        for _ in range(MAX_WRITES):
            try:
                return write(c, *self._learn(c), scope, predicate)
            except TableAltered as altered:
                failure = altered
                self._forget_table()
        raise failure

    def _oldest(self, c: sqlite3.Connection, predicate: Predicate, search: StaleSearch) -> StaleRows:
        learned = self._learn(c)
        self._thread.limit_time(search.seconds)
        with self._lock_timeout(c, search.seconds):
            return find_oldest(c, self._plan, *learned, predicate, search)

    @contextmanager
    def _lock_timeout(self, c: sqlite3.Connection, seconds: float) -> Iterator[None]:
        """Wait so long for a lock of another connection, instead of spec.source.lockTimeout."""
        c.execute(f"PRAGMA busy_timeout = {round(seconds * 1000)}")
        try:
            yield
        finally:
            c.execute(f"PRAGMA busy_timeout = {round(self._plan.source.lock_timeout * 1000)}")

    def _try_write(self, c: sqlite3.Connection, cutoff: str, most: int) -> Tried:
        self._thread.url.check(self._plan)
        with self._lock_timeout(c, 1.0):
            return try_write(c, *self._learn(c), cutoff, most)


def _read_now(c: sqlite3.Connection) -> str:
    return str(c.execute("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')").fetchone()[0])
