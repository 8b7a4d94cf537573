"""The ticks that ``kubesweep run`` opens. :mod:`kubesweep.scheduling` has the rules.

The same rule serves the start of a run, an ordinary moment and a laptop that slept: only the latest missed tick runs. A
schedule that never ticked waits for its next tick, as a CronJob does. The queue has no field for what fires and since when,
so a finding of kind ``Clock`` stores it there, and the next run reads it.
"""

from __future__ import annotations

from collections.abc import Iterable

from kubesweep import scheduling
from kubesweep.api.plan import Plan
from kubesweep.queue.model import Finding
from kubesweep.ticks import Ticks

__all__ = ["Clock", "activation_finding"]

KIND = "Clock"  # of the finding
ACTIVE = "Active"  # its reason; SUSPENDED for a schedule with spec.suspend
SUSPENDED = "Suspended"


def activation_finding(
    findings: Iterable[Finding], ticks: Ticks, plan: Plan, now: float, *, suspended: bool = False
) -> Finding:
    """What fires (``message``), and since when (``at``): the finding of the queue, or a new one for another schedule."""
    reason = SUSPENDED if suspended else ACTIVE
    kept = next((each for each in findings if each.kind == KIND and each.reason == reason), None)
    known = None if kept is None else scheduling.Activation(kept.message, kept.at)
    active = scheduling.activation(ticks, known, now)
    if kept is not None and active is known:
        return kept
    return Finding(KIND, True, reason, active.name, plan.version, active.since)


class Clock:
    """The due ticks of one schedule. It may be asked four times a second: it computes only when a tick has come."""

    def __init__(self, ticks: Ticks, started: float) -> None:
        self._ticks = ticks
        self._since = started
        self._first = True
        self.next: float | None = None

    def due(self, now: float, last_tick: float | None, since: float = 0.0) -> float | None:
        """The tick to open now.

        ``last_tick`` is the queue's last one; at the first call it may be older than this run, which then opens what was
        missed since. Ticks up to ``since`` never fire.
        """
        if not self._first and (self.next is None or now < self.next):
            return None
        if last_tick is not None:
            self._since = last_tick if self._first else max(self._since, last_tick)
        self._since = max(self._since, since)
        self._first = False
        tick = scheduling.due(self._ticks, now=now, since=self._since)
        self.next = self._ticks.next(now)
        return tick

    def answered(self, tick: float) -> None:
        """The queue has answered to this tick, so it is not due again."""
        self._since = max(self._since, tick)

    def retry(self, now: float) -> None:
        """The tick could not be opened: ask again at the next moment."""
        self.next = now
