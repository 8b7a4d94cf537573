"""When rows that the database silently leaves as they were mean that the sweep as a whole cannot work.

One refused row is that row's failure: it spends an attempt. Fifty of them, and not one applied by any worker, are a
trigger, a policy or an update that keeps every row, and trying the rest would only call their effects in vain. Without an effect the rest
is tried all the same: the sweep Fails at its end, unless a row was applied.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from kubesweep.errors import SweepFailure
from kubesweep.queue.model import FLOOD, Job
from kubesweep_worker.jobs.rows.settlement import STILL_STALE, Tally
from kubesweep_worker.sources.base import WRITE_REFUSED


class Refusals:
    """Counts the latest sweep's refused rows in this worker. ``applied`` asks the queue what all workers applied."""

    def __init__(self, applied: Callable[[], Awaitable[int]]) -> None:
        self._ask_applied = applied
        self._sweep = ""
        self._refused = self._applied = 0

    async def of_all(self, job: Job, tally: Tally) -> SweepFailure | None:
        """What ends the sweep of ``job``, once its refused rows are many and none was applied."""
        if job.is_retry:
            return None
        if job.sweep != self._sweep:
            self._sweep, self._refused, self._applied = job.sweep, 0, 0
        self._applied += tally.applied
        self._refused += tally.refused
        if not tally.refused or self._applied or self._refused < FLOOD or await self._ask_applied():
            return None
        assert tally.why is not None
        if tally.why.error == STILL_STALE:
            return never_ends()
        return SweepFailure(
            WRITE_REFUSED, f"{self._refused} rows were to be written and none was. Of each: {tally.why.message}"
        )


def never_ends() -> SweepFailure:
    return SweepFailure(
        "NeverEnds",
        "rows still match after the write, so this sweep would never end: let write.update set a column of match "
        "to a value that no longer matches (or add a match condition that the written rows fail)",
    )
