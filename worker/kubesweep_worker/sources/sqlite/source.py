"""The Source on SQLite: one connection in a thread of its own, so that a slow disk never stops the event loop.

One writer at a time is SQLite's rule: ``skip_locked`` has nothing to skip. The file is never created here.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from kubesweep.api.plan import Plan
from kubesweep.errors import Outage, RowError, SweepFailure
from kubesweep.queue.model import MESSAGE, Key
from kubesweep.text import clip
from kubesweep_worker.sources.base import (
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
from kubesweep_worker.sources.children import Reference, check_children, child_warnings
from kubesweep_worker.sources.conditions import stamp_columns
from kubesweep_worker.sources.fit import check_update
from kubesweep_worker.sources.origin import origin_of
from kubesweep_worker.sources.paging import PageSize, cut_pages, timed_out
from kubesweep_worker.sources.sqlite.catalog import SqliteTable, read_table
from kubesweep_worker.sources.sqlite.children import count_children, read_children, violations
from kubesweep_worker.sources.sqlite.connection import connect
from kubesweep_worker.sources.sqlite.errors import SQL_INVALID, classify_sqlite
from kubesweep_worker.sources.sqlite.fit import build_statements, check_new_columns, check_types
from kubesweep_worker.sources.sqlite.inspection import (
    EXAMPLE,
    check_cutoff,
    check_now,
    check_order,
    compile_all,
    explain,
    inspect,
)
from kubesweep_worker.sources.sqlite.statements import SqliteStatements
from kubesweep_worker.sources.sqlite.url import SqliteUrl, parse_url
from kubesweep_worker.sources.sqlite.window import cut, page
from kubesweep_worker.sources.sqlite.write import ROUNDS, TableAltered, try_write, write

log = logging.getLogger("kubesweep.worker")
ARCHIVE = "spec.write.delete.archiveTo.table"
LOOK = 5.0  # seconds that the user's sql may take over a sample; what takes longer is left to the sweep
NOT_UTF8 = "Could not decode to UTF-8"  # what the sqlite3 module says
T = TypeVar("T")


def _text(data: bytes) -> str:
    """A column of SQLite may hold any bytes under the type text; one such value refuses its row, not the statement."""
    return data.decode("utf-8", "surrogateescape")


class SqliteSource:
    """See :class:`kubesweep_worker.sources.base.Source` and ``Inspector``."""

    def __init__(self, plan: Plan, url: Callable[[], str]) -> None:
        self._plan = plan
        self._url = url
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"sqlite-{plan.name}")
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._found = SqliteUrl("")
        self._known: tuple[SqliteTable, SqliteStatements] | None = None
        self._archive: SqliteTable | None = None
        self._before: tuple[SqliteTable, SqliteTable | None] | None = None  # table and archive at the last look
        self._references: tuple[Reference, ...] = ()
        self._garbled = False  # some keys are no UTF-8: their rows are left alone, at the price of a look at each key
        self._stride: PageSize | None = None  # while a sweep's windows outlast the statement timeout
        self._deadline = 0.0

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown(wait=False)

    async def warm(self) -> None:
        await self._do(self._sql)

    async def probe(self) -> None:
        await self.now()

    async def now(self) -> str:
        return await self._do(lambda c: str(c.execute("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')").fetchone()[0]))

    async def origin(self) -> str:
        def ask(connection: sqlite3.Connection) -> str:
            path = os.path.realpath(parse_url(self._url()).path)
            return origin_of([path], self._plan.source.table, self._sql(connection).key)

        return await self._do(ask)

    async def bounds(self) -> tuple[str, Key | None]:
        def last(c: sqlite3.Connection) -> Key | None:
            self._found.check(self._plan)
            self._known = None  # a new sweep: there may be other foreign keys by now
            table, sql = self._learn(c)
            self._permit(table)
            key: Key | None = c.execute(sql.last()).fetchone()
            return key

        return await self.now(), await self._do(last)

    async def inspect(self) -> Table:
        self._known = None
        return await self._do(self._inspect)

    async def explain(self, cutoff: str) -> Explanation:
        return await self._do(lambda c: explain(c, self._plan, *self._learn(c), cutoff))

    async def try_write(self, cutoff: str, most: int = 10) -> Tried:
        return await self._do(lambda c: self._try_write(c, cutoff, most))

    async def count(self, predicate: Predicate, most: int) -> int:
        return await self._do(lambda c: int(c.execute(self._sql(c).count(predicate, most)).fetchone()[0]))

    async def cut(
        self,
        predicate: Predicate,
        after: Key | None,
        batch: int,
        most: int,
        until: Key | None = None,
    ) -> Cuts:
        if after is None:  # a new sweep: there may be an index by now
            self._stride = None
        try:
            if self._stride is None:
                return await self._do(lambda c: cut(c, self._sql(c), predicate, Range(after, until), batch, most))
        except Outage as outage:
            if not timed_out(outage):
                raise
            self._stride = PageSize(self._plan.source.statement_timeout)
        return await cut_pages(
            lambda start, stale, rows: self._do(
                lambda c: page(c, self._sql(c), predicate, Range(start, until), stale, rows)
            ),
            self._stride,
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
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, work)

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self._deadline = time.monotonic() + self._plan.source.statement_timeout
        try:
            try:
                return work(self._open())
            except (sqlite3.OperationalError, UnicodeEncodeError) as error:
                if self._garbled or not (isinstance(error, UnicodeError) or NOT_UTF8 in str(error)):
                    raise
                self._garbled, self._known = True, None
                log.warning("some keys of %s are not UTF-8: these rows are left alone", self._plan.source.table)
                return work(self._open())
        except sqlite3.Error as error:
            raise self._judge(error) from None

    def _judge(self, error: sqlite3.Error) -> Exception:
        self._known = None
        found = classify_sqlite(error)
        if not isinstance(found, SweepFailure) or found.reason != SQL_INVALID or self._connection is None:
            return found
        try:  # a table or column that is gone has no code of its own: the schema knows
            compile_all(self._connection, self._plan, self._sql(self._connection))
        except SweepFailure as better:
            return better
        except sqlite3.Error:
            return found
        # The statements are right, so one of the rows is not: malformed JSON, a function that fails.
        return RowError(getattr(error, "sqlite_errorname", SQL_INVALID), clip(str(error), MESSAGE))

    def _open(self) -> sqlite3.Connection:
        try:
            found = parse_url(self._url())
            path = found.path
        except OSError as error:
            raise Outage("UrlMissing", f"the database's URL cannot be read: {error.strerror or error}") from None
        try:
            status = os.stat(path)
        except OSError as error:
            self._disconnect()
            raise SweepFailure(
                "DatabaseMissing",
                f"the file {os.path.abspath(path)} cannot be opened ({error.strerror}): correct the URL; it is never created",
            ) from None
        file = (status.st_dev, status.st_ino)
        if self._connection is None or self._file != file or self._found != found:
            self._disconnect()
            self._connection = connect(found, self._plan.source, self._late)
            self._file, self._found = file, found
        return self._connection

    def _late(self) -> bool:
        return time.monotonic() > self._deadline

    def _disconnect(self) -> None:
        self._known = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _permit(self, table: SqliteTable) -> None:
        """Raises SweepFailure for what a sweep must not begin with."""
        check_children(self._plan, table.quoted, [each.child for each in self._references])
        check_types(self._plan, table, self._archive)
        check_update(self._plan, table.quoted, table.columns, hindered=bool(table.triggers))
        c, sql = self._open(), self._sql(self._open())
        check_now(c, self._plan, sql)
        check_order(c, self._plan, table, sql)
        self._deadline = time.monotonic() + min(LOOK, self._plan.source.statement_timeout)
        check_cutoff(c, self._plan, table, sql)
        self._deadline = time.monotonic() + self._plan.source.statement_timeout

    def _inspect(self, c: sqlite3.Connection) -> Table:
        table, sql = self._learn(c)
        found = inspect(c, self._plan, table, sql, read_only=self._found.read_only)
        children = count_children(c, sql, self._references, EXAMPLE)
        check_children(self._plan, table.quoted, children)
        self._permit(table)
        told = (*child_warnings(self._plan, children), *violations(c, table, self._references))
        return replace(found, children=tuple(each.sentence for each in children), warnings=(*found.warnings, *told))

    def _learn(self, connection: sqlite3.Connection) -> tuple[SqliteTable, SqliteStatements]:
        if self._known is None:
            table = read_table(connection, self._plan.source.table)
            write = self._plan.write
            archive = read_table(connection, write.archive.table, ARCHIVE) if write and write.archive else None
            statements = build_statements(self._plan, table, archive, garbled_key=self._garbled)
            self._references = read_children(connection, table) if self._found.foreign_keys else ()
            self._archive = archive
            if self._before is not None:  # the sweep was permitted by what the tables were
                check_new_columns((table, archive), self._before)
                check_types(self._plan, table, archive)
                check_children(self._plan, statements.table, [each.child for each in self._references])
            self._before = table, archive
            self._known = table, statements
        return self._known

    def _sql(self, connection: sqlite3.Connection) -> SqliteStatements:
        return self._learn(connection)[1]

    def _stale(self, c: sqlite3.Connection, scope: Scope, predicate: Predicate, most: int) -> list[SourceRow]:
        sql = self._sql(c)
        end, times = len(sql.key), len(stamp_columns(self._plan))
        c.text_factory = _text
        try:
            rows = [
                SourceRow(
                    row[:end], dict(zip(sql.effect_columns, row[end + times :], strict=True)), row[end : end + times]
                )
                for row in c.execute(sql.rows(scope, predicate, most))
            ]
            for row in rows if sql.loose_key else ():
                "".join(row.key).encode()  # a key that is no UTF-8 names no row
            return rows
        finally:
            c.text_factory = str

    def _write(self, c: sqlite3.Connection, scope: Scope, predicate: Predicate) -> Written:
        self._found.check(self._plan)
        for _ in range(ROUNDS):
            try:
                return write(c, *self._learn(c), scope, predicate)
            except TableAltered as altered:
                self._known, failure = None, altered
        raise failure

    def _try_write(self, c: sqlite3.Connection, cutoff: str, most: int) -> Tried:
        self._found.check(self._plan)
        c.execute("PRAGMA busy_timeout = 1000")
        try:
            return try_write(c, *self._learn(c), cutoff, most)
        finally:
            c.execute(f"PRAGMA busy_timeout = {round(self._plan.source.lock_timeout * 1000)}")
