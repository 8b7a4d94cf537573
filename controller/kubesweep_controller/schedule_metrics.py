"""The metrics of one schedule as text, made when the schedule is observed. A scrape only joins the texts of all schedules.

Labels are bounded: namespace, schedule and words of this project, no error class and no key.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kubesweep.backlog import Backlog
from kubesweep.queue.model import Stats, SweepState
from kubesweep_controller.status.formatting import parse_time
from kubesweep_controller.status.history import COUNTS
from kubesweep_controller.status.missed_ticks import counts_of

__all__ = ["Observed", "Texts", "exposition", "texts_of"]

EXACT = 2**53  # the integers up to it are floats
Texts = tuple[str, ...]  # one for each family
Samples = Iterator[tuple[str, float]]  # the value of the family's own label, or an empty text, and the sample's value


@dataclass(frozen=True)
class Observed:
    """What one reconcile observed. ``rows``: totals by outcome."""

    status: Mapping[str, Any]
    stats: Stats | None = None
    backlog: Backlog | None = None
    rows: Mapping[str, int] = field(default_factory=dict)
    crash_loop: bool = False
    previous_tick: float | None = None
    paused: bool = False  # by a person
    slowed_by: tuple[str, float] | None = None  # a signal of the database, and the share of the speed that it leaves


class _Family(NamedTuple):
    name: str
    help: str
    samples: Callable[[Observed], Samples]
    label: str = ""
    kind: str = "gauge"


def texts_of(namespace: str, schedule: str, observed: Observed) -> Texts:
    """Raises where a number cannot be exported."""
    who = f'namespace="{_escaped(namespace)}",schedule="{_escaped(schedule)}"'
    return tuple("".join(_line(family, who, *sample) for sample in family.samples(observed)) for family in _FAMILIES)


def exposition(schedules: Iterable[Texts]) -> str:
    """All families with the samples of all schedules, in the text format of Prometheus."""
    parts, known = [], list(schedules)
    for place, family in enumerate(_FAMILIES):
        parts.append(f"# HELP {family.name} {family.help}\n# TYPE {family.name} {family.kind}\n")
        parts += [texts[place] for texts in known]
    return "".join(parts)


def _line(family: _Family, who: str, label: str, value: float) -> str:
    own = f',{family.label}="{_escaped(label)}"' if family.label else ""
    return f"{family.name}{{{who}{own}}} {_number_text(float(value))}\n"


def _number_text(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return f"{value:.0f}" if value.is_integer() and abs(value) < EXACT else repr(value)


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _jobs(one: Observed) -> Samples:
    if one.stats is not None:
        for state in ("ready", "running", "delayed"):
            yield state, getattr(one.stats, state)


def _number(field: str) -> Callable[[Observed], Samples]:
    """A number of the queue."""

    def samples(one: Observed) -> Samples:
        value = None if one.stats is None else getattr(one.stats, field)
        if value is not None:
            yield "", value

    return samples


def _moment(field: str) -> Callable[[Observed], Samples]:
    """A time in the status."""

    def samples(one: Observed) -> Samples:
        at = parse_time(one.status.get(field))
        if at is not None:
            yield "", at

    return samples


def _backlog(field: str) -> Callable[[Observed], Samples]:
    def samples(one: Observed) -> Samples:
        value = None if one.backlog is None else getattr(one.backlog, field)
        if value is not None:
            yield "", value

    return samples


def _oldest(one: Observed) -> Samples:
    """A dry run leaves its rows as they are on purpose, so their age is nothing to act on."""
    if one.stats is not None and one.stats.sweep is not None and one.stats.sweep.mode == "Enforce":
        yield from _backlog("oldest")(one)


def _ticks(one: Observed) -> Samples:
    if one.stats is not None:
        yield from counts_of(one.stats.ticks).items()


def _tick_delay(one: Observed) -> Samples:
    if one.stats is not None and one.stats.sweep is not None:
        yield "", max(0.0, one.stats.sweep.started - one.stats.sweep.tick)


def _previous_tick(one: Observed) -> Samples:
    if one.previous_tick is not None:
        yield "", one.previous_tick


def _paused(one: Observed) -> Samples:
    yield "", 1 if one.paused else 0


def _crash_loop(one: Observed) -> Samples:
    yield "", 1 if one.crash_loop else 0


def _sweep_rows(one: Observed) -> Samples:
    sweep = one.status.get("lastSweep") or {}
    if sweep:
        for outcome in COUNTS:
            yield outcome, int(sweep.get(outcome, 0))


def _sweep_state(one: Observed) -> Samples:
    sweep = one.status.get("lastSweep") or {}
    if sweep:
        for state in SweepState:
            yield str(state), 1 if sweep.get("state") == state else 0


def _conditions(one: Observed) -> Samples:
    for each in one.status.get("conditions") or ():
        yield str(each.get("type")), 1 if each.get("status") == "True" else 0


def _throttle(one: Observed) -> Samples:
    if one.slowed_by is not None:
        yield one.slowed_by


def _rows(one: Observed) -> Samples:
    yield from one.rows.items()


_FAMILIES = (
    _Family("kubesweep_queue_jobs", "Jobs in the queue: ready, running or delayed.", _jobs, "state"),
    _Family("kubesweep_dead_letters", "Rows that used up their attempts.", _number("dead")),
    _Family("kubesweep_excluded_rows", "Rows that sweeps leave alone: retrying or dead.", _number("excluded")),
    _Family(
        "kubesweep_oldest_ready_timestamp_seconds",
        "When the oldest waiting job became ready; absent if no job waits.",
        _number("oldest_ready"),
    ),
    _Family("kubesweep_last_tick_timestamp_seconds", "Nominal time of the latest tick.", _number("last_tick")),
    _Family(
        "kubesweep_previous_tick_timestamp_seconds",
        "Nominal time of the tick before the latest one that was due; absent before the second one.",
        _previous_tick,
    ),
    _Family("kubesweep_paused", "1 while a person has suspended the schedule, or set its rate to 0.", _paused),
    _Family(
        "kubesweep_resumed_timestamp_seconds",
        "When the latest such pause ended; absent if none is remembered.",
        _moment("resumedTime"),
    ),
    _Family("kubesweep_crash_loop", "1 while a container of the workers crashes again and again.", _crash_loop),
    _Family("kubesweep_last_tick_delay_seconds", "How late the latest sweep was opened for its tick.", _tick_delay),
    _Family(
        "kubesweep_ticks_total",
        "Ticks by the queue's answer: enqueued, duplicate, forbidden, late.",
        _ticks,
        "answer",
        "counter",
    ),
    _Family(
        "kubesweep_rows_total",
        "Rows by outcome over all sweeps: applied, skipped, unconfirmed, dead.",
        _rows,
        "outcome",
        "counter",
    ),
    _Family("kubesweep_backlog_rows", "Stale rows that are not finished; absent while unknown.", _backlog("rows")),
    _Family(
        "kubesweep_backlog_oldest_timestamp_seconds",
        "When the oldest of these rows became stale; absent while unknown, and for a dry run.",
        _oldest,
    ),
    _Family(
        "kubesweep_backlog_inflow_rows_per_second",
        "Rows that become stale, averaged over the latest sweeps; absent while unknown.",
        _backlog("inflow"),
    ),
    _Family(
        "kubesweep_backlog_outflow_rows_per_second",
        "Rows that are finished while there are rows to sweep; absent while unknown.",
        _backlog("outflow"),
    ),
    _Family(
        "kubesweep_backlog_empty_timestamp_seconds",
        "When the backlog is empty if the rates stay; +Inf for never, absent while unknown.",
        _backlog("empty"),
    ),
    _Family(
        "kubesweep_last_sweep_rows",
        "Rows of the latest sweep by outcome: planned, applied, skipped, unconfirmed, retrying, dead.",
        _sweep_rows,
        "outcome",
    ),
    _Family("kubesweep_last_sweep_state", "1 for the state of the latest sweep.", _sweep_state, "state"),
    _Family("kubesweep_schedule_condition", "1 if the condition is True, else 0.", _conditions, "type"),
    _Family(
        "kubesweep_last_success_timestamp_seconds",
        "When a sweep last became Completed; absent if none did.",
        _moment("lastSuccessfulTime"),
    ),
    _Family(
        "kubesweep_last_missed_tick_timestamp_seconds",
        "The latest tick that started no sweep; absent if none was missed.",
        _moment("lastMissedTime"),
    ),
    _Family(
        "kubesweep_throttle_ratio",
        "Share of its speed that a signal of the database leaves a sweep; absent if nothing slows it down.",
        _throttle,
        "reason",
    ),
)
