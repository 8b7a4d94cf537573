"""From the queue's Stats to what a person sees of a schedule at one moment. Pure: no terminal, no clock, no queue.

The live view and the plain lines show the same glance, so both are right or wrong together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from kubesweep.queue.model import HALTING, Finding, Limits, Stats, Sweep, SweepState
from kubesweep_cli.views import formatting

__all__ = ["Glance", "Meter", "Tone", "balance", "glance", "outcomes", "troubles"]

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
    """Rows per second over the last few seconds. Fed with a total; a total that shrinks is a new sweep."""

    WINDOW = 5.0
    LEAST = 1.0

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def feed(self, at: float, total: int) -> float | None:
        """The rate after this reading, None while there is too little to tell; that nothing happens takes a window to tell."""
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
class Glance:
    name: str
    state: str  # "Running", "waiting", "suspended"
    tone: Tone
    planned: int = 0
    settled: int = 0
    planning: bool = False  # planned still grows: no share, no time left
    active: bool = False
    rate: float | None = None
    left: float | None = None  # seconds
    outcomes: tuple[tuple[str, int], ...] = ()
    queue: str = ""
    next: str = ""
    notes: tuple[str, ...] = field(default=())  # sentences that want to be read
    dry: bool = False  # DryRun: planned rows are all that there is, none of them gets an outcome


def outcomes(sweep: Sweep) -> tuple[tuple[str, int], ...]:
    """Always all five, in the order of the equation."""
    return (
        ("applied", sweep.applied),
        ("skipped", sweep.skipped),
        ("unconfirmed", sweep.unconfirmed),
        ("retrying", sweep.retrying),
        ("dead", sweep.dead),
    )


def glance(
    name: str,
    stats: Stats,
    *,
    now: float,
    speed: float | None = None,
    next_tick: float | None = None,
    suspended: bool = False,
    clock: bool = True,
    ended: float | None = None,
    lost: bool = False,
) -> Glance:
    """What to show now. ``clock`` is False where this process does not tick; ``speed`` is of settled rows; ``lost`` says
    that the queue forgot a sweep that was running."""
    upcoming = _next(now, next_tick, suspended, clock)
    queue = _queue(stats, now)
    notes = _findings(stats)
    sweep = stats.sweep
    if lost:
        return Glance(name, str(SweepState.LOST), _TONES[SweepState.LOST], queue=queue, next=upcoming, notes=notes)
    if sweep is None:
        state = "suspended" if suspended else "waiting"
        return Glance(name, state, "calm", queue=queue, next=upcoming, notes=notes)
    active = not sweep.state.settled
    left = None
    if sweep.state is SweepState.RUNNING and speed:
        left = max(0, sweep.planned - sweep.settled_rows) / speed
    dry = sweep.mode == "DryRun"
    why = _reason(sweep)
    if why and not any(note.endswith(why) for note in notes):  # a finding may have said it
        notes = (*notes, why)
    if (waits := _waits(stats)) is not None:
        notes = (*notes, waits)
    elif active and sweep.planned and speed == 0 and stats.running and not dry and not troubles(stats):
        notes = (*notes, _stall(stats, now))
    return Glance(
        name,
        str(sweep.state),
        "warn" if sweep.state is SweepState.COMPLETED and sweep.dead else _TONES[sweep.state],
        planned=sweep.planned,
        settled=sweep.settled_rows,
        planning=sweep.state is SweepState.PLANNING,
        active=active,
        rate=speed if active else _average(sweep, ended),
        left=left,
        outcomes=() if dry else outcomes(sweep),
        queue=queue,
        next=upcoming,
        notes=notes,
        dry=dry,
    )


def _reason(sweep: Sweep) -> str:
    """Why the sweep ended or waits. A sweep without an effect has the reason of its end while it still runs."""
    if not sweep.message or sweep.state not in (SweepState.PLANNING, SweepState.RUNNING):
        return sweep.message
    end = "halts" if sweep.reason in HALTING else "fails"
    unless = "" if sweep.reason == "TooManyFailedRows" else " unless a row is applied"
    return f"{sweep.message}. The sweep goes on with its other rows and {end} at its end{unless}"


def _average(sweep: Sweep, ended: float | None) -> float | None:
    finished = sweep.finished or ended
    if not finished or finished <= sweep.started or not sweep.settled_rows:
        return None
    return sweep.settled_rows / (finished - sweep.started)


def _next(now: float, next_tick: float | None, suspended: bool, clock: bool) -> str:
    if suspended:
        return "suspended: not ticked"
    if not clock:
        return ""
    if next_tick is None:
        return "no further tick"
    return f"next tick {formatting.clock_time(next_tick, now)}, in {formatting.duration(next_tick - now)}"


def _queue(stats: Stats, now: float) -> str:
    numbers = ((stats.ready, "ready"), (stats.running, "running"), (stats.delayed, "waiting to retry"))
    parts = [f"{formatting.count(number)} {what}" for number, what in numbers if number]
    if stats.oldest_ready is not None and now - stats.oldest_ready >= 1:
        parts.append(f"oldest {formatting.duration(now - stats.oldest_ready)}")
    if stats.paused:
        parts.append("paused")
    return " · ".join(parts)


def _stall(stats: Stats, now: float) -> str:
    """A worker extends its leases every third of one: a lease that is half over has lost its worker."""
    jobs = "1 job is" if stats.running == 1 else f"{formatting.count(stats.running)} jobs are"
    still = f"no row for {Meter.WINDOW:.0f} s, {jobs} in hand"
    left = Limits().lease if stats.first_lease is None else stats.first_lease - now
    if left < Limits().lease / 2:
        return f"{still}: what a killed worker held comes again in {formatting.duration(left)}"
    return f"{still}: a statement or an effect takes long"


def _waits(stats: Stats) -> str | None:
    """A sweep that is not planned yet, because jobs of the sweeps before it are in somebody's hands."""
    sweep = stats.sweep
    if sweep is None or sweep.state is not SweepState.PLANNING or sweep.cutoff is not None:
        return None
    jobs = sum(one.open_jobs for one in stats.history if one.state.settled)
    if not jobs:
        return None
    what = "1 job" if jobs == 1 else f"{formatting.count(jobs)} jobs"
    return f"begins when {what} of the sweep before it ended, or {formatting.duration(Limits().lease)} after their worker was killed"


def troubles(stats: Stats) -> tuple[Finding, ...]:
    """What workers complained of, without what a sweep that completed later refutes."""
    sweeps = (stats.sweep, *stats.history) if stats.sweep is not None else ()
    ends = [one.finished for one in sweeps if one.state is SweepState.COMPLETED and one.finished is not None]
    latest = max(ends, default=0.0)
    return tuple(
        each for each in stats.findings if not each.ok and (each.at >= latest or each.kind == "SourceWarnings")
    )


def _findings(stats: Stats) -> tuple[str, ...]:
    return tuple(f"{finding.reason}: {finding.message}" for finding in troubles(stats))


def balance(sweeps: Sequence[Sweep]) -> str:
    """The law of the table as one line: ``140,000 planned = 139,993 applied + 0 skipped + ... + 7 dead``.

    Rows of a sweep that was ended early are ``not reached``. Not for DryRun, whose rows have no outcome.
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
