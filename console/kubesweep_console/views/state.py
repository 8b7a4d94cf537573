"""The state of a schedule in one word, how urgent it is, and why. Pure.

Conditions decide; the latest sweep decides only where they report no problem. So the console agrees with the alerts and with
``kubectl get``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from kubesweep.quantities import percent
from kubesweep.queue.model import Sweep, SweepState
from kubesweep_console.documents import Schedule, mapping, text
from kubesweep_console.provider import ActionKind

__all__ = ["QUEUE_UNAVAILABLE", "State", "Urgency", "advised", "state_of", "sweep_tone"]

QUEUE_UNAVAILABLE = "QueueUnavailable"  # the reason of Ready while the numbers of a status are old


class Urgency(IntEnum):
    """The order of the fleet page."""

    BAD = 0
    WARN = 1
    ACTIVE = 2
    GOOD = 3
    OFF = 4

    @property
    def tone(self) -> str:
        """A class of the style sheet."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class State:
    label: str
    urgency: Urgency
    why: str = ""  # a sentence; empty where nothing is wrong
    stale: bool = False  # the numbers of the status are old

    @property
    def tone(self) -> str:
        return self.urgency.tone


_DEGRADED = {
    "AwaitingApproval": ("Awaits approval", Urgency.WARN),
    "DeadLetters": ("Dead letters", Urgency.WARN),
    "MissedSchedule": ("Missed a tick", Urgency.WARN),
    "LastSweepFailed": ("Failed", Urgency.BAD),
    "Lost": ("Lost", Urgency.WARN),
}
_TONES = {
    SweepState.PLANNING: "active",
    SweepState.RUNNING: "active",
    SweepState.COMPLETED: "good",
    SweepState.AWAITING_APPROVAL: "warn",
    SweepState.SUPERSEDED: "off",
}
_CALM = frozenset({SweepState.COMPLETED, SweepState.SUPERSEDED})
_ADVICE = {
    "AwaitingApproval": (ActionKind.APPROVE,),
    "DeadLetters": (ActionKind.RETRY, ActionKind.PURGE),
    "LastSweepFailed": (ActionKind.TRIGGER,),
    "Suspended": (ActionKind.RESUME,),
}


def sweep_tone(sweep: Sweep) -> str:
    if sweep.state is SweepState.COMPLETED and sweep.dead:
        return "warn"
    return _TONES.get(sweep.state, "bad")


def advised(condition: Mapping[str, Any]) -> tuple[ActionKind, ...]:
    """What a person can do about a condition, as far as one action settles it."""
    if condition.get("type") in ("Degraded", "Suspended") and condition.get("status") == "True":
        return _ADVICE.get(text(condition.get("reason")), ())
    return ()


def state_of(schedule: Schedule) -> State:
    ready = schedule.condition("Ready")
    stale = ready.get("reason") == QUEUE_UNAVAILABLE
    if schedule.condition("Stalled").get("status") == "True" or ready.get("status") == "False":
        return State("Not ready", Urgency.BAD, _why(ready), stale)
    problem = _degraded(schedule)
    if problem is not None and problem.urgency is Urgency.BAD:
        return problem
    behind = schedule.condition("KeepingUp")
    if behind.get("status") == "False":
        return State("Falling behind", Urgency.BAD, _why(behind))
    if problem is not None:
        return problem
    source = schedule.condition("SourceReady")
    if source.get("status") == "False":
        return State("Not ready", Urgency.BAD, _why(source))
    if schedule.suspended:
        return State("Suspended", Urgency.OFF)
    return _of_sweep(schedule, ready)


def _degraded(schedule: Schedule) -> State | None:
    found = schedule.condition("Degraded")
    if found.get("status") != "True":
        return None
    label, urgency = _DEGRADED.get(text(found.get("reason")), ("Degraded", Urgency.WARN))
    return State(label, urgency, _why(found))


def _of_sweep(schedule: Schedule, ready: Mapping[str, Any]) -> State:
    state = text(mapping(schedule.status.get("lastSweep")).get("state"))
    if state in _CALM:  # most sweeps of most schedules: nothing else of them is read
        return State(state, Urgency.GOOD)
    sweep, throttle = schedule.last, schedule.throttle
    if sweep is None:
        label = "Checking" if ready.get("status") == "Unknown" else "Never swept"
        return State(label, Urgency.GOOD)
    if sweep.state.settled:
        return State(state, Urgency.GOOD)
    if throttle is not None and schedule.paused:
        return State("Paused", Urgency.OFF, throttle.message)
    if throttle is not None and throttle.percent == 0:
        return State("Paused by health", Urgency.WARN, throttle.message)
    done = f" {percent(sweep.settled_rows, schedule.expected)}" if sweep.state is SweepState.RUNNING else ""
    return State(f"{state}{done}", Urgency.ACTIVE)


def _why(condition: Mapping[str, Any]) -> str:
    return text(condition.get("message")) or text(condition.get("reason"))
