"""When to leave the world alone: the breaker watches single calls of an effect, the gate decides how many jobs may run.

A gate that shut opens in two steps: after a pause the database is probed, then exactly one job runs; only a job that
worked opens it fully and forgets the pauses, so that an outage which a probe cannot see does not spin either.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum, auto

from kubesweep.errors import Outage
from kubesweep_worker.flow_control.backoff import LONGEST_PAUSE, heeded, outage_delay

IN_A_ROW = 10
WINDOW = 50


class Breaker:
    """Opens after ``IN_A_ROW`` infrastructure failures in a row, or when they are half of the last ``WINDOW`` calls."""

    def __init__(self) -> None:
        self._last: deque[bool] = deque(maxlen=WINDOW)
        self._row = 0

    def record(self, ok: bool) -> None:
        self._last.append(ok)
        self._row = 0 if ok else self._row + 1

    @property
    def open(self) -> bool:
        bad = sum(not ok for ok in self._last)
        return self._row >= IN_A_ROW or (len(self._last) == WINDOW and 2 * bad >= WINDOW)

    @property
    def vouches(self) -> bool:
        """True where the receiver works for others: a failure now is more likely the row's."""
        return not self.open and any(self._last)

    def reset(self) -> None:
        self._last.clear()
        self._row = 0


class State(Enum):
    OPEN = auto()
    SHUT = auto()
    AJAR = auto()  # one job at a time, to see whether it works


class Gate:
    def __init__(self, base: float, cap: float, random: Callable[[], float]) -> None:
        self._base, self._cap, self._random = base, cap, random
        self.state = State.OPEN
        self.strikes = 0
        self.until = 0.0
        self.cause: Outage | None = None

    def shut(self, outage: Outage, now: float) -> float:
        """Close, or stay closed, and return for how many seconds. Jobs that fail together are one strike."""
        if self.state is not State.SHUT:
            self.strikes += 1
            self.until = now + outage_delay(self.strikes, self._base, self._cap, self._random, outage.retry_after)
        elif outage.retry_after:
            self.until = max(self.until, now + heeded(outage.retry_after, LONGEST_PAUSE))
        self.state = State.SHUT
        self.cause = outage
        return max(0.0, self.until - now)

    def due(self, now: float) -> bool:
        return self.state is State.SHUT and now >= self.until

    def ajar(self) -> None:
        self.state = State.AJAR

    def worked(self) -> bool:
        """A job succeeded. True where that opened the gate; a job that began before it shut proves nothing."""
        if self.state is not State.AJAR:
            return False
        self.state, self.strikes, self.cause = State.OPEN, 0, None
        return True

    def allows(self, free: int, running: int) -> int:
        """How many of ``free`` slots may be filled while ``running`` jobs run."""
        if self.state is State.OPEN:
            return free
        return max(0, 1 - running) if self.state is State.AJAR else 0
