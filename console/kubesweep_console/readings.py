"""What was read of running sweeps while somebody watched, from which their rates follow.

A queue has the numbers of now. The status of a cluster is written every 15 seconds at most, and is read more often: a reading is of the
moment at which its numbers were written. Otherwise a sweep would seem to stand still and then to settle the rows of 15 seconds at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from kubesweep_console.documents import Schedule
from kubesweep_console.views.sweeps import Reading

__all__ = ["READINGS", "Readings"]

READINGS = 120  # of each running sweep
APART = 0.5  # seconds between two of them
STILL = 20.0  # seconds after which a status that was not written again has the numbers of now: the controller writes changed ones sooner


class Readings:
    """By the id of a sweep. Only the latest sweep of each schedule is kept."""

    def __init__(self) -> None:
        self._known: dict[str, _OfSweep] = {}

    def of(self, sweep: str) -> Sequence[Reading]:
        """The oldest first."""
        return tuple(self._known[sweep].readings) if sweep in self._known else ()

    def observe(self, schedules: Iterable[Schedule], now: float) -> None:
        """Add what these schedules show of running sweeps, and forget sweeps that are not the latest any more."""
        kept = dict[str, _OfSweep]()
        for schedule in schedules:
            entry = schedule.latest_entry
            known = self._known.get(str(entry.get("id")))
            if known is None and (not entry or entry.get("completionTime")):
                continue
            sweep = schedule.last
            if sweep is None:
                continue
            one = kept[sweep.id] = known if known is not None else _OfSweep()
            if not sweep.state.settled:
                throttle = schedule.throttle
                share = None if throttle is None or throttle.percent is None else throttle.percent / 100
                one.add(sweep.settled_rows, share, schedule.counted, now)
        self._known = kept


class _OfSweep:
    def __init__(self) -> None:
        self.readings = deque[Reading](maxlen=READINGS)
        self._counted: float | None = None
        self._since = 0.0  # when these numbers were read first, by the clock of this process

    def add(self, settled: int, share: float | None, counted: float | None, now: float) -> None:
        at = now if counted is None else self._moment(counted, now)
        if at is not None and self.readings and at < self.readings[-1].at - STILL:  # a clock was set back
            self.readings.clear()
        if at is not None and (not self.readings or at - self.readings[-1].at >= APART):
            self.readings.append(Reading(at, settled, share))

    def _moment(self, counted: float, now: float) -> float | None:
        """When the numbers were of, by the controller's clock; None: they are those of the last reading."""
        if counted != self._counted:
            self._counted, self._since = counted, now
            return counted
        return counted + now - self._since if now - self._since >= STILL else None
