"""Which database this is, and how large its table: what a sweep is compared with before it begins."""

from __future__ import annotations

from kubesweep.api.plan import Plan
from kubesweep.errors import Outage, RowError, SweepFailure
from kubesweep.queue.model import Database
from kubesweep_worker.sources.base import FEW_ROWS, MOST_ROWS_COUNTED
from kubesweep_worker.sources.conditions import quote_name
from kubesweep_worker.sources.paging import timed_out
from kubesweep_worker.sources.postgres.checks.catalog import Relation, read_database, sql
from kubesweep_worker.sources.postgres.checks.warnings import planned
from kubesweep_worker.sources.postgres.pool import CANCELLED_EARLY, Transaction
from kubesweep_worker.sources.postgres.values import query_plan


async def identify_database(tx: Transaction, url: str) -> Database:
    """The oid tells a database that was dropped and restored under its name from the one before. A promotion keeps it.

    ``tx`` may be unusable afterwards."""
    server, name = await read_database(tx, url)
    [(oid,)] = await tx.query("SELECT oid::text FROM pg_database WHERE datname = current_database()")
    return Database.of(f"{server}/{name}/{oid}", await _timeline(tx))


async def unidentified(tx: Transaction, plan: Plan, role: str) -> list[tuple[str, str]]:
    """A warning of ``check`` where another server has only its address to differ in."""
    if not plan.limits.has_approval_bounds or (await tx.query(sql("database")))[0][1]:
        return []
    return [
        (
            "server-identifier",
            "the role may not read the server's identifier, so limits.approveAbove compares host and port of the URL, and a new host "
            f"name counts as another database: GRANT EXECUTE ON FUNCTION pg_control_system() TO {quote_name(role)}",
        )
    ]


async def _timeline(tx: Transaction) -> int | None:
    """None on a standby, and on servers that do not offer these functions."""
    try:
        [(text,)] = await tx.query(
            "SELECT CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) END"
        )
    except (RowError, SweepFailure):
        return None
    return None if text is None else int(text, 16)


async def count_table(tx: Transaction, relation: Relation) -> int | None:
    """The number of rows of the table: the query planner's estimate of a large one that was analyzed, otherwise counted.

    The estimate follows the size of the table's files, so it is not out of date like the number in pg_class. None where neither
    is possible in time."""
    estimate = None
    try:
        [(analyzed,)] = await tx.query(sql("analyzed"), relation.oid)
        if analyzed:
            [rows] = await tx.run(f"EXPLAIN (FORMAT JSON) SELECT FROM {relation.quoted}")
            estimate = planned(query_plan(rows))
        if estimate is not None and estimate >= FEW_ROWS:
            return estimate
        [[(counted,)]] = await tx.run(
            f"SELECT count(*) FROM (SELECT FROM {relation.quoted} LIMIT {MOST_ROWS_COUNTED}) AS s"
        )
    except Outage as outage:
        if not (timed_out(outage) or outage.reason == CANCELLED_EARLY):
            raise
        return estimate
    return int(counted) if int(counted) < MOST_ROWS_COUNTED else estimate
