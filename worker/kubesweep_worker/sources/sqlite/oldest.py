"""Find the oldest and the newest stale row of a SQLite table, and count the stale rows, until the connection's deadline."""

from __future__ import annotations

import sqlite3

from kubesweep.api.plan import Plan
from kubesweep.errors import Outage
from kubesweep.queue.model import StaleRows
from kubesweep_worker.sources.base import LOCKS, MOST_ROWS_COUNTED, Predicate, Range
from kubesweep_worker.sources.conditions import time_conditions
from kubesweep_worker.sources.paging import timed_out
from kubesweep_worker.sources.sqlite.catalog import SqliteTable
from kubesweep_worker.sources.sqlite.errors import classify_sqlite
from kubesweep_worker.sources.sqlite.inspection import index_advice
from kubesweep_worker.sources.sqlite.statements import SqliteStatements
from kubesweep_worker.sources.stale_search import StaleSearch

MOST_COUNTED = 10**9


def find_oldest(
    c: sqlite3.Connection,
    plan: Plan,
    table: SqliteTable,
    sql: SqliteStatements,
    predicate: Predicate,
    search: StaleSearch,
) -> StaleRows:
    """The caller has set the deadline of the connection. Raises sqlite3.Error for anything but a timeout or a lock."""
    rows: int | None = None
    oldest: float | None = None
    latest: float | None = None
    unknown = ""
    try:
        if time_conditions(plan.match):
            unknown = f"finding it takes longer than {search.seconds * 1000:g} ms"
            if create := index_advice(c, plan, table, sql):
                unknown = f"finding it would read all of {sql.table}: {create}"
            else:
                oldest, unknown = min(_times(c, sql.oldest(predicate)), default=None), ""
        rows = int(c.execute(sql.count(predicate, MOST_COUNTED)).fetchone()[0])
        if search.newest and oldest is not None:
            latest = max(_times(c, sql.newest(predicate)), default=None)
    except sqlite3.OperationalError as error:
        outage = classify_sqlite(error)
        if not isinstance(outage, Outage) or not (timed_out(outage) or outage.reason in LOCKS):
            raise
    return StaleRows(rows, oldest, unknown, newest=latest)


def _times(c: sqlite3.Connection, statements: tuple[str, str]) -> list[float]:
    return [row[0] for part in statements for row in c.execute(part)]


def count_table(c: sqlite3.Connection, sql: SqliteStatements) -> int | None:
    """The number of rows of the table, counted. None where it has more than are counted, or that takes too long."""
    try:
        rows = int(c.execute(sql.span(Range(), MOST_ROWS_COUNTED)).fetchone()[0])
    except sqlite3.OperationalError as error:
        outage = classify_sqlite(error)
        if not isinstance(outage, Outage) or not timed_out(outage):
            raise
        return None
    return rows if rows < MOST_ROWS_COUNTED else None
