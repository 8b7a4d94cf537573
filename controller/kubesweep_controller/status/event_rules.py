"""Which Events the step from one status to the next deserves. Pure.

An Event tells of a change, the status of what holds. So a controller that starts anew has nothing to tell, and one that
died between the Event and the status tells the same again, under the same name and as the same occurrence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubesweep.queue.model import Sweep, SweepState
from kubesweep_controller.reconcile.commands import CommandResult
from kubesweep_controller.status.conditions.build_conditions import WARNINGS, find
from kubesweep_controller.status.conditions.dead_letters import dead_letter_message, risen
from kubesweep_controller.status.conditions.degraded import approval_message, ended_message, missed_tick_message
from kubesweep_controller.status.conditions.reasons import ConditionType, Reason
from kubesweep_controller.status.formatting import parse_time, rows, time_text
from kubesweep_controller.status.history import previous, sweeps_of
from kubesweep_controller.status.observation import Observation

__all__ = ["EventRequest", "events_of"]

QUIET = (Reason.CHECKING, Reason.SUSPENDED)  # not Ready, but nothing went wrong


@dataclass(frozen=True)
class EventRequest:
    """An Event to be posted. Those of one ``reason`` and ``error`` within some minutes are one object."""

    reason: Reason
    note: str
    occurrence: str  # the same for the same happening, whoever tells it and however often
    warning: bool = True
    error: str = ""  # error class
    count: int | None = None  # how often it happened in all; None: once more


def events_of(
    observation: Observation, status: Mapping[str, Any], results: Sequence[CommandResult] = ()
) -> list[EventRequest]:
    """What to tell when ``status`` takes the place of the one in ``facts.body``, the orders first."""
    told = [_order(each) for each in results]
    before = previous(observation)
    if status != before:
        told += [*_ready(before, status), *_switches(before, status), *_sweeps(observation)]
        told += [
            *_missed(observation, before, status),
            *_dead_letters(observation),
            *_recovered(observation, before, status),
        ]
    return told


def _order(results: CommandResult) -> EventRequest:
    refused = results.reason is Reason.COMMAND_REFUSED
    command = results.command
    note = f"{results.sentence} (kubesweep.dev/{command.kind}: {command.nonce[:64]})"
    return EventRequest(
        results.reason, note, f"{command.kind}/{command.nonce}", warning=refused, error=str(command.kind)
    )


def _ready(before: Mapping[str, Any], status: Mapping[str, Any]) -> Iterator[EventRequest]:
    old, new = find(before, ConditionType.READY) or {}, find(status, ConditionType.READY) or {}
    if new.get("status") == "True":
        if old.get("status") != "True":
            yield EventRequest(Reason.READY, str(new["message"]), _step(old, new), warning=False)
    elif new.get("reason") not in QUIET and _problem(old) != _problem(new):
        yield EventRequest(Reason(new["reason"]), str(new["message"]), _step(old, new), error=_problem(new)[1])
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


def _warnings(before: Mapping[str, Any], status: Mapping[str, Any]) -> Iterator[EventRequest]:
    old, new = (
        str((find(each, ConditionType.SOURCE_READY) or {}).get("message", "")).partition(WARNINGS)[2]
        for each in (before, status)
    )
    if new and new != old:
        yield EventRequest(Reason.SOURCE_WARNING, new, new)


def _switches(before: Mapping[str, Any], status: Mapping[str, Any]) -> Iterator[EventRequest]:
    old, new = find(before, ConditionType.AUTOSCALING) or {}, find(status, ConditionType.AUTOSCALING) or {}
    bad = (Reason.KEDA_MISSING, Reason.SCALER_FAILED, Reason.SCALER_SILENT)
    if new.get("reason") in bad and old.get("reason") != new["reason"]:
        yield EventRequest(Reason(new["reason"]), str(new["message"]), _step(old, new))
    elif new.get("status") == "True" and old.get("reason") in bad:
        yield EventRequest(Reason.SCALED_BY_KEDA, str(new["message"]), _step(old, new), warning=False)
    old, new = find(before, ConditionType.SUSPENDED) or {}, find(status, ConditionType.SUSPENDED) or {}
    if new.get("status") == "True" and old.get("status") != "True":
        yield EventRequest(Reason.SUSPENDED, str(new["message"]), _step(old, new), warning=False)
    elif new.get("status") == "False" and old.get("status") == "True":
        yield EventRequest(Reason.RESUMED, str(new["message"]), _step(old, new), warning=False)


def _sweeps(observation: Observation) -> Iterator[EventRequest]:
    before = previous(observation)
    written = [entry for entry in (before.get("lastSweep"), *(before.get("history") or ())) if entry]
    states = {str(entry.get("id")): entry.get("state") for entry in written}
    sweeps = sweeps_of(observation)
    for sweep in reversed(
        sweeps if written else sweeps[:1]
    ):  # of what was before the first look only the latest counts
        if states.get(sweep.id) != sweep.state and (wanted := _sweep(observation, sweep)) is not None:
            yield wanted


def _sweep(observation: Observation, sweep: Sweep) -> EventRequest | None:
    occurrence = f"{sweep.id}/{sweep.state}"
    match sweep.state:
        case SweepState.FAILED | SweepState.HALTED:
            return EventRequest(
                Reason.LAST_SWEEP_FAILED, ended_message(observation, sweep), occurrence, error=sweep.reason
            )
        case SweepState.LOST:
            return EventRequest(Reason.LOST, ended_message(observation, sweep), occurrence)
        case SweepState.AWAITING_APPROVAL:
            return EventRequest(Reason.AWAITING_APPROVAL, approval_message(observation, sweep), occurrence)
        case SweepState.SUPERSEDED:
            note = f"the sweep of {time_text(int(sweep.tick))} ended: {sweep.message or sweep.reason}"
            return EventRequest(Reason.SUPERSEDED, note, occurrence, warning=False)
        case _:
            return None


def _missed(observation: Observation, before: Mapping[str, Any], status: Mapping[str, Any]) -> Iterator[EventRequest]:
    tick = status.get("lastMissedTime")
    at = parse_time(tick)
    if tick != before.get("lastMissedTime") and at is not None:
        yield EventRequest(Reason.MISSED_SCHEDULE, missed_tick_message(observation, at), str(tick))


def _dead_letters(observation: Observation) -> Iterator[EventRequest]:
    for group in risen(observation):
        happening = f"{int(group.last)}/{group.count}"
        note = dead_letter_message(observation, group)
        yield EventRequest(Reason.DEAD_LETTERS, note, happening, error=group.error, count=group.count)


def _recovered(
    observation: Observation, before: Mapping[str, Any], status: Mapping[str, Any]
) -> Iterator[EventRequest]:
    old, new = find(before, ConditionType.DEGRADED) or {}, find(status, ConditionType.DEGRADED) or {}
    if old.get("status") != "True" or new.get("status") == "True":
        return
    latest = next(iter(sweeps_of(observation)), None)
    completed = latest is not None and latest.state is SweepState.COMPLETED
    if old.get("reason") == Reason.AWAITING_APPROVAL and not completed:
        return  # an approval tells of itself
    note = f"{old.get('reason')} is over"
    if old.get("reason") == Reason.DEAD_LETTERS:
        note += ": none is left"
    elif latest is not None and completed:
        note += f": the sweep of {time_text(int(latest.tick))} completed, {rows(latest.applied)} applied"
    yield EventRequest(Reason.RECOVERED, note, _step(old, new), warning=False, error=str(old.get("reason")))
