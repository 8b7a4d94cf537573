"""Which sweeps await approval, and the sentence that says why. Pure.

A bound says how many stale rows a sweep may have. The sweep awaits approval where it has more than the bound that is lowest, and
its message names each bound that it exceeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from kubesweep.api.plan import RowLimits
from kubesweep.quantities import count, rows
from kubesweep.queue.model import Baseline, Sweep, SweepState

MIN_SWEEPS = 3  # completed sweeps from which their median says something
LEAST_MEDIAN = 100  # rows; otherwise a schedule that mostly finds a few rows would await approval again and again

ABOVE_ROWS, ABOVE_SHARE, ABOVE_MEDIAN = "AboveApprovalLimit", "AboveApprovalShare", "AboveApprovalMedian"
SIZE_UNKNOWN = "TableSizeUnknown"
PREDICATE_CHANGED, OTHER_DATABASE, BASELINE_UNKNOWN = "PredicateChanged", "OtherDatabase", "BaselineUnknown"


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a sweep awaits approval."""

    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class Bound:
    """``most``: stale rows that a sweep may have. ``limit``: the number in the spec. ``whole``: the rows that it is compared with."""

    reason: str
    most: int
    limit: int
    whole: int = 0
    sweeps: int = 0  # of which the median was taken

    def exceeded(self, stale: int) -> Cause:
        match self.reason:
            case "AboveApprovalLimit":
                text = f"more than {count(self.limit)} (limits.approveAbove.rows)"
            case "AboveApprovalShare":
                share = round(100 * stale / self.whole) if self.whole else 100
                shown = share if share > self.limit else f"more than {self.limit}"
                text = f"{shown} % of the table (limits.approveAbove.share: {self.limit} %)"
            case "AboveApprovalMedian":
                times = stale // max(self.whole, LEAST_MEDIAN)
                shown = count(times) if times > self.limit else f"more than {self.limit}"
                of = rows(self.whole) + (f", which counts as {LEAST_MEDIAN}" if self.whole < LEAST_MEDIAN else "")
                text = (
                    f"{shown} times the median of the last {self.sweeps} sweeps ({of}; "
                    f"limits.approveAbove.timesMedian: {self.limit})"
                )
            case _:
                text = (
                    f"which share of the table (limits.approveAbove.share: {self.limit} %) is unknown: ANALYZE the table, "
                    "or raise source.statementTimeout"
                )
        return Cause(self.reason, text)


def bounds_of(limits: RowLimits, table_rows: int | None, found: Sequence[int]) -> tuple[Bound, ...]:
    """``table_rows``: of the whole table, None where that is unknown. ``found``: what :func:`rows_found` returns."""
    bounds = []
    if (most := limits.approve_above_rows) is not None:
        bounds.append(Bound(ABOVE_ROWS, most, most))
    if (share := limits.approve_above_share) is not None:
        if table_rows is None:
            bounds.append(Bound(SIZE_UNKNOWN, 0, share))
        else:
            bounds.append(Bound(ABOVE_SHARE, table_rows * share // 100, share, table_rows))
    if (times := limits.approve_above_times_median) is not None and len(found) >= MIN_SWEEPS:
        middle = int(median(found))
        bounds.append(Bound(ABOVE_MEDIAN, times * max(middle, LEAST_MEDIAN), times, middle, len(found)))
    return tuple(bounds)


def rows_found(history: Sequence[Sweep], since: float) -> list[int]:
    """The stale rows that each completed sweep found which started at ``since`` or later. A capped one planned only a part of them."""
    return [
        max(past.planned, 0 if past.stale is None or past.estimated else past.stale)
        for past in history
        if past.state is SweepState.COMPLETED and past.mode == "Enforce" and past.started >= since
    ]


def changes(now: Baseline, earlier: Baseline) -> list[Cause]:
    """Causes that lie in what the sweep is made of, not in its rows."""
    causes = []
    if now.database.name != earlier.database.name:
        text = f"this is not the database of the last sweep: it is {now.database.name}, and that was {earlier.database.name}"
        causes.append(Cause(OTHER_DATABASE, text))
    if changed := now.changes(earlier):
        verb = "differs" if len(changed) == 1 else "differ"
        causes.append(Cause(PREDICATE_CHANGED, f"{' and '.join(changed)} {verb} from the last sweep's"))
    return causes


def sentence(causes: Sequence[Cause], exceeded: Sequence[Cause], stale: int, *, exact: bool, excluded: int = 0) -> str:
    """Everything that a person must know to decide. ``exact`` False: there are at least ``stale`` rows. ``excluded``: rows in retry or
    dead, for which a sweep without stale rows awaits approval."""
    many = rows(stale) if exact else f"at least {rows(stale)}"
    rows_text = f"{many} {'is' if stale == 1 else 'are'} stale"
    if exceeded:
        rows_text += f": {', '.join(each.text for each in exceeded)}"
    if excluded and not stale:
        rows_text += f", and {rows(excluded)} {'is' if excluded == 1 else 'are'} in retry or dead"
    return f"{'; '.join([*(each.text for each in causes), rows_text])}. Nothing was changed"
