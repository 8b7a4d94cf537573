"""Find the oldest stale row of a SQLite table, and count the stale rows, until the connection's deadline."""

from __future__ import annotations

import sqlite3

from kubesweep.api.plan import Plan
from kubesweep.errors import Outage
from kubesweep.queue.model import StaleRows
from kubesweep_worker.sources.base import LOCKS, Predicate
from kubesweep_worker.sources.conditions import time_conditions
from kubesweep_worker.sources.paging import timed_out
from kubesweep_worker.sources.sqlite.catalog import SqliteTable
from kubesweep_worker.sources.sqlite.errors import classify_sqlite
from kubesweep_worker.sources.sqlite.inspection import index_advice
from kubesweep_worker.sources.sqlite.statements import SqliteStatements

MOST_COUNTED = 10**9


def find_oldest(
    c: sqlite3.Connection, plan: Plan, table: SqliteTable, sql: SqliteStatements, predicate: Predicate, seconds: float
) -> StaleRows:
    """``seconds``: what the deadline is, for the message. Raises sqlite3.Error for anything but a timeout or a lock."""
    rows: int | None = None
    oldest: float | None = None
    unknown = ""
    try:
        if time_conditions(plan.match):
            unknown = f"finding it takes longer than {seconds * 1000:g} ms"
            if create := index_advice(c, plan, table, sql):
                unknown = f"finding it would read all of {sql.table}: {create}"
            else:
                found = [row[0] for part in sql.oldest(predicate) for row in c.execute(part)]
                oldest, unknown = min(found, default=None), ""
        rows = int(c.execute(sql.count(predicate, MOST_COUNTED)).fetchone()[0])
    except sqlite3.OperationalError as error:
        outage = classify_sqlite(error)
        if not isinstance(outage, Outage) or not (timed_out(outage) or outage.reason in LOCKS):
            raise
    return StaleRows(rows, oldest, unknown)
