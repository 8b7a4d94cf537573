"""From the queue's Stats to what the terminal shows of one schedule at one moment. Pure: no terminal, no clock, no queue.

The live view and the plain lines show the same ScheduleView.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from kubesweep.queue.model import HALTING, THROTTLE, Finding, Limits, Stats, Sweep, SweepState, describe_rate
from kubesweep_cli.shell import suspending
from kubesweep_cli.views import formatting

__all__ = ["SUSPENDED", "Meter", "ScheduleView", "Tone", "balance", "outcomes", "problems", "schedule_view"]

SUSPENDED = "suspended"  # what people read, of a schedule without a sweep
DAMAGED = "damaged"
Tone = str  # "calm", "good", "warn", "bad"

_TONES = {
    SweepState.PLANNING: "calm",
    SweepState.RUNNING: "calm",
    SweepState.COMPLETED: "good",
    SweepState.AWAITING_APPROVAL: "warn",
    SweepState.SUPERSEDED: "warn",
    SweepState.LOST: "bad",
    SweepState.HALTED: "bad",
    SweepState.FAILED: "bad",
}
_ENDED_EARLY = frozenset({SweepState.FAILED, SweepState.HALTED, SweepState.SUPERSEDED})


class Meter:
    """Rows per second over the last few seconds, from totals. A total that shrinks belongs to a new sweep."""

    WINDOW = 5.0  # seconds
    LEAST = 1.0

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def feed(self, at: float, total: int) -> float | None:
        """The rate after this reading; None while the readings span too little time. A rate of 0 needs a whole window."""
        seen = self._seen
        if seen and total < seen[-1][1]:
            seen.clear()
        seen.append((at, total))
        while len(seen) > 2 and seen[1][0] < at - self.WINDOW:
            seen.popleft()
        span = at - seen[0][0]
        gained = total - seen[0][1]
        if span < (self.LEAST if gained else self.WINDOW):
            return None
        return gained / span


@dataclass(frozen=True, slots=True)
class ScheduleView:
    name: str
    state: str  # "Running", "waiting", "suspended"
    tone: Tone
    planned: int = 0
    settled: int = 0
    planning: bool = False  # planned still grows: show no percentage and no time left
    active: bool = False
    rate: float | None = None
    left: float | None = None  # seconds
    outcomes: tuple[tuple[str, int], ...] = ()
    queue: str = ""
    next: str = ""
    notes: tuple[str, ...] = field(default=())  # warnings
    dry: bool = False  # DryRun: rows are planned only and get no outcome


def outcomes(sweep: Sweep) -> tuple[tuple[str, int], ...]:
    """All five outcomes, in the order of :func:`balance`."""
    return (
        ("applied", sweep.applied),
        ("skipped", sweep.skipped),
        ("unconfirmed", sweep.unconfirmed),
        ("retrying", sweep.retrying),
        ("dead", sweep.dead),
    )


def schedule_view(
    name: str,
    stats: Stats,
    *,
    now: float,
    speed: float | None = None,
    next_tick: float | None = None,
    time_zone: str = "",
    suspended: bool = False,
    clock: bool = True,
    ended: float | None = None,
    lost: bool = False,
) -> ScheduleView:
    """What to show at ``now``.

    ``clock`` is False where this process opens no ticks. ``time_zone`` is that of the schedule's cron. ``speed`` is in settled rows per second. ``lost``: the queue
    lost a sweep that was under way.
    """
    upcoming, queue, sweep = _next(now, next_tick, time_zone, suspended, clock), _queue(stats, now), stats.sweep
    if stats.damage:
        return ScheduleView(name, DAMAGED, "bad", queue="not readable", next=upcoming, notes=(stats.damage,))
    if lost or sweep is None:
        state = str(SweepState.LOST) if lost else SUSPENDED if suspended else "waiting"
        tone = _TONES[SweepState.LOST] if lost else "calm"
        return ScheduleView(name, state, tone, queue=queue, next=upcoming, notes=_finding_notes(stats, now))
    active, dry = not sweep.state.settled, sweep.mode == "DryRun"
    return ScheduleView(
        name,
        str(sweep.shown_state),
        "warn" if sweep.state is SweepState.COMPLETED and sweep.dead else _TONES[sweep.state],
        planned=sweep.planned,
        settled=sweep.settled_rows,
        planning=sweep.state is SweepState.PLANNING,
        active=active,
        rate=speed if active else _average(sweep, ended),
        left=_left(sweep, speed),
        outcomes=() if dry else outcomes(sweep),
        queue=queue,
        next=upcoming,
        notes=_notes(stats, sweep, now, speed),
        dry=dry,
    )


def _notes(stats: Stats, sweep: Sweep, now: float, speed: float | None) -> tuple[str, ...]:
    """Problems, the reason of the sweep, and what it waits for."""
    notes = explained = _finding_notes(stats, now)
    found = problems(stats)
    if suspending.suspended(stats):
        notes = (*notes, "suspended in the queue: no tick runs and no row is started")
    if sweep.message and (_runs(sweep) or all(each.message != sweep.message for each in found)):
        notes = (*notes, _reason(sweep))
    stalled = not sweep.state.settled and sweep.planned and speed == 0 and stats.running and sweep.mode != "DryRun"
    if (waits := _waits(stats)) is not None:
        return (*notes, waits)
    return (*notes, _stall(stats, now)) if stalled and not explained else notes


def _runs(sweep: Sweep) -> bool:
    return sweep.state in (SweepState.PLANNING, SweepState.RUNNING)


def _reason(sweep: Sweep) -> str:
    """Why the sweep ended or waits. While it runs, its message says why it will fail or halt at its end."""
    if not _runs(sweep):
        return sweep.message
    end = "halts" if sweep.reason in HALTING else "fails"
    unless = "" if sweep.reason == "TooManyFailedRows" else " unless a row is applied"
    return f"{sweep.message}. The sweep continues with its other rows and {end} at its end{unless}"


def _left(sweep: Sweep, speed: float | None) -> float | None:
    if sweep.state is not SweepState.RUNNING or not speed:
        return None
    return max(0, sweep.planned - sweep.settled_rows) / speed


def _average(sweep: Sweep, ended: float | None) -> float | None:
    finished = sweep.finished or ended
    if not finished or finished <= sweep.started or not sweep.settled_rows:
        return None
    return sweep.settled_rows / (finished - sweep.started)


def _next(now: float, next_tick: float | None, time_zone: str, suspended: bool, clock: bool) -> str:
    if suspended:
        return f"{SUSPENDED}: no ticks"
    if not clock:
        return ""
    if next_tick is None:
        return "no further tick"
    return f"next tick {formatting.tick_time(next_tick, time_zone)}, in {formatting.duration(next_tick - now)}"


def _queue(stats: Stats, now: float) -> str:
    numbers = ((stats.queued, "ready"), (stats.running, "running"), (stats.delayed, "waiting to retry"))
    parts = [f"{formatting.count(number)} {what}" for number, what in numbers if number]
    if stats.queued and stats.oldest_ready is not None and now - stats.oldest_ready >= 1:
        parts.append(f"oldest {formatting.duration(now - stats.oldest_ready)}")
    if stats.pace is not None and stats.pace.throttle:
        parts.append(f"throttled: {describe_rate(stats.pace.rate)}")
    elif stats.paused and not suspending.suspended(stats):
        parts.append("paused")
    return " · ".join(parts)


def _stall(stats: Stats, now: float) -> str:
    """A worker extends its leases after a third of their time, so a lease that is half over has lost its worker."""
    jobs = "1 job is" if stats.running == 1 else f"{formatting.count(stats.running)} jobs are"
    still = f"no row for {Meter.WINDOW:.0f} s, {jobs} running"
    left = Limits().lease if stats.first_lease is None else stats.first_lease - now
    if left < Limits().lease / 2:
        return f"{still}: jobs of a killed worker are delivered again in {formatting.duration(left)}"
    return f"{still}: a statement or an effect takes long"


def _waits(stats: Stats) -> str | None:
    """Why a sweep is not planned yet: jobs of earlier sweeps are still running."""
    sweep = stats.sweep
    if sweep is None or sweep.state is not SweepState.PLANNING or sweep.cutoff is not None:
        return None
    jobs = sum(one.open_jobs for one in stats.history if one.state.settled)
    if not jobs:
        return None
    what = "1 job" if jobs == 1 else f"{formatting.count(jobs)} jobs"
    return (
        f"starts when {what} of the previous sweep {'ends' if jobs == 1 else 'end'}, "
        f"or {formatting.duration(Limits().lease)} after their worker was killed"
    )


def problems(stats: Stats) -> tuple[Finding, ...]:
    """Problems that workers reported. A sweep that completed after a report outdates it."""
    sweeps = (stats.sweep, *stats.history) if stats.sweep is not None else ()
    ends = [one.finished for one in sweeps if one.state is SweepState.COMPLETED and one.finished is not None]
    latest = max(ends, default=0.0)
    return tuple(
        each
        for each in stats.findings
        if not each.ok and each.kind != THROTTLE and (each.at >= latest or each.kind == "SourceWarnings")
    )


def _finding_notes(stats: Stats, now: float) -> tuple[str, ...]:
    throttled = stats.throttled(now)
    notes = tuple(f"{finding.reason}: {finding.message}" for finding in problems(stats))
    return notes if throttled is None else (*notes, throttled.message)


def balance(sweeps: Sequence[Sweep]) -> str:
    """The totals as one equation: ``140,000 planned = 139,993 applied + 0 skipped + ... + 7 dead``.

    ``not reached`` are rows of sweeps that ended early. Not for DryRun, whose rows have no outcome.
    """
    planned = sum(sweep.planned for sweep in sweeps)
    sums: dict[str, int] = {}
    for sweep in sweeps:
        for name, number in outcomes(sweep):
            sums[name] = sums.get(name, 0) + number
    if left := sum(one.planned - one.settled_rows for one in sweeps if one.state in _ENDED_EARLY):
        sums["not reached"] = left
    right = " + ".join(f"{formatting.count(number)} {name}" for name, number in sums.items())
    total = sum(sums.values())
    sign = "=" if planned == total else f"≠ {formatting.count(total)} ="
    return f"{formatting.count(planned)} planned {sign} {right}"
