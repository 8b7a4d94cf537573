"""The circuit breaker in front of claiming: while the database or the receiver is unavailable, a worker claims no jobs.

It recovers in two steps. After a pause the worker probes the database, then runs exactly one job. Only a job that succeeds
closes the breaker and resets the pauses, so an outage that the probe cannot detect does not cause a busy loop.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from kubesweep.errors import Outage
from kubesweep_worker.flow_control.backoff import MAX_RECEIVER_DELAY, bounded_delay, outage_delay


class BreakerState(Enum):
    CLOSED = auto()  # jobs are claimed
    OPEN = auto()  # nothing is claimed until the pause ends and a probe succeeds
    HALF_OPEN = auto()  # one job at a time, as a trial


class ClaimBreaker:
    """``base`` and ``cap``: the first and the longest pause in seconds."""

    def __init__(self, base: float, cap: float, random: Callable[[], float]) -> None:
        self._base, self._cap, self._random = base, cap, random
        self.state = BreakerState.CLOSED
        self.consecutive_failures = 0
        self.open_until = 0.0

    def trip(self, outage: Outage, now: float) -> float:
        """Open, or stay open; returns the seconds until the probe. Jobs that fail together count as one failure."""
        if self.state is not BreakerState.OPEN:
            self.consecutive_failures += 1
            delay = outage_delay(self.consecutive_failures, self._base, self._cap, self._random, outage.retry_after)
            self.open_until = now + delay
        elif outage.retry_after:
            self.open_until = max(self.open_until, now + bounded_delay(outage.retry_after, MAX_RECEIVER_DELAY))
        self.state = BreakerState.OPEN
        return max(0.0, self.open_until - now)

    @property
    def is_open(self) -> bool:
        return self.state is BreakerState.OPEN

    def probe_due(self, now: float) -> bool:
        return self.state is BreakerState.OPEN and now >= self.open_until

    def half_open(self) -> None:
        """The probe ended: one job may run."""
        self.state = BreakerState.HALF_OPEN

    def record_success(self) -> bool:
        """A job succeeded. True where that closes the breaker; a job that began before the outage proves nothing."""
        if self.state is not BreakerState.HALF_OPEN:
            return False
        self.state, self.consecutive_failures = BreakerState.CLOSED, 0
        return True

    def allowed(self, free: int, running: int) -> int:
        """How many of ``free`` slots may be filled while ``running`` jobs run."""
        if self.state is BreakerState.CLOSED:
            return free
        return max(0, 1 - running) if self.state is BreakerState.HALF_OPEN else 0
