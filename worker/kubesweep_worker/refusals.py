"""When rows that the database silently leaves as they were mean that the sweep as a whole cannot work.

One refused row is that row's failure: it spends an attempt. Fifty of them, and not one applied by any worker, are a
trigger or a policy that keeps every row, and trying the rest would only call their effects in vain. Without an effect the rest
is tried all the same: the sweep Fails at its end, unless a row was applied.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from kubesweep.errors import SweepFailure
from kubesweep.queue.model import FLOOD, Job
from kubesweep_worker.outcome import Tally
from kubesweep_worker.sources.base import WRITE_REFUSED


class Refusals:
    """Counts the latest sweep's refused rows in this worker. ``applied`` asks the queue what all workers applied."""

    def __init__(self, applied: Callable[[], Awaitable[int]]) -> None:
        self._ask_applied = applied
        self._sweep = ""
        self._refused = self._applied = 0

    def _turn_to(self, sweep: str) -> None:
        if sweep != self._sweep:
            self._sweep, self._refused, self._applied = sweep, 0, 0

    async def never_ends(self, job: Job, tally: Tally) -> bool:
        """Whether the write is at fault for rows that match after it: it leaves every row as it was, and no row of the sweep was
        applied. Else its unchanged rows become failures of their own."""
        if not tally.still_stale:
            return False
        self._turn_to(job.sweep)
        applied = tally.applied or job.held or self._applied
        if not tally.unchanged or not (applied or await self._ask_applied()):
            return True
        tally.blame_unchanged()
        return False

    async def of_all(self, job: Job, tally: Tally) -> SweepFailure | None:
        """What ends the sweep of ``job``, once its refused rows are many and none was applied."""
        if job.held:
            return None
        self._turn_to(job.sweep)
        self._applied += tally.applied
        self._refused += tally.refused
        if not tally.refused or self._applied or self._refused < FLOOD or await self._ask_applied():
            return None
        return SweepFailure(
            WRITE_REFUSED, f"{self._refused} rows were to be written and none was. Of each: {tally.why}"
        )
