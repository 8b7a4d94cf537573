"""Which Events the step from one status to the next calls for. Pure.

An Event reports a change, the status reports what holds. So a restarted controller reports nothing again, and one that crashed
between the Event and the status reports the same occurrence again. :mod:`kubesweep_controller.kube.events` deduplicates Events.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubesweep.quantities import duration
from kubesweep.queue.model import Sweep, SweepState
from kubesweep_controller.status.baseline import read_baseline
from kubesweep_controller.status.commands import CommandResult
from kubesweep_controller.status.conditions.dead_letters import dead_letter_message, grown_groups
from kubesweep_controller.status.conditions.degraded import approval_message, ended_message, missed_tick_message
from kubesweep_controller.status.conditions.reasons import ConditionType, Reason
from kubesweep_controller.status.conditions.result import find_condition
from kubesweep_controller.status.conditions.source_ready import last_finding
from kubesweep_controller.status.formatting import parse_time, rows, time_text
from kubesweep_controller.status.history import COUNTS, previous, sweeps_of
from kubesweep_controller.status.observation import Observation, ticks_often

__all__ = ["EventRequest", "events_of"]

QUIET = (Reason.CHECKING, Reason.SUSPENDED)  # not Ready, but nothing went wrong
_PER_GENERATION = (Reason.INVALID_SPEC, Reason.CHILD_REJECTED)


@dataclass(frozen=True)
class EventRequest:
    """An Event to be posted. Requests with one ``reason`` and ``error`` within some minutes become one object."""

    reason: Reason
    note: str
    occurrence: str  # identifies what happened: the same from every controller and at every retry
    warning: bool = True
    error: str = ""  # error class, or what else makes two Events of one reason different
    count: int | None = None  # how often it happened in total; None: once more


def events_of(
    observation: Observation, status: Mapping[str, Any], results: Sequence[CommandResult] = ()
) -> list[EventRequest]:
    """The Events to post when ``status`` replaces the one in ``observation.body``: results of commands first."""
    events = [_command(each) for each in results]
    before = previous(observation)
    if status != before:
        events += [*_ready(before, status), *_warnings(observation, before, status), *_autoscaling(before, status)]
        events += [
            *_throttled(observation, before, status),
            *_suspended(before, status),
            *_keeping_up(before, status),
            *_sweeps(observation),
            *_missed(observation, before, status),
            *_failover(before, status),
        ]
        events += [*_dead_letters(observation), *_recovered(observation, before, status)]
    return events


def _command(result: CommandResult) -> EventRequest:
    refused = result.reason is Reason.COMMAND_REFUSED
    command = result.command
    note = f"{result.message} (kubesweep.dev/{command.kind}: {command.nonce[:64]})"
    occurrence = f"{command.kind}/{command.nonce}"
    return EventRequest(result.reason, note, occurrence, warning=refused, error=str(command.kind))


def _ready(before: Mapping[str, Any], status: Mapping[str, Any]) -> Iterator[EventRequest]:
    old, new = (find_condition(each, ConditionType.READY) or {} for each in (before, status))
    problems = _problem(before, old), _problem(status, new)
    occurrence = f"{old.get('lastTransitionTime')} {problems[0]} {new.get('status')} {problems[1]}"
    if new.get("status") == "True":
        if old.get("status") != "True":
            yield EventRequest(Reason.READY, str(new["message"]), occurrence, warning=False)
    elif new.get("reason") not in QUIET and problems[0] != problems[1]:
        yield EventRequest(Reason(new["reason"]), str(new["message"]), occurrence, error=problems[1][1])


def _problem(status: Mapping[str, Any], ready: Mapping[str, Any]) -> tuple[str, str]:
    """What makes two problems of Ready the same: the reason, and the error's code or the version of the spec."""
    reason = str(ready.get("reason", ""))
    if reason in _PER_GENERATION:
        return reason, f"generation {ready.get('observedGeneration', 0)}"
    return reason, str(status.get("readyCode", ""))


def _step(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """One change of a condition, identified by the time of the change before: the same however often it is reported."""
    return f"{old.get('lastTransitionTime')} {old.get('reason')} {new['status']} {new.get('reason')}"


def _warnings(observation: Observation, before: Mapping[str, Any], status: Mapping[str, Any]) -> Iterator[EventRequest]:
    finding = last_finding(observation, "SourceWarnings")
    old, new = (find_condition(each, ConditionType.SOURCE_READY) or {} for each in (before, status))
    changed = new.get("status") == "True" and old.get("message") != new.get("message")
    if changed and finding is not None and not finding.ok:
        yield EventRequest(Reason.SOURCE_WARNING, finding.message, finding.message)


def _autoscaling(before: Mapping[str, Any], status: Mapping[str, Any]) -> Iterator[EventRequest]:
    old, new = (find_condition(each, ConditionType.AUTOSCALING) or {} for each in (before, status))
    bad = (Reason.KEDA_MISSING, Reason.SCALER_FAILED, Reason.SCALER_SILENT)
    if new.get("reason") in bad and old.get("reason") != new["reason"]:
        yield EventRequest(Reason(new["reason"]), str(new["message"]), _step(old, new))
    elif new.get("status") == "True" and old.get("reason") in bad:
        yield EventRequest(Reason.SCALED_BY_KEDA, str(new["message"]), _step(old, new), warning=False)


def _keeping_up(before: Mapping[str, Any], status: Mapping[str, Any]) -> Iterator[EventRequest]:
    old, new = (find_condition(each, ConditionType.KEEPING_UP) or {} for each in (before, status))
    if new.get("status") == "False" and old.get("status") != "False":
        yield EventRequest(Reason.FALLING_BEHIND, str(new["message"]), _step(old, new))
    elif new.get("status") == "True" and old.get("status") == "False":
        yield EventRequest(Reason.KEEPING_UP, str(new["message"]), _step(old, new), warning=False)


def _throttled(
    observation: Observation, before: Mapping[str, Any], status: Mapping[str, Any]
) -> Iterator[EventRequest]:
    """Pauses by a signal of the database, and their ends. Slower speeds are in the status."""
    old, new = (each.get("throttle") or {} for each in (before, status))
    paused, pauses = (each.get("percent") == 0 for each in (old, new))
    if pauses and not (paused and old.get("reason") == new["reason"]):
        yield EventRequest(
            Reason.THROTTLED, str(new["message"]), f"{new['reason']} {new['since']}", error=new["reason"]
        )
    elif paused and not pauses and not (observation.pace is not None and observation.pace.paused):
        note = f"{old['reason']} no longer pauses the sweep"  # it may have ended, or a person ignores the signal
        yield EventRequest(
            Reason.RECOVERED, note, f"{old['reason']} {old['since']}", warning=False, error=old["reason"]
        )


def _suspended(before: Mapping[str, Any], status: Mapping[str, Any]) -> Iterator[EventRequest]:
    old, new = (find_condition(each, ConditionType.SUSPENDED) or {} for each in (before, status))
    if new.get("status") == "True" and old.get("status") != "True":
        yield EventRequest(Reason.SUSPENDED, str(new["message"]), _step(old, new), warning=False)
    elif new.get("status") == "False" and old.get("status") == "True":
        yield EventRequest(Reason.RESUMED, str(new["message"]), _step(old, new), warning=False)


def _sweeps(observation: Observation) -> Iterator[EventRequest]:
    before = previous(observation)
    written = [entry for entry in (before.get("lastSweep"), *(before.get("history") or ())) if entry]
    states = {str(entry.get("id")): entry.get("state") for entry in written}
    sweeps = sweeps_of(observation)
    # Of the sweeps before the first status only the latest is reported.
    for sweep in reversed(sweeps if written else sweeps[:1]):
        if states.get(sweep.id) != sweep.state and (event := _sweep(observation, sweep)) is not None:
            yield event


def _sweep(observation: Observation, sweep: Sweep) -> EventRequest | None:
    occurrence = f"{sweep.id}/{sweep.state}"
    match sweep.state:
        case SweepState.FAILED | SweepState.HALTED:
            note = ended_message(observation, sweep)
            return EventRequest(Reason.LAST_SWEEP_FAILED, note, occurrence, error=sweep.reason)
        case SweepState.LOST:
            return EventRequest(Reason.LOST, ended_message(observation, sweep), occurrence)
        case SweepState.AWAITING_APPROVAL:
            return EventRequest(Reason.AWAITING_APPROVAL, approval_message(observation, sweep), occurrence)
        case SweepState.SUPERSEDED:
            note = f"the sweep of {time_text(int(sweep.tick))} ended: {sweep.message or sweep.reason}"
            return EventRequest(Reason.SUPERSEDED, note, occurrence, warning=False)
        case SweepState.COMPLETED if sweep.planned and not ticks_often(observation):
            # An Event for each sweep: objects that several sweeps share keep the note of the first.
            return EventRequest(Reason.COMPLETED, _completed(sweep), occurrence, warning=False, error=sweep.id)
        case _:
            return None


def _completed(sweep: Sweep) -> str:
    """``the sweep of 2027-01-15T08:00:00Z completed in 12 s: 40,000 rows, 39,999 applied, 1 dead``."""
    took = duration((sweep.finished or sweep.started) - sweep.started)
    completed = f"the sweep of {time_text(int(sweep.tick))} completed in {took}: {rows(sweep.planned)}"
    if sweep.mode == "DryRun":
        return f"{completed} would be swept (DryRun)"
    outcomes = [f"{number:,} {name}" for name in COUNTS[1:] if (number := getattr(sweep, name))]
    more = ["the other rows wait for the next tick"] if sweep.capped else []
    return ", ".join([completed, *outcomes, *more])


def _missed(observation: Observation, before: Mapping[str, Any], status: Mapping[str, Any]) -> Iterator[EventRequest]:
    tick = status.get("lastMissedTime")
    at = parse_time(tick)
    if tick != before.get("lastMissedTime") and at is not None:
        yield EventRequest(Reason.MISSED_SCHEDULE, missed_tick_message(observation, at), str(tick))


def _failover(before: Mapping[str, Any], status: Mapping[str, Any]) -> Iterator[EventRequest]:
    """The same database on another timeline. Sweeps continue: it has the rows that the primary had."""
    old, new = (read_baseline(each.get("baseline")) for each in (before, status))
    if old is None or new is None or not new.follows(old):
        return
    note = (
        f"the database went from timeline {old.database.timeline} to {new.database.timeline}: a standby was promoted, or a backup "
        "was replayed. Sweeps continue. If it was a backup, rows that were swept since it was made are swept again"
    )
    yield EventRequest(Reason.DATABASE_FAILOVER, note, f"{new.database.name} {new.database.timeline}", warning=False)


def _dead_letters(observation: Observation) -> Iterator[EventRequest]:
    for group in grown_groups(observation):
        note, occurrence = dead_letter_message(observation, group), f"{int(group.last)}/{group.count}"
        yield EventRequest(Reason.DEAD_LETTERS, note, occurrence, error=group.error, count=group.count)


def _recovered(
    observation: Observation, before: Mapping[str, Any], status: Mapping[str, Any]
) -> Iterator[EventRequest]:
    old, new = (find_condition(each, ConditionType.DEGRADED) or {} for each in (before, status))
    if old.get("status") != "True" or new.get("status") == "True":
        return
    latest = next(iter(sweeps_of(observation)), None)
    completed = latest is not None and latest.state is SweepState.COMPLETED
    if old.get("reason") == Reason.AWAITING_APPROVAL and not completed:
        return  # the approval has an Event of its own
    note = f"{old.get('reason')} is over"
    if old.get("reason") == Reason.DEAD_LETTERS:
        note += ": none is left"
    elif latest is not None and completed:
        note += f": the sweep of {time_text(int(latest.tick))} completed, {rows(latest.applied)} applied"
    yield EventRequest(Reason.RECOVERED, note, _step(old, new), warning=False, error=str(old.get("reason")))
