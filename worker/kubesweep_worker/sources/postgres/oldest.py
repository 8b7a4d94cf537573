"""Find the oldest and the newest stale row, and estimate how many there are, within a bounded time.

The query planner is asked first. A search that would read a large table is not even begun: it could not end in time, and the
answer names the missing index instead, as ``kubesweep check`` does.
"""

from __future__ import annotations

import time

from kubesweep.api.plan import Plan
from kubesweep.errors import Outage
from kubesweep.queue.model import StaleRows
from kubesweep_worker.sources.base import LOCKS, Predicate, Range
from kubesweep_worker.sources.conditions import time_conditions
from kubesweep_worker.sources.paging import timed_out
from kubesweep_worker.sources.postgres.checks.warnings import missing_index, planned, reads_large_table
from kubesweep_worker.sources.postgres.pool import CANCELLED_EARLY, Rows, Transaction
from kubesweep_worker.sources.postgres.table_snapshot import TableSnapshot
from kubesweep_worker.sources.postgres.values import query_plan
from kubesweep_worker.sources.stale_search import StaleSearch

MOST_COUNTED = 10**9


class OldestSearch:
    """``tx``: all its statements see what the first one sees. Jobs of the sweep may write rows meanwhile."""

    def __init__(
        self, tx: Transaction, plan: Plan, snapshot: TableSnapshot, predicate: Predicate, search: StaleSearch
    ) -> None:
        self._tx, self._plan, self._relation, self._statements = tx, plan, snapshot.relation, snapshot.statements
        self._predicate, self._search = predicate, search
        self._end = time.monotonic() + search.seconds

    async def run(self) -> StaleRows:
        """Raises Outage for anything but a timeout or a lock."""
        rows: int | None = None
        estimated = True
        oldest: float | None = None
        latest: float | None = None
        times = time_conditions(self._plan.match)
        unknown = self._too_slow() if times else ""
        try:
            found = await self._query_plan(self._statements.any(Range(), self._predicate))
            self._search.fixed()
            rows = planned(found) if self._relation.rows >= 0 else None
            if times:
                oldest, unknown = await self._first(self._statements.oldest(self._predicate))
            # Of a sweep without this limit, the plan job counts the rows anyway.
            if self._plan.limits.max_rows_per_sweep is not None:
                [(counted,)] = await self._ask(self._statements.count(self._predicate, MOST_COUNTED))
                rows, estimated = int(counted), False
            if self._search.newest and oldest is not None:
                latest, _ = await self._first(self._statements.newest(self._predicate))
        except Outage as outage:
            if not (timed_out(outage) or outage.reason == CANCELLED_EARLY or outage.reason in LOCKS):
                raise
        return StaleRows(rows, oldest, unknown, estimated and rows is not None, latest)

    async def _first(self, search: str) -> tuple[float | None, str]:
        create = missing_index(self._plan, self._relation)
        if create and reads_large_table(self._relation, await self._query_plan(search)):
            return None, f"finding it would read all of {self._relation.quoted}: {create}"
        found = await self._ask(search)
        return (float(found[0][0]), "") if found else (None, "")

    async def _query_plan(self, statement: str) -> dict[str, object]:
        return query_plan(await self._ask(f"EXPLAIN (FORMAT JSON) {statement}"))

    def _too_slow(self) -> str:
        create = missing_index(self._plan, self._relation)
        return f"finding it takes longer than {self._search.seconds * 1000:g} ms{f': {create}' if create else ''}"

    async def _ask(self, statement: str) -> Rows:
        left = max(1, round((self._end - time.monotonic()) * 1000))
        _, rows = await self._tx.run(f"SET LOCAL statement_timeout = {left}", statement)
        return rows
