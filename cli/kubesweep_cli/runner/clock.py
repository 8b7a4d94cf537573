"""When to tick, decided from what the queue remembers. Pure.

One rule serves the start, an ordinary moment and a laptop that slept: of all nominal times since the last tick only the
latest counts. So nothing is ever made up for in a burst. Whether that tick is too late is for the queue to say, which counts
it. A schedule that never ticked has missed nothing: it waits for its next time, as a CronJob does. So does one that was
edited or resumed: what had passed by then never fires. The queue keeps, as a finding, what fired since when.
"""

from __future__ import annotations

from collections.abc import Iterable

from kubesweep.api.plan import Plan
from kubesweep.queue.model import Finding
from kubesweep.ticks import Ticks

__all__ = ["Clock", "active_finding", "due"]

ACTIVE = "Clock"  # kind of the finding


def active_finding(
    found: Iterable[Finding], ticks: Ticks, plan: Plan, now: float, *, suspended: bool = False
) -> Finding:
    """What fires, and since when (``at``): the finding that the queue has, or a new one where that is of another schedule."""
    made = Finding(ACTIVE, True, "Suspended" if suspended else "Active", ticks.name, plan.version, now)
    known = next((each for each in found if each.kind == ACTIVE), None)
    same = known is not None and (known.reason, known.message) == (made.reason, made.message)
    return known if same and known is not None else made


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

    def ask(self, now: float, last_tick: float | None, since: float = 0.0) -> float | None:
        """``last_tick`` is what the queue remembers: later than our start it moves us on, earlier than it we have missed some.
        ``since``: what had passed by then never fires."""
        if not self._first and (self.next is None or now < self.next):
            return None
        if last_tick is not None:
            self._dealt = max(last_tick, since) if self._first else max(self._dealt, last_tick)
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
