"""How fast rows become stale and are finished, from the sweeps that the queue remembers. Pure.

What always holds:

- A sweep that Completed below its cap left nothing behind. Other sweeps left what they found and did not settle.
- Inflow: the rows that a sweep found and the sweep before had not left became stale between the two cutoffs. A burst is no rate.
- Outflow: the rows that were finished, divided by the time in which there were rows to sweep. That is the time that a sweep ran, or
  until the next sweep where it left rows behind, without the time in which the schedule was paused. Rows in retry count as
  finished: they end by themselves.
- An estimate of a sweep that ended is in no rate: two estimates differ by less than the rows that were swept in between.

All times are seconds since the epoch, all rates are rows a second. Lists of sweeps are of one plan, newest first.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

from kubesweep.queue.model import Stats, Sweep, SweepState

__all__ = [
    "MIN_SWEEPS",
    "STARTING",
    "begun_at",
    "cutoff_of",
    "found_rows",
    "inflow_of",
    "left_nothing",
    "outflow_of",
    "points_of",
]

MIN_SWEEPS = 3  # whose cutoffs and rows are known, for a rate
STARTING = 60.0  # seconds of a sweep that say nothing about its rate: pods start, and its first rows are not finished
SHORTEST = 0.1  # seconds that sweeps took together, at least: a clock may not show them
BURST = 5.0  # times the inflow of all other intervals


def inflow_of(sweeps: list[Sweep], outflow: float | None) -> float | None:
    """Between the first and the last sweep whose rows are known, less a burst that alone exceeds the outflow."""
    intervals = _intervals(sweeps)
    if len(intervals) < MIN_SWEEPS - 1:
        return None
    rows, seconds = sum(rows for rows, _ in intervals), sum(seconds for _, seconds in intervals)
    if seconds <= 0:
        return None
    inflow = max(0, rows) / seconds
    if outflow is None or inflow < outflow:
        return inflow
    most, length = max(intervals, key=lambda each: each[0] / max(each[1], SHORTEST))
    if length >= seconds:  # a clock was set back
        return inflow
    others = max(0, rows - most) / (seconds - length)
    return others if most / max(length, SHORTEST) > BURST * others else inflow


def outflow_of(stats: Stats, sweeps: list[Sweep], now: float) -> float | None:
    """Without the sweep that took longest, if it ended and was slower than the others: it met an outage."""
    ran = list[tuple[float, int, bool]]()  # seconds, rows, whether it ended
    for place, sweep in enumerate(sweeps):
        moment = stats.paused_since if stats.paused else now
        until = _swept_until(sweep, sweeps[place - 1] if place else None, moment)
        if until is not None:
            seconds = stats.unpaused_seconds(begun_at(sweep), until)
            ran.append((seconds, sweep.settled_rows, sweep.state.settled))
    finished, total = sum(rows for _, rows, _ in ran), sum(seconds for seconds, _, _ in ran)
    if finished <= 0 and total < STARTING:
        return None
    rate = finished / max(total, SHORTEST)
    longest, rows, ended = max(ran)
    if not ended or len(ran) < MIN_SWEEPS:
        return rate
    return max(rate, (finished - rows) / max(total - longest, SHORTEST))


def left_nothing(sweep: Sweep) -> bool:
    return sweep.state is SweepState.COMPLETED and not sweep.capped and sweep.mode == "Enforce"


def found_rows(sweep: Sweep) -> int | None:
    """The rows that were stale when it began: exact once it is planned to the end, before that as its plan steps estimated."""
    if _exact(sweep):
        return sweep.planned
    return None if sweep.stale is None else max(sweep.planned, sweep.stale)


def begun_at(sweep: Sweep) -> float:
    """Until its approval it ran nothing."""
    return max(sweep.started, sweep.approved or 0.0)


def cutoff_of(sweep: Sweep) -> float | None:
    """The database's own text; other programs may write to the queue."""
    try:
        moment = datetime.fromisoformat(sweep.cutoff or "")
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def points_of(sweeps: list[Sweep]) -> list[tuple[int, float, int]]:
    """Position, cutoff and stale rows of each sweep where both are known. An estimate serves while its sweep runs."""
    found = ((place, cutoff_of(sweep), found_rows(sweep), sweep) for place, sweep in enumerate(sweeps))
    return [
        (place, at, rows)
        for place, at, rows, sweep in found
        if at is not None and rows is not None and not (sweep.estimated and sweep.state.settled and not _exact(sweep))
    ]


def _intervals(sweeps: list[Sweep]) -> list[tuple[int, float]]:
    """The rows that became stale from one sweep whose rows are known to the next, and the seconds. What sweeps in between found needs not
    be known: each row that was settled had become stale."""
    intervals = []
    for (newer, until, last), (older, since, first) in pairwise(points_of(sweeps)):
        settled = sum(sweep.settled_rows for sweep in sweeps[newer + 1 : older + 1])
        intervals.append((last - first + settled, until - since))
    return intervals


def _exact(sweep: Sweep) -> bool:
    """Whether it planned all that was stale."""
    return not sweep.capped and sweep.state in (SweepState.RUNNING, SweepState.COMPLETED)


def _swept_until(sweep: Sweep, newer: Sweep | None, now: float | None) -> float | None:
    """The end of the time in which there were rows to sweep; None: it is not over, and nothing is being swept."""
    if left_nothing(sweep):
        return sweep.finished
    if sweep.state is SweepState.AWAITING_APPROVAL:
        return None
    if not sweep.state.settled:
        return now
    return None if newer is None else newer.started
