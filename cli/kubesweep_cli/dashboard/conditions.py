"""The conditions of a schedule without a controller, from the queue's statistics, with the types and reasons of the cluster. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

from kubesweep.api.loading.files import Loaded
from kubesweep.quantities import are_dead_letters
from kubesweep.queue.model import Stats, Sweep, SweepState, last_decided
from kubesweep.timestamps import time_text
from kubesweep_cli.shell.suspending import suspended
from kubesweep_cli.views.schedule_view import problems

__all__ = ["conditions"]


class _Attention(NamedTuple):
    """What needs a person, although the schedule is served."""

    reason: str
    message: str


_BAD = frozenset({SweepState.FAILED, SweepState.HALTED})


def conditions(stats: Stats, loaded: Loaded | None) -> list[dict[str, Any]]:
    """As in ``status.conditions``; those about Kubernetes are missing."""
    found = (_ready(stats), _source_ready(stats), _suspended(stats, loaded), _degraded(stats))
    return [each for each in found if each is not None]


def _condition(kind: str, status: bool, reason: str, message: str, since: float | None = None) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": kind, "status": str(status), "reason": reason, "message": message}
    return entry if not since else entry | {"lastTransitionTime": time_text(since)}


def _ready(stats: Stats) -> dict[str, Any] | None:
    """Reported only where the effect fails: nobody checks a schedule before its first sweep here."""
    found = next((each for each in problems(stats) if each.kind == "Effect"), None)
    return (
        None
        if found is None
        else _condition("Ready", False, "EffectNotReady", f"{found.reason}: {found.message}", found.at)
    )


def _source_ready(stats: Stats) -> dict[str, Any] | None:
    reported = {each.kind: each for each in problems(stats)}
    if (found := reported.get("SourceReady")) is not None:
        return _condition("SourceReady", False, found.reason, found.message, found.at)
    if (found := reported.get("SourceWarnings")) is not None:
        return _condition("SourceReady", True, found.reason, found.message, found.at)
    works = next((each for each in stats.findings if each.kind == "SourceReady" and each.ok), None)
    return None if works is None else _condition("SourceReady", True, works.reason, works.message, works.at)


def _suspended(stats: Stats, loaded: Loaded | None) -> dict[str, Any]:
    if loaded is not None and loaded.suspend:
        return _condition("Suspended", True, "Suspended", f"no tick fires: spec.suspend is true in {loaded.origin}")
    if suspended(stats):
        return _condition("Suspended", True, "Suspended", "no tick fires and no row is started until it is resumed")
    if stats.paused:
        return _condition("Suspended", True, "Suspended", "no row is started until it is resumed")
    return _condition("Suspended", False, "Active", "the schedule is active")


def _degraded(stats: Stats) -> dict[str, Any]:
    """The most pressing problem decides the reason, the message has them all."""
    found = [each for each in (_damaged(stats), _awaits(stats.sweep), _failed(stats), _dead(stats)) if each is not None]
    if not found:
        return _condition("Degraded", False, "AsExpected", "no row, tick or sweep needs attention")
    since = stats.sweep.finished if stats.sweep is not None else None
    return _condition("Degraded", True, found[0].reason, " ".join(each.message for each in found), since)


def _damaged(stats: Stats) -> _Attention | None:
    return _Attention("QueueDamaged", stats.damage) if stats.damage else None


def _awaits(sweep: Sweep | None) -> _Attention | None:
    if sweep is None or sweep.state is not SweepState.AWAITING_APPROVAL:
        return None
    return _Attention("AwaitingApproval", f"The sweep awaits approval: {sweep.message or sweep.reason}.")


def _failed(stats: Stats) -> _Attention | None:
    """The latest sweep that ended by itself, as in the cluster: a new attempt does not clear the failure, a success does."""
    last = last_decided(stats.sweeps)
    if last is None or last.state not in _BAD:
        return None
    verb = "was halted" if last.state is SweepState.HALTED else "failed"
    return _Attention("LastSweepFailed", f"The sweep {verb}: {last.reason}: {last.message}. The next tick tries again.")


def _dead(stats: Stats) -> _Attention | None:
    if not stats.dead:
        return None
    return _Attention("DeadLetters", f"{are_dead_letters(stats.dead)}. Fix the cause, then retry them.")
