"""The page of one schedule: its spec in words, its ticks, its sweeps, and its conditions with what to type. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kubesweep.quantities import count
from kubesweep.timestamps import parse_time
from kubesweep_console.documents import Schedule, mapping, number, text
from kubesweep_console.provider import Action, ActionKind
from kubesweep_console.times import Moment, moment, moment_of, zone_of
from kubesweep_console.views.backlog import KeepUp, keep_up
from kubesweep_console.views.fleet import throttled
from kubesweep_console.views.state import State, advised, state_of
from kubesweep_console.views.sweeps import SweepLine, sweep_line
from kubesweep_console.views.words import Words, words_of

__all__ = ["COMING", "Advice", "Condition", "SchedulePage", "possible_actions", "schedule_page"]

COMING = 5  # ticks that are shown
Command = Callable[[Action], str]


@dataclass(frozen=True, slots=True)
class Advice:
    """An action, in words, and the command that does the same; empty where there is none."""

    kind: ActionKind
    label: str
    command: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class Condition:
    type: str
    status: str
    reason: str
    message: str
    tone: str
    since: Moment | None
    advice: tuple[Advice, ...]


@dataclass(frozen=True, slots=True)
class SchedulePage:
    schedule: Schedule
    state: State
    words: tuple[Words, ...]
    zone: str
    last_tick: Moment | None
    missed_tick: Moment | None
    tick_counts: tuple[tuple[str, str], ...]
    coming: tuple[Moment, ...]
    keep_up: KeepUp
    throttle: str
    throttle_message: str
    sweeps: tuple[SweepLine, ...]
    conditions: tuple[Condition, ...]
    actions: tuple[Advice, ...]
    dead: int


LABELS = {
    ActionKind.TRIGGER: "Sweep now",
    ActionKind.APPROVE: "Approve the sweep",
    ActionKind.PAUSE: "Pause",
    ActionKind.RESUME: "Resume",
    ActionKind.RETRY: "Retry the dead letters",
    ActionKind.PURGE: "Purge the dead letters",
}
_FIRST = ("bad", "off", "good")  # tones of conditions, in the order of the page
_GOOD_WHEN_FALSE = frozenset({"Degraded", "Stalled", "Suspended"})


def schedule_page(schedule: Schedule, now: float, command: Command) -> SchedulePage:
    """``command``: what to type for an action."""
    zone = zone_of(schedule.ticks)
    status = schedule.status
    throttle = schedule.throttle
    counts = mapping(status.get("ticks"))
    named = (
        ("enqueued", "became a sweep"),
        ("forbidden", "skipped"),
        ("late", "missed"),
        ("duplicate", "known before"),
    )
    conditions = [_condition(schedule, each, now, command) for each in schedule.conditions.values()]
    return SchedulePage(
        schedule=schedule,
        state=state_of(schedule),
        words=words_of(schedule.spec),
        zone=zone,
        last_tick=moment_of(parse_time(status.get("lastScheduleTime")), now, zone),
        missed_tick=moment_of(parse_time(status.get("lastMissedTime")), now, zone),
        tick_counts=tuple(
            (label, count(number(counts.get(name)))) for name, label in named if number(counts.get(name))
        ),
        coming=_coming(schedule, now, zone),
        keep_up=keep_up(schedule, now),
        throttle=throttled(schedule),
        throttle_message=throttle.message if throttle else "",
        sweeps=tuple(sweep_line(each, now, zone) for each in schedule.sweeps),
        conditions=tuple(sorted(conditions, key=lambda each: _FIRST.index(each.tone))),
        actions=tuple(_advice(schedule, kind, command) for kind in possible_actions(schedule)),
        dead=schedule.dead,
    )


def possible_actions(schedule: Schedule) -> tuple[ActionKind, ...]:
    """The actions that have an effect now, the most pressing first."""
    sweep = schedule.last
    found = []
    if sweep is not None and sweep.state == "AwaitingApproval":
        found.append(ActionKind.APPROVE)
    if sweep is None or sweep.state.settled:
        found.append(ActionKind.TRIGGER)
    if schedule.dead:
        found += [ActionKind.RETRY, ActionKind.PURGE]
    found.append(ActionKind.RESUME if schedule.resumable else ActionKind.PAUSE)
    return tuple(found)


def _advice(schedule: Schedule, kind: ActionKind, command: Command) -> Advice:
    sweep = schedule.last.id if kind is ActionKind.APPROVE and schedule.last is not None else ""
    return Advice(kind, LABELS[kind], command(Action(kind, schedule.document, sweep=sweep)))


def _condition(schedule: Schedule, entry: Mapping[str, Any], now: float, command: Command) -> Condition:
    kind, status = text(entry.get("type")), text(entry.get("status"))
    good = status == ("False" if kind in _GOOD_WHEN_FALSE else "True")
    bad = "off" if kind == "Suspended" else "bad"
    since = parse_time(entry.get("lastTransitionTime"))
    return Condition(
        type=kind,
        status=status,
        reason=text(entry.get("reason")),
        message=text(entry.get("message")),
        tone="good" if good else "off" if status == "Unknown" else bad,
        since=moment_of(since, now),
        advice=tuple(_advice(schedule, each, command) for each in advised(entry)),
    )


def _coming(schedule: Schedule, now: float, zone: str) -> tuple[Moment, ...]:
    ticks, found = schedule.ticks, list[Moment]()
    if ticks is None or schedule.suspended:
        return ()
    tick = ticks.next(now)
    while tick is not None and len(found) < COMING:
        found.append(moment(tick, now, zone))
        tick = ticks.next(tick)
    return tuple(found)
