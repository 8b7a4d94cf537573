"""Does the sweep keep up? The backlog of a schedule, and how fast it grows and shrinks, from the sweeps in the queue. Pure.

The rates are of :mod:`.sweep_rates`: averages over the remembered sweeps of one plan. An edit that changes the plan starts them again.

All times are seconds since the epoch, all rates are rows a second.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import takewhile
from typing import Any

from kubesweep.queue.model import ACTIVE_SESSIONS, Stats, Sweep, SweepState
from kubesweep.sweep_rates import (
    MIN_SWEEPS,
    STARTING,
    begun_at,
    cutoff_of,
    found_rows,
    inflow_of,
    left_nothing,
    outflow_of,
    points_of,
)
from kubesweep.timestamps import LAST

__all__ = ["Backlog", "KeepingUp", "Rating", "backlog_of", "keeping_up", "per_hour"]

MARGIN = 1.05  # by which the outflow exceeds the inflow before a schedule that fell behind keeps up again
DIGITS = 2  # of a rate: the others change all the time
MOST = 2**53  # the largest number of a status


@dataclass(frozen=True, slots=True)
class Backlog:
    """None: unknown. The rates are of the whole schedule, not of one worker."""

    rows: int | None  # stale rows that are not finished, as far as the latest sweep found them
    oldest: float | None  # when the oldest of them became stale
    inflow: float | None
    outflow: float | None
    empty: float | None  # when no row is left, if the rates stay; infinity: never

    def fields(self, text: Callable[[float], str]) -> dict[str, Any]:
        """The known fields of ``status.backlog`` but ``observedTime``. ``text`` writes a time in whole seconds."""
        times = {"oldestTime": self.oldest, "emptyTime": None if self.empty == math.inf else self.empty}
        rates = {"inflowPerHour": self.inflow, "outflowPerHour": self.outflow}
        fields = {
            "rows": self.rows,
            **{name: None if time is None else text(int(time)) for name, time in times.items()},
            **{name: None if rate is None else per_hour(rate) for name, rate in rates.items()},
        }
        return {name: value for name, value in fields.items() if value is not None}


class Rating(StrEnum):
    """Why a schedule keeps up, does not, or why that is unknown."""

    KEEPING_UP = "KeepingUp"
    FALLING_BEHIND = "FallingBehind"
    NOT_ENOUGH_SWEEPS = "NotEnoughSweeps"
    STALE_ROWS_UNKNOWN = "StaleRowsUnknown"
    AWAITING_APPROVAL = "AwaitingApproval"
    SUSPENDED = "Suspended"
    DRY_RUN = "DryRun"


@dataclass(frozen=True, slots=True)
class KeepingUp:
    """``status``: True, False, or None where it is unknown."""

    status: bool | None
    reason: Rating
    message: str


def backlog_of(stats: Stats, now: float) -> Backlog | None:
    """The backlog as of the latest sweep; None where there was none."""
    sweeps = _comparable(stats)
    if not sweeps:
        return None
    rated = _rated(stats, sweeps, now)
    outflow = outflow_of(stats, rated, now)
    found = Backlog(_rows(stats, sweeps), _oldest(sweeps), inflow_of(rated, outflow), outflow, None)
    return replace(found, empty=_empty(stats, sweeps, found, now))


def keeping_up(stats: Stats, found: Backlog | None, now: float, *, was_behind: bool = False) -> KeepingUp:
    """Whether the schedule keeps up, by the backlog that was ``found``. ``was_behind``: the answer before was False, so that close
    rates do not alternate it."""
    if found is None:
        return KeepingUp(None, Rating.NOT_ENOUGH_SWEEPS, "no sweep has run yet")
    sweeps = _comparable(stats)
    note = _oldest_unknown(sweeps)
    if (why := _unknown(stats, sweeps, found, now)) is not None:
        return KeepingUp(None, why[0], why[1] + note)
    inflow, outflow = found.inflow or 0.0, found.outflow or 0.0
    rates = (
        f"about {per_hour(inflow):,} rows an hour become stale, and about {per_hour(outflow):,} an hour are finished"
    )
    behind = _never(stats, found)
    if not behind and not (was_behind and outflow < MARGIN * inflow):
        return KeepingUp(True, Rating.KEEPING_UP, f"{rates} while there are any{note}")
    left = "" if found.rows is None else f" of {found.rows:,} rows"
    message = f"at these rates the backlog{left} never empties: {rates}. {_advice(stats, sweeps, outflow, now)}{note}"
    return KeepingUp(False, Rating.FALLING_BEHIND, message)


def per_hour(rate: float) -> int:
    """Rows an hour, to two digits."""
    rows = min(MOST, rate * 3600)
    return int(round(rows, min(0, DIGITS - len(str(int(rows))))))


def _comparable(stats: Stats) -> list[Sweep]:
    """The latest sweep and those before it of the same plan and mode, newest first."""
    latest = stats.sweep
    if latest is None:
        return []
    return list(takewhile(lambda sweep: sweep.mode == latest.mode and sweep.plan.same(latest.plan), stats.sweeps))


def _planned(sweeps: list[Sweep]) -> list[Sweep]:
    """Without a latest sweep that no worker has begun to plan: what the one before left is still what is known."""
    begun = sweeps[0].state.settled or sweeps[0].cutoff is not None or sweeps[0].stale is not None
    return sweeps if begun else sweeps[1:] or sweeps


def _rated(stats: Stats, sweeps: list[Sweep], now: float) -> list[Sweep]:
    """Without a latest sweep that has only begun. Otherwise each burst would seem to be too much until its first rows are finished."""
    begins = not sweeps[0].state.settled and stats.unpaused_seconds(begun_at(sweeps[0]), now) < STARTING
    return sweeps[1:] if begins else sweeps


def _rows(stats: Stats, sweeps: list[Sweep]) -> int | None:
    """Rows in retry are not finished either. Dead letters are: only a person retries them."""
    sweep, retrying = _planned(sweeps)[0], _retrying(stats)
    if left_nothing(sweep):
        return retrying
    found = found_rows(sweep)
    return None if found is None else min(MOST, max(0, found - sweep.settled_rows) + retrying)


def _retrying(stats: Stats) -> int:
    return max(0, stats.excluded - stats.dead)


def _oldest(sweeps: list[Sweep]) -> float | None:
    """As the latest plan step that searched for it saw it. None after a sweep that left nothing."""
    for sweep in _planned(sweeps):
        if left_nothing(sweep):
            return None
        if sweep.oldest is not None or sweep.oldest_unknown:
            return sweep.oldest
    return None


def _never(stats: Stats, found: Backlog) -> bool:
    """Whether the backlog never empties at these rates. Rows in retry end without a sweep."""
    if found.inflow is None or found.outflow is None or found.outflow > found.inflow:
        return False
    return bool(found.inflow or (found.rows or 0) > _retrying(stats))


def _empty(stats: Stats, sweeps: list[Sweep], found: Backlog, now: float) -> float | None:
    sweep = _planned(sweeps)[0]
    if found.inflow is None or found.outflow is None or sweep.mode != "Enforce":
        return None
    if _never(stats, found):
        return None if _unknown(stats, sweeps, found, now) else math.inf
    if found.rows == 0:
        return sweep.finished
    since = sweep.finished if sweep.state.settled else None if stats.paused else now
    if found.rows is None or since is None or found.outflow <= found.inflow:
        return None
    return min(LAST, _rounded(since, found.rows / (found.outflow - found.inflow)))


def _rounded(since: float, seconds: float) -> float:
    """That time, rounded up to about a tenth of the ``seconds`` until then, so that it changes rarely."""
    step = 2.0 ** max(0, math.floor(math.log2(max(seconds, 1.0) / 8)))
    return math.ceil((since + seconds) / step) * step


def _unknown(stats: Stats, sweeps: list[Sweep], found: Backlog, now: float) -> tuple[Rating, str] | None:
    """Why it is unknown whether the schedule keeps up."""
    if sweeps[0].mode != "Enforce":
        return Rating.DRY_RUN, "a dry run finishes no row"
    if stats.paused:
        return Rating.SUSPENDED, "no row is started while the schedule is suspended or its rate is 0"
    if sweeps[0].state is SweepState.AWAITING_APPROVAL:
        return Rating.AWAITING_APPROVAL, "the sweep continues after its approval"
    rated = _rated(stats, sweeps, now)
    known, began = len(points_of(rated)), sum(cutoff_of(each) is not None for each in rated)
    if known < MIN_SWEEPS <= began:
        return Rating.STALE_ROWS_UNKNOWN, "sweeps left rows behind, and how many was not counted"
    if found.inflow is None:
        return Rating.NOT_ENOUGH_SWEEPS, f"rates need {MIN_SWEEPS} sweeps of this version of the spec, so far: {known}"
    if found.outflow is None and found.inflow:
        return Rating.NOT_ENOUGH_SWEEPS, "no sweep of this version of the spec has finished a row yet"
    return None


def _oldest_unknown(sweeps: list[Sweep]) -> str:
    """A sentence about the age that the latest plan step did not find out."""
    why = _planned(sweeps)[0].oldest_unknown
    return f". The age of the oldest stale row is unknown: {why}" if why else ""


def _advice(stats: Stats, sweeps: list[Sweep], outflow: float, now: float) -> str:
    """What to change, by what limits the sweeps most directly."""
    pace, slow = stats.pace, stats.throttled(now)
    ended = next((each for each in sweeps if each.state.settled), None)
    if ended is not None and ended.state in (SweepState.FAILED, SweepState.HALTED):
        return "The latest sweep did not complete: correct what it reports"
    if pace is not None and pace.throttle:
        return "The annotation kubesweep.dev/throttle sets the rate: raise or remove it"
    if slow is not None and slow.reason == ACTIVE_SESSIONS:
        return f"It yields to other sessions of the database ({slow.reason}): raise worker.maxReplicas, or name the limits of source.health without auto"
    if slow is not None:
        return f"The database's health slows the sweep down ({slow.reason}): relieve it, or raise the limit in source.health"
    if ended is not None and ended.capped:
        return "Sweeps end at their cap: raise limits.maxRowsPerSweep, or let the schedule tick more often"
    if pace is not None and pace.rate and outflow > 0.8 * pace.rate:
        return f"Sweeps run at limits.rowsPerSecond ({pace.rate:g}): raise it"
    return "Raise worker.maxReplicas, or what limits one worker: worker.concurrency, effect.concurrency or the receiver"
