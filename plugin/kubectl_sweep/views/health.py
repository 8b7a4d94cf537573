"""The state of a schedule in one word for a list, why, and how urgent it is. Pure.

Conditions decide, in the order in which a person acts on them. ``Overdue`` follows the rule of the alert KubesweepSweepOverdue.
"""

from __future__ import annotations

from typing import NamedTuple

from kubesweep.timestamps import parse_time
from kubesweep_console.documents import Schedule, mapping, number, text

__all__ = ["WORDS", "Health", "health_of", "is_observed", "overdue"]

LONG = 900.0  # seconds: see the alert
WORDS = ("Ready", "Checking", "Degraded", "NotReady", "Overdue", "Suspended", "Unobserved")
PRESSING = frozenset({"AwaitingApproval", "LastSweepFailed", "Lost"})


class Health(NamedTuple):
    """``word`` is one of WORDS, ``reason`` one word more or empty, ``tone`` a style of the terminal."""

    word: str
    reason: str
    tone: str


def health_of(schedule: Schedule, now: float) -> Health:
    ready, degraded = schedule.condition("Ready"), schedule.condition("Degraded")
    if not is_observed(schedule):
        return Health("Unobserved", "", "bad")
    if schedule.spec.get("suspend") is True:
        return Health("Suspended", "", "faint")
    if ready.get("status") != "True":
        reason = text(ready.get("reason"))
        if reason in ("Checking", ""):
            return Health("Checking", "", "warn")
        return Health("NotReady", text(schedule.status.get("readyCode")) or reason, "bad")
    problem = text(degraded.get("reason")) if degraded.get("status") == "True" else ""
    if problem in PRESSING:
        return Health("Degraded", problem, "warn" if problem == "AwaitingApproval" else "bad")
    if overdue(schedule, now):
        behind = "FallingBehind" if _behind(schedule) else ""
        return Health("Overdue", _slowed(schedule) or behind, "bad")
    if _behind(schedule):
        return Health("Degraded", "FallingBehind", "bad")
    if problem:
        return Health("Degraded", problem, "warn")
    return Health("Ready", _slowed(schedule), "good")


def is_observed(schedule: Schedule) -> bool:
    """Whether a controller has reported on this version of the spec."""
    generation = number(mapping(schedule.document.get("metadata")).get("generation"))
    observed = schedule.status.get("observedGeneration")
    return isinstance(observed, int) and observed >= generation


def overdue(schedule: Schedule, now: float) -> bool:
    """Whether a row has waited for two ticks and 15 minutes, or a job for a worker for 15 minutes. A pause that a person set starts
    both times again. A dry run leaves its rows on purpose."""
    if schedule.paused:
        return False
    resumed = parse_time(schedule.status.get("resumedTime")) or 0.0
    waits = parse_time(schedule.status.get("oldestReadyTime"))
    if waits is not None and now - max(waits, resumed) > LONG:
        return True
    if (oldest := schedule.backlog.oldest) is None or schedule.ticks is None:
        return False
    oldest, last = max(oldest, resumed), schedule.last
    if now - oldest <= LONG or last is None or last.mode != "Enforce":
        return False
    latest = schedule.ticks.latest(now - LONG)
    before = None if latest is None else schedule.ticks.latest(latest - 0.001)
    return before is not None and oldest < before


def _behind(schedule: Schedule) -> bool:
    return schedule.condition("KeepingUp").get("status") == "False"


def _slowed(schedule: Schedule) -> str:
    throttle = schedule.throttle
    if throttle is None:
        return ""
    return "Paused" if throttle.percent == 0 or schedule.paused else "Throttled"
