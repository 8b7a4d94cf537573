"""When rows that the database leaves unchanged without an error mean that the sweep as a whole cannot work.

A single refused row is that row's failure and spends an attempt. ``FLOOD`` refused rows, and not one applied by any
worker, mean a trigger, a policy or an update that keeps every row: the sweep fails, because trying the rest would only
repeat their effects. Without an effect the rest is tried anyway, and the sweep fails at its end unless a row was applied.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from kubesweep.errors import SweepFailure
from kubesweep.queue.model import FLOOD, Job
from kubesweep_worker.jobs.rows.settlement import STILL_STALE, RowResults
from kubesweep_worker.sources.base import WRITE_REFUSED


class RefusedWrites:
    """Counts this worker's refused rows of the latest sweep. ``applied`` returns how many rows all workers applied."""

    def __init__(self, applied: Callable[[], Awaitable[int]]) -> None:
        self._count_applied = applied
        self._sweep = ""
        self._refused = self._applied = 0

    async def sweep_failure(self, job: Job, results: RowResults) -> SweepFailure | None:
        """The failure that ends the sweep of ``job``, once many rows were refused and none was applied."""
        if job.is_retry:
            return None
        if job.sweep != self._sweep:
            self._sweep, self._refused, self._applied = job.sweep, 0, 0
        self._applied += results.applied
        self._refused += results.refused
        if not results.refused or self._applied or self._refused < FLOOD or await self._count_applied():
            return None
        assert results.latest_refusal is not None
        if results.latest_refusal.error == STILL_STALE:
            return never_ends_failure()
        return SweepFailure(
            WRITE_REFUSED,
            f"{self._refused} rows were to be written and none was. Reason for each: {results.latest_refusal.message}",
        )


def never_ends_failure() -> SweepFailure:
    return SweepFailure(
        "NeverEnds",
        "rows still match after the write, so this sweep would never end: let write.update set a column of match "
        "to a value that no longer matches (or add a match condition that the written rows fail)",
    )
