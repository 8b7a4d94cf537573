"""When to tick, decided from what the queue remembers. Pure.

One rule serves the start, an ordinary moment and a laptop that slept: of all nominal times since the last tick only the
latest counts. So nothing is ever made up for in a burst. Whether that tick is too late is for the queue to say, which counts
it. A schedule that never ticked has missed nothing: it waits for its next time, as a CronJob does.
"""

from __future__ import annotations

from kubesweep.ticks import Ticks

__all__ = ["Clock", "due"]


def due(ticks: Ticks, now: float, last: float) -> float | None:
    """The tick to open at ``now``: the latest after ``last``, if there is one. Seconds since the epoch."""
    tick = ticks.latest(now)
    return tick if tick is not None and tick > last else None


class Clock:
    """:func:`due` for one schedule, cheap enough to be asked four times a second: it computes only when a tick has come."""

    def __init__(self, ticks: Ticks, started: float) -> None:
        self._ticks = ticks
        self._dealt = started
        self._first = True
        self.next: float | None = None

    def ask(self, now: float, last_tick: float | None) -> float | None:
        """``last_tick`` is what the queue remembers: later than our start it moves us on, earlier than it we have missed some."""
        if not self._first and (self.next is None or now < self.next):
            return None
        if last_tick is not None:
            self._dealt = last_tick if self._first else max(self._dealt, last_tick)
        self._first = False
        tick = due(self._ticks, now, self._dealt)
        self.next = self._ticks.next(now)
        return tick

    def dealt(self, tick: float) -> None:
        """The queue has answered about this tick; until then ``ask`` would be asked again after :meth:`again`."""
        self._dealt = max(self._dealt, tick)

    def again(self, now: float) -> None:
        """The tick could not be opened: ask at the next moment once more."""
        self.next = now
