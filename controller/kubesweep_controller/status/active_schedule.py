"""Since when a schedule fires as it does now. Pure.

A time that had passed when the schedule was created, edited or resumed never becomes a sweep, although a CronJob makes up for
such times and a new period may have one: a nightly sweep that is moved at noon runs tonight. The moment is kept in the
status, so it is the same at every look and for every controller; the CronJob's pods get it in their environment.
"""

from __future__ import annotations

from typing import Any

from kubesweep.scheduling import Activation, activation
from kubesweep_controller.status.formatting import parse_time, time_text
from kubesweep_controller.status.history import previous
from kubesweep_controller.status.observation import Facts

__all__ = ["active_schedule", "active_since"]


def active_schedule(facts: Facts) -> dict[str, Any] | None:
    """As status.activeSchedule has it; None while the schedule is suspended."""
    before = previous(facts).get("activeSchedule")
    if facts.schedule is None:
        return before  # the spec is refused: what was valid before still fires
    if facts.schedule.spec.suspend:
        return None
    written = before or {}
    since = parse_time(written.get("since"))
    known = None if since is None else Activation(str(written.get("name")), since)
    active = activation(facts.schedule.spec.ticks, known, int(facts.now))
    return dict(written) if active is known else {"name": active.name, "since": time_text(active.since)}


def active_since(facts: Facts) -> float | None:
    """Ticks up to this time do not fire; None: no tick fires."""
    active = active_schedule(facts)
    return parse_time(active["since"]) if active else None
