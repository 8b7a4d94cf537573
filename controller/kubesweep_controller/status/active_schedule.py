"""Since when a schedule fires as it does now. Pure.

A time that had passed when the schedule was created, edited or resumed never becomes a sweep, although a CronJob makes up for
such times and a new period may have one: a nightly sweep that is moved at noon runs tonight. The moment is kept in the
status, so it is the same at every look and for every controller; the CronJob's pods get it in their environment.
"""

from __future__ import annotations

from typing import Any

from kubesweep_controller.status.formatting import parse_time, time_text
from kubesweep_controller.status.history import previous
from kubesweep_controller.status.observation import Observation

__all__ = ["active_schedule", "active_since"]


def active_schedule(observation: Observation) -> dict[str, Any] | None:
    """As status.activeSchedule has it; None while the schedule is suspended."""
    before = previous(observation).get("activeSchedule")
    if observation.schedule is None:
        return before  # the spec is refused: what was valid before still fires
    if observation.schedule.spec.suspend:
        return None
    name = observation.schedule.spec.ticks.name
    if before and before.get("name") == name and parse_time(before.get("since")) is not None:
        return dict(before)
    return {"name": name, "since": time_text(int(observation.now))}


def active_since(observation: Observation) -> float | None:
    """Ticks up to this time do not fire; None: no tick fires."""
    active = active_schedule(observation)
    return parse_time(active["since"]) if active else None
