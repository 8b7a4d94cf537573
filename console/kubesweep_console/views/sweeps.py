"""Sweeps: their outcomes as a bar and as an equation, their duration, and the progress of one that runs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from kubesweep.quantities import count, duration, percent, rate
from kubesweep.queue.model import Sweep, SweepState, plain_key
from kubesweep_console.documents import Schedule, Throttle, mapping, number
from kubesweep_console.pictures import Part, rate_chart, stacked_bar
from kubesweep_console.times import Moment, moment, moment_of
from kubesweep_console.views.databases import Measured, measured_of
from kubesweep_console.views.state import sweep_tone

__all__ = ["OUTCOMES", "Progress", "Reading", "SweepLine", "progress", "sweep_line"]

OUTCOMES = ("applied", "skipped", "unconfirmed", "retrying", "dead")
DRY_RUN = "DryRun"


@dataclass(frozen=True, slots=True)
class Reading:
    """A running sweep at one moment. ``share`` of the full speed that the database's health allowed; None: all of it."""

    at: float
    settled: int
    share: float | None = None


@dataclass(frozen=True, slots=True)
class SweepLine:
    """One sweep in the history."""

    id: str
    state: str
    tone: str
    dry: bool
    reason: str
    message: str
    tick: Moment
    started: Moment | None
    took: str
    planned: str
    outcomes: tuple[tuple[str, str], ...]  # name and number
    equation: str
    bar: Markup


@dataclass(frozen=True, slots=True)
class Progress:
    """A sweep on its own page. ``rate`` and ``left`` are empty where they are not known."""

    line: SweepLine
    active: bool
    settled: str
    expected: str  # rows that it will have settled
    share: str  # of these; empty while it plans
    rate: str
    average: str
    left: str
    jobs: tuple[tuple[str, str], ...]
    throttle: Throttle | None
    measured: tuple[Measured, ...]  # signals of the database
    chart: Markup
    described: str  # the chart in words
    cutoff: str
    capped: bool
    samples: tuple[str, ...]


def sweep_line(sweep: Sweep, now: float, zone: str = "UTC") -> SweepLine:
    dry = sweep.mode == DRY_RUN
    equation = f"{count(sweep.planned)} planned, no row was changed" if dry else _equation(sweep)
    parts = [Part(name, getattr(sweep, name)) for name in OUTCOMES]
    return SweepLine(
        id=sweep.id,
        state=str(sweep.state),
        tone=sweep_tone(sweep),
        dry=dry,
        reason=sweep.reason,
        message=sweep.message,
        tick=moment(sweep.tick, now, zone),
        started=moment_of(sweep.started or None, now, zone),
        took=_took(sweep, now),
        planned=count(sweep.planned),
        outcomes=() if dry else tuple((name, count(getattr(sweep, name))) for name in OUTCOMES),
        equation=equation,
        bar=Markup() if dry or not sweep.planned else stacked_bar(parts, sweep.planned, equation),
    )


def _equation(sweep: Sweep) -> str:
    """``100 planned = 90 applied + ...``. Rows that have no outcome yet are *open*, those of a sweep that ended early *not reached*."""
    parts = [(name, getattr(sweep, name)) for name in OUTCOMES]
    rest = sweep.planned - sweep.settled_rows
    if rest > 0:
        parts.append(("not reached" if sweep.state.settled else "open", rest))
    total = sum(size for _, size in parts)
    sign = "=" if total == sweep.planned else f"≠ {count(total)} ="
    return f"{count(sweep.planned)} planned {sign} " + " + ".join(f"{count(size)} {name}" for name, size in parts)


def _took(sweep: Sweep, now: float) -> str:
    if not sweep.started:
        return ""
    if sweep.finished is not None:
        return duration(sweep.finished - sweep.started)
    return "" if sweep.state.settled else f"{duration(now - sweep.started)} so far"


def progress(schedule: Schedule, sweep: Sweep, readings: Sequence[Reading], now: float, zone: str = "UTC") -> Progress:
    """``readings``: of this sweep, the oldest first."""
    active = not sweep.state.settled
    speeds = _rates(readings)
    speed = _recent(readings) if active else None
    latest = schedule.last is not None and schedule.last.id == sweep.id
    running = sweep.state is SweepState.RUNNING
    expected = schedule.expected if active and latest else sweep.planned
    left = (expected - sweep.settled_rows) / speed if running and speed else None
    shares = [each.share for each in readings[1:]]
    words = _described(speeds, shares)
    return Progress(
        line=sweep_line(sweep, now, zone),
        active=active,
        settled=count(sweep.settled_rows),
        expected=f"{'about ' if expected > sweep.planned else ''}{count(expected)}",
        share=percent(sweep.settled_rows, expected) if running else "",
        rate=rate(speed),
        average=_average(sweep),
        left="" if left is None else duration(left),
        jobs=_jobs(schedule) if latest else (),
        throttle=schedule.throttle if latest else None,
        measured=measured_of(schedule, now) if active and latest else (),
        chart=rate_chart(speeds, shares, words),
        described=words,
        cutoff=sweep.cutoff or "",
        capped=sweep.capped,
        samples=tuple(map(plain_key, sweep.samples)),
    )


def _rates(readings: Sequence[Reading]) -> list[float]:
    return [max(0, b.settled - a.settled) / max(0.001, b.at - a.at) for a, b in pairwise(readings)]


_RECENT = 10.0  # seconds


def _recent(readings: Sequence[Reading]) -> float | None:
    """Rows per second in the last seconds, or since the reading before; None while the readings span no time."""
    if len(readings) < 2:
        return None
    last = readings[-1]
    first = next((each for each in reversed(readings[:-1]) if each.at <= last.at - _RECENT), readings[0])
    return max(0, last.settled - first.settled) / (last.at - first.at) if last.at > first.at else None


def _average(sweep: Sweep) -> str:
    if sweep.finished is None or sweep.finished <= sweep.started or not sweep.settled_rows:
        return ""
    return rate(sweep.settled_rows / (sweep.finished - sweep.started))


def _jobs(schedule: Schedule) -> tuple[tuple[str, str], ...]:
    queue = mapping(schedule.status.get("queue"))
    names = (("ready", "ready"), ("running", "running"), ("delayed", "waiting to retry"))
    return tuple((label, count(number(queue.get(name)))) for name, label in names)


def _described(rates: Sequence[float], shares: Sequence[float | None]) -> str:
    if len(rates) < 2:
        return ""
    slow = [share for share in shares if share is not None and share < 1]
    health = f"; the database's health allowed {round(100 * min(slow))} % at the least" if slow else ""
    return f"from {rate(min(rates))} to {rate(max(rates))} while you watched{health}"
