"""Measuring the health of a PostgreSQL database, on a connection of its own: those of the sweep may be busy for a whole statement.

Views: https://www.postgresql.org/docs/current/monitoring-stats.html and view-pg-locks.html.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from kubesweep.api.models.sql_text import substitute_cutoff
from kubesweep.errors import Outage, RowError, SweepFailure
from kubesweep.queue.model import ACTIVE, LOCK_WAITS, OLDEST_XMIN, QUERY, REPLAY_LAG, VACUUM, HealthLimits, Sample
from kubesweep_worker.sources.conditions import quote_name
from kubesweep_worker.sources.postgres.checks.catalog import sql
from kubesweep_worker.sources.postgres.pool import Pool, Timeouts, Transaction

TIMEOUT = 2.0  # seconds that one measurement may take
SETTINGS = (f"SET LOCAL statement_timeout = {round(TIMEOUT * 1000)}", "SET TRANSACTION READ ONLY")


class HealthProbe:
    """Connects at the first measurement. ``settings``: those under which the user's query runs."""

    def __init__(self, url: Callable[[], str], name: str, settings: Sequence[str]) -> None:
        self._pool = Pool(url, 1, name, Timeouts(TIMEOUT, 1.0))
        self._settings = (*settings, *SETTINGS)

    async def close(self) -> None:
        await self._pool.close()

    async def measure(self, query: str) -> Sample:
        """The user's ``query``, or with an empty one all other signals. Raises Outage, and SweepFailure where the URL is wrong."""
        async with self._pool.transaction(self._settings) as tx:
            return await measure_query(tx, query) if query else await _measure(tx)


async def _measure(tx: Transaction) -> Sample:
    """A user that may not read the views at all knows no signal. ``tx`` stays usable."""
    await tx.run("SAVEPOINT health")
    try:
        [row] = await tx.query(sql("health"))
    except (RowError, SweepFailure) as error:
        await tx.run("ROLLBACK TO SAVEPOINT health")
        return Sample(dict.fromkeys((REPLAY_LAG, OLDEST_XMIN, LOCK_WAITS, VACUUM, ACTIVE)), problem=str(error))
    role, sees_all, standbys, lag, oldest, waits, active, vacuumed = row
    problem = "" if sees_all else f"this user may not see it: {grant(role)}"
    values: dict[str, float | None] = {
        # NULL while a standby that has caught up reports nothing new.
        REPLAY_LAG: float(lag or 0) if sees_all or not standbys else None,
        OLDEST_XMIN: float(oldest or 0) if sees_all else None,
        LOCK_WAITS: float(waits),
        ACTIVE: float(active) if sees_all else None,
    }
    return Sample(values, tuple(int(oid) for oid in (vacuumed or "").split(",") if oid), problem)


def grant(role: str) -> str:
    return f"GRANT pg_monitor TO {quote_name(role)}"


async def measure_query(tx: Transaction, query: str) -> Sample:
    """A query that fails, or has no number, leaves its value unknown and says why."""
    try:
        [rows] = await tx.run(f"SELECT ({substitute_cutoff(query, 'now()')})::float8::text")
    except (RowError, SweepFailure) as error:
        return Sample({QUERY: None}, problem=f"source.health.query: {error}")
    except Outage as outage:
        if outage.reason not in ("StatementTimeout", "StatementCancelled"):
            raise
        return Sample({QUERY: None}, problem=f"source.health.query takes longer than {TIMEOUT:g} s")
    value = float(rows[0][0]) if rows and rows[0][0] is not None else None
    if value is None or not math.isfinite(value):
        return Sample({QUERY: None}, problem="source.health.query has no number as its value")
    return Sample({QUERY: value})


async def unreadable(tx: Transaction, role: str, limits: HealthLimits) -> list[tuple[str, str]]:
    """Warnings of ``check`` about signals that cannot be read. ``tx`` may be unusable afterwards."""
    found = []
    await tx.run(*SETTINGS)
    sample = await _measure(tx)
    hidden = [name for name in limits.by_signal if name in sample.values and sample.values[name] is None]
    if hidden:
        fix = grant(role) if sample.values[LOCK_WAITS] is not None else sample.problem
        text = f"{' and '.join(hidden)} cannot be read, so the sweep {_unknown(limits)}: {fix}"
        found.append(("health-rights", text))
    if limits.query:
        sample = await measure_query(tx, limits.query)
        if sample.problem:
            found.append(("health-query", f"{sample.problem.rstrip('.')}, so the sweep {_unknown(limits)}"))
    return found


def _unknown(limits: HealthLimits) -> str:
    return "ignores it" if limits.continue_when_unknown else "will be paused"
