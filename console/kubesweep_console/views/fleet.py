"""The fleet page: every schedule in one row, problems first, filtered by namespace and text. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from kubesweep_console.documents import Schedule
from kubesweep_console.times import Moment, moment_of
from kubesweep_console.views.backlog import KeepUp, keep_up
from kubesweep_console.views.state import State, Urgency, state_of

__all__ = ["SHOWN", "Filter", "Fleet", "FleetRow", "fleet", "matching", "throttled"]

SHOWN = 100  # rows of a page, unless all are asked for
NextTick = Callable[[Schedule], tuple[float | None, str]]


@dataclass(frozen=True, slots=True)
class Filter:
    """``text`` is found in the name, the namespace, the state and its reason, ignoring case."""

    namespace: str = ""
    text: str = ""
    everything: bool = False  # show more than SHOWN rows

    @property
    def active(self) -> bool:
        return bool(self.namespace or self.text)


@dataclass(frozen=True, slots=True)
class FleetRow:
    schedule: Schedule
    state: State
    keep_up: KeepUp
    throttle: str
    next_tick: Moment | None


@dataclass(frozen=True, slots=True)
class Fleet:
    rows: tuple[FleetRow, ...]
    total: int  # schedules without a filter
    found: int  # schedules that match the filter
    namespaces: tuple[str, ...]
    chosen: Filter
    counts: tuple[tuple[str, str, int], ...] = field(default=())  # tone, label and number, of those that match


_LABELS = {
    Urgency.BAD: "in trouble",
    Urgency.WARN: "with a warning",
    Urgency.ACTIVE: "running",
    Urgency.GOOD: "fine",
    Urgency.OFF: "suspended",
}


def fleet(schedules: Sequence[Schedule], chosen: Filter, now: float, next_tick: NextTick) -> Fleet:
    """``next_tick``: the next tick of a schedule and its zone, which the caller may keep."""
    found = matching(schedules, chosen)
    found.sort(key=lambda each: (each[1].urgency, each[0].namespace, each[0].name))
    shown = found if chosen.everything else found[:SHOWN]
    numbers = Counter(state.urgency for _, state in found)
    return Fleet(
        rows=tuple(_row(schedule, state, now, next_tick) for schedule, state in shown),
        total=len(schedules),
        found=len(found),
        namespaces=tuple(sorted({each.namespace for each in schedules})),
        chosen=chosen,
        counts=tuple((urgency.tone, _LABELS[urgency], numbers[urgency]) for urgency in Urgency if numbers[urgency]),
    )


def matching(schedules: Iterable[Schedule], chosen: Filter) -> list[tuple[Schedule, State]]:
    """The schedules that the filter leaves, each with its state."""
    wanted = chosen.text.strip().lower()
    pairs = ((each, state_of(each)) for each in schedules if chosen.namespace in ("", each.namespace))
    return [(each, state) for each, state in pairs if not wanted or wanted in _searched(each, state)]


def _searched(schedule: Schedule, state: State) -> str:
    return f"{schedule.namespace}/{schedule.name}\n{state.label}\n{state.why}".lower()


def _row(schedule: Schedule, state: State, now: float, next_tick: NextTick) -> FleetRow:
    tick, zone = (None, "") if schedule.suspended else next_tick(schedule)
    return FleetRow(
        schedule=schedule,
        state=state,
        keep_up=keep_up(schedule, now),
        throttle=throttled(schedule),
        next_tick=moment_of(tick, now, zone),
    )


def throttled(schedule: Schedule) -> str:
    """``ReplayLag, 50 %``; empty at full speed."""
    found = schedule.throttle
    if found is None:
        return ""
    share = f", {found.percent} %" if found.percent is not None else f", {found.value}" if found.value else ""
    return f"{found.reason}{share}"
