"""Since when the current schedule applies. Pure.

A time that had passed when the schedule was created, edited or resumed never starts a sweep: a nightly sweep that you move to
another hour at noon runs tonight. A CronJob would run such times later, and a new period may contain one. The moment is stored in
the status, so it is the same for every reconcile and every controller. The CronJob's pods get it in their environment.
"""

from __future__ import annotations

from typing import Any

from kubesweep.scheduling import Activation, activation
from kubesweep_controller.status.formatting import parse_time, time_text
from kubesweep_controller.status.history import previous
from kubesweep_controller.status.observation import Observation

__all__ = ["active_schedule", "active_since"]


def active_schedule(observation: Observation) -> dict[str, Any] | None:
    """The value of ``status.activeSchedule``; None while the schedule is suspended."""
    before = previous(observation).get("activeSchedule")
    if observation.schedule is None:
        return before  # the spec is invalid: the last valid schedule still fires
    if observation.schedule.spec.suspend:
        return None
    written = before or {}
    since = parse_time(written.get("since"))
    known = None if since is None else Activation(str(written.get("name")), since)
    active = activation(observation.schedule.spec.ticks, known, int(observation.now))
    return dict(written) if active is known else {"name": active.name, "since": time_text(active.since)}


def active_since(observation: Observation) -> float | None:
    """Ticks up to this time do not fire; None: no tick fires."""
    active = active_schedule(observation)
    return parse_time(active["since"]) if active else None
