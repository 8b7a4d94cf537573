"""Which Events the step from one status to the next deserves. Pure.

An Event tells of a change, the status of what holds. So a controller that starts anew has nothing to tell, and one that
died between the Event and the status tells the same again, under the same name and as the same occurrence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubesweep.queue.model import Sweep, SweepState
from kubesweep_controller.reconcile.commands import Obeyed
from kubesweep_controller.status.conditions import WARNINGS, find
from kubesweep_controller.status.dead_letters import group_sentence, risen
from kubesweep_controller.status.degraded import ended_sentence, held_sentence, missed_sentence
from kubesweep_controller.status.formatting import parse_time, rows, time_text
from kubesweep_controller.status.history import previous, sweeps_of
from kubesweep_controller.status.observation import Facts
from kubesweep_controller.status.reasons import ConditionType, Reason

__all__ = ["Wanted", "events_of"]

QUIET = (Reason.CHECKING, Reason.SUSPENDED)  # not Ready, but nothing went wrong


@dataclass(frozen=True)
class Wanted:
    """An Event to be posted. Those of one ``reason`` and ``error`` within some minutes are one object."""

    reason: Reason
    note: str
    occurrence: str  # the same for the same happening, whoever tells it and however often
    warning: bool = True
    error: str = ""  # error class
    count: int | None = None  # how often it happened in all; None: once more


def events_of(facts: Facts, status: Mapping[str, Any], obeyed: Sequence[Obeyed] = ()) -> list[Wanted]:
    """What to tell when ``status`` takes the place of the one in ``facts.body``, the orders first."""
    told = [_order(each) for each in obeyed]
    before = previous(facts)
    if status != before:
        told += [*_ready(before, status), *_switches(before, status), *_sweeps(facts)]
        told += [*_missed(facts, before, status), *_dead_letters(facts), *_recovered(facts, before, status)]
    return told


def _order(obeyed: Obeyed) -> Wanted:
    refused = obeyed.reason is Reason.REQUEST_REFUSED
    order = obeyed.order
    note = f"{obeyed.sentence} (kubesweep.dev/{order.kind}: {order.nonce[:64]})"
    return Wanted(obeyed.reason, note, f"{order.kind}/{order.nonce}", warning=refused, error=str(order.kind))


def _ready(before: Mapping[str, Any], status: Mapping[str, Any]) -> Iterator[Wanted]:
    old, new = find(before, ConditionType.READY) or {}, find(status, ConditionType.READY) or {}
    if new.get("status") == "True":
        if old.get("status") != "True":
            yield Wanted(Reason.READY, str(new["message"]), _step(old, new), warning=False)
    elif new.get("reason") not in QUIET and _problem(old) != _problem(new):
        yield Wanted(Reason(new["reason"]), str(new["message"]), _step(old, new), error=_problem(new)[1])
    yield from _warnings(before, status)


def _problem(condition: Mapping[str, Any]) -> tuple[str, str]:
    """What makes two complaints one: the reason, and the code that the message begins with or the version of the spec."""
    reason, message = str(condition.get("reason", "")), str(condition.get("message", ""))
    if reason in _EDITED:
        return reason, f"generation {condition.get('observedGeneration', 0)}"
    return reason, message.partition(":")[0] if reason in _CODED else ""


_EDITED = (Reason.INVALID_SPEC, Reason.CHILD_REJECTED)
_CODED = (Reason.SOURCE_NOT_READY, Reason.EFFECT_NOT_READY, Reason.QUEUE_UNAVAILABLE)


def _step(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """One change of a condition, named by when it was as it had been: the same however often it is told."""
    return f"{old.get('lastTransitionTime')} {_problem(old)} {new['status']} {_problem(new)}"


def _warnings(before: Mapping[str, Any], status: Mapping[str, Any]) -> Iterator[Wanted]:
    old, new = (
        str((find(each, ConditionType.SOURCE_READY) or {}).get("message", "")).partition(WARNINGS)[2]
        for each in (before, status)
    )
    if new and new != old:
        yield Wanted(Reason.SOURCE_WARNING, new, new)


def _switches(before: Mapping[str, Any], status: Mapping[str, Any]) -> Iterator[Wanted]:
    old, new = find(before, ConditionType.AUTOSCALING) or {}, find(status, ConditionType.AUTOSCALING) or {}
    bad = (Reason.KEDA_MISSING, Reason.SCALER_FAILED, Reason.SCALER_SILENT)
    if new.get("reason") in bad and old.get("reason") != new["reason"]:
        yield Wanted(Reason(new["reason"]), str(new["message"]), _step(old, new))
    elif new.get("status") == "True" and old.get("reason") in bad:
        yield Wanted(Reason.SCALED_BY_KEDA, str(new["message"]), _step(old, new), warning=False)
    old, new = find(before, ConditionType.SUSPENDED) or {}, find(status, ConditionType.SUSPENDED) or {}
    if new.get("status") == "True" and old.get("status") != "True":
        yield Wanted(Reason.SUSPENDED, str(new["message"]), _step(old, new), warning=False)
    elif new.get("status") == "False" and old.get("status") == "True":
        yield Wanted(Reason.RESUMED, str(new["message"]), _step(old, new), warning=False)


def _sweeps(facts: Facts) -> Iterator[Wanted]:
    before = previous(facts)
    written = [entry for entry in (before.get("lastSweep"), *(before.get("history") or ())) if entry]
    states = {str(entry.get("id")): entry.get("state") for entry in written}
    sweeps = sweeps_of(facts)
    for sweep in reversed(
        sweeps if written else sweeps[:1]
    ):  # of what was before the first look only the latest counts
        if states.get(sweep.id) != sweep.state and (wanted := _sweep(facts, sweep)) is not None:
            yield wanted


def _sweep(facts: Facts, sweep: Sweep) -> Wanted | None:
    occurrence = f"{sweep.id}/{sweep.state}"
    match sweep.state:
        case SweepState.FAILED | SweepState.HALTED:
            return Wanted(Reason.LAST_SWEEP_FAILED, ended_sentence(facts, sweep), occurrence, error=sweep.reason)
        case SweepState.LOST:
            return Wanted(Reason.LOST, ended_sentence(facts, sweep), occurrence)
        case SweepState.AWAITING_APPROVAL:
            return Wanted(Reason.AWAITING_APPROVAL, held_sentence(facts, sweep), occurrence)
        case SweepState.SUPERSEDED:
            note = f"the sweep of {time_text(int(sweep.tick))} ended: {sweep.message or sweep.reason}"
            return Wanted(Reason.SUPERSEDED, note, occurrence, warning=False)
        case _:
            return None


def _missed(facts: Facts, before: Mapping[str, Any], status: Mapping[str, Any]) -> Iterator[Wanted]:
    tick = status.get("lastMissedTime")
    at = parse_time(tick)
    if tick != before.get("lastMissedTime") and at is not None:
        yield Wanted(Reason.MISSED_SCHEDULE, missed_sentence(facts, at), str(tick))


def _dead_letters(facts: Facts) -> Iterator[Wanted]:
    for group in risen(facts):
        happening = f"{int(group.last)}/{group.count}"
        note = group_sentence(facts, group)
        yield Wanted(Reason.DEAD_LETTERS, note, happening, error=group.error, count=group.count)


def _recovered(facts: Facts, before: Mapping[str, Any], status: Mapping[str, Any]) -> Iterator[Wanted]:
    old, new = find(before, ConditionType.DEGRADED) or {}, find(status, ConditionType.DEGRADED) or {}
    if old.get("status") != "True" or new.get("status") == "True":
        return
    latest = next(iter(sweeps_of(facts)), None)
    completed = latest is not None and latest.state is SweepState.COMPLETED
    if old.get("reason") == Reason.AWAITING_APPROVAL and not completed:
        return  # an approval tells of itself
    note = f"{old.get('reason')} is over"
    if old.get("reason") == Reason.DEAD_LETTERS:
        note += ": none is left"
    elif latest is not None and completed:
        note += f": the sweep of {time_text(int(latest.tick))} completed, {rows(latest.applied)} applied"
    yield Wanted(Reason.RECOVERED, note, _step(old, new), warning=False, error=str(old.get("reason")))
