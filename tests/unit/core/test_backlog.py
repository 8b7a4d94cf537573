"""The arithmetic of the backlog: on sweeps that are written down, and on simulated ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesweep import backlog as module
from kubesweep.backlog import Backlog, KeepingUp, Rating, backlog_of, per_hour
from kubesweep.queue.model import Pace, Pause, PlanVersion, Stats, Sweep, SweepState

PLAN = PlanVersion(1, "aaaa")
START = 1_800_000_000.0
HOUR = 3600.0


def keeping_up(stats: Stats, now: float, **options: bool) -> KeepingUp:
    return module.keeping_up(stats, backlog_of(stats, now), now, **options)


def text(moment: float) -> str:
    """As PostgreSQL writes a cutoff."""
    return datetime.fromtimestamp(moment, UTC).isoformat(sep=" ").removesuffix(":00")


def a_sweep(number: int, at: float, rows: int, took: float = 10.0, **fields: Any) -> Sweep:
    """One that Completed, unless ``fields`` say otherwise."""
    usual = {"state": SweepState.COMPLETED, "planned": rows, "applied": rows, "finished": at + took}
    return Sweep(id=f"s{number}", tick=at, plan=PLAN, started=at, cutoff=text(at), **{**usual, **fields})


def stats_of(sweeps: Sequence[Sweep], **fields: Any) -> Stats:
    """``sweeps``: the latest last."""
    newest = list(reversed(sweeps))
    return Stats(known=True, sweep=newest[0], history=tuple(newest[1:]), **fields)


def backlog(sweeps: Sequence[Sweep], now: float, **fields: Any) -> Backlog:
    found = backlog_of(stats_of(sweeps, **fields), now)
    assert found is not None
    return found


HOURLY = [a_sweep(n, START + n * HOUR, 100) for n in range(3)]
CAPPED = [
    a_sweep(n, START + n * HOUR, 100, capped=True, stale=stale, oldest=START - n)
    for n, stale in enumerate((300, 400, 500))
]


def test_a_schedule_without_a_sweep_has_no_backlog() -> None:
    assert backlog_of(Stats(known=True), START) is None
    assert keeping_up(Stats(known=True), START).reason is Rating.NOT_ENOUGH_SWEEPS


def test_sweeps_that_leave_nothing_found_what_became_stale_in_between() -> None:
    found = backlog(HOURLY, START + 2 * HOUR + 60)
    assert (found.rows, found.oldest, found.empty) == (0, None, HOURLY[-1].finished)
    assert found.inflow == pytest.approx(100 / HOUR)
    assert found.outflow == pytest.approx(100 / 10)
    assert keeping_up(stats_of(HOURLY), START + 2 * HOUR + 60).status is True


def test_a_cap_below_the_inflow_never_empties_the_backlog() -> None:
    """200 rows become stale in an hour, and each hour's sweep may plan 100."""
    found = backlog(CAPPED, START + 2 * HOUR + 60)
    assert (found.rows, found.oldest) == (400, START - 2)
    assert found.inflow == pytest.approx(200 / HOUR)
    assert found.outflow == pytest.approx(100 / HOUR)  # the rest waits for the next tick
    assert found.empty == math.inf
    rating = keeping_up(stats_of(CAPPED), START + 2 * HOUR + 60)
    assert (rating.status, rating.reason) == (False, Rating.FALLING_BEHIND)
    assert "the backlog of 400 rows never empties: about 200 rows an hour become stale, and about 100" in rating.message
    assert "limits.maxRowsPerSweep" in rating.message


def test_a_cap_above_the_inflow_empties_it_at_a_time_that_stays_until_the_next_sweep() -> None:
    sweeps = [a_sweep(n, START + n * HOUR, 300, capped=True, stale=s) for n, s in enumerate((1000, 800, 600))]
    early, late = (backlog(sweeps, START + 2 * HOUR + seconds) for seconds in (20, 3000))
    assert early == late
    assert early.rows == 300
    assert early.inflow == pytest.approx(100 / HOUR)
    ended = START + 2 * HOUR + 10
    assert early.empty is not None
    assert ended + 1.5 * HOUR <= early.empty <= ended + 1.5 * HOUR * 1.13


def test_sweeps_that_take_longer_than_their_rows_need_to_arrive_fall_behind_although_each_completes() -> None:
    sweeps, at, rows = [], START, 100
    for number in range(4):
        took = rows / 10
        sweeps.append(a_sweep(number, at, rows, took))
        at, rows = at + took, int(took * 15)
    rating = keeping_up(stats_of(sweeps), at)
    assert rating.status is False
    assert "worker.maxReplicas" in rating.message
    limited = keeping_up(stats_of(sweeps, pace=Pace.of(10.5)), at)
    assert "limits.rowsPerSecond (10.5)" in limited.message


def test_a_running_sweep_counts_by_what_it_found_and_how_long_it_runs() -> None:
    running = a_sweep(3, START + 3 * HOUR, 100, state=SweepState.RUNNING, applied=20, skipped=5, finished=None)
    found = backlog([*HOURLY, running], START + 3 * HOUR + 70, excluded=12, dead=2)
    assert found.rows == 75 + 10
    assert found.outflow == pytest.approx(325 / 100)


def test_the_first_minute_of_a_sweep_changes_no_rate() -> None:
    """A thousand rows at once, while pods start: that is no reason for an alarm yet."""
    more = a_sweep(3, START + 3 * HOUR, 1000, state=SweepState.RUNNING, applied=0, finished=None)
    first, later = (backlog([*HOURLY, more], START + 3 * HOUR + seconds) for seconds in (59, 61))
    before = backlog(HOURLY, START + 3 * HOUR)
    assert (first.rows, first.inflow, first.outflow) == (1000, before.inflow, before.outflow)
    assert later.inflow == pytest.approx(1200 / (3 * HOUR))


def test_while_windows_are_still_planned_the_estimate_counts() -> None:
    planning: dict[str, Any] = {"state": SweepState.PLANNING, "applied": 40, "finished": None}
    known = a_sweep(3, START + 3 * HOUR, 80, stale=5000, oldest=START, **planning)
    assert backlog([*HOURLY, known], START + 3 * HOUR + 10).rows == 4960
    assert backlog([*HOURLY, known], START + 3 * HOUR + 10).oldest == START
    unknown = msgspec.structs.replace(known, stale=None)
    assert backlog([*HOURLY, unknown], START + 3 * HOUR + 10).rows is None
    assert keeping_up(stats_of([*HOURLY, unknown]), START + 3 * HOUR + 10).status is True


def test_a_sweep_that_no_worker_has_begun_changes_nothing_yet() -> None:
    waiting = Sweep(id="w", tick=START + 3 * HOUR, plan=PLAN, started=START + 3 * HOUR)
    for sweeps in (HOURLY, CAPPED):
        before, after = (backlog(each, START + 3 * HOUR + 5) for each in (sweeps, [*sweeps, waiting]))
        assert (before.rows, before.oldest, before.inflow) == (after.rows, after.oldest, after.inflow)
        rates = [keeping_up(stats_of(each), START + 3 * HOUR + 5).status for each in (sweeps, [*sweeps, waiting])]
        assert rates[0] is rates[1]


def test_a_sweep_that_finishes_nothing_falls_behind_after_a_minute() -> None:
    """Rows that wait for a receiver that is down, for example."""
    empty = [a_sweep(n, START + n * HOUR, 0) for n in range(3)]
    stuck = a_sweep(3, START + 3 * HOUR, 100, state=SweepState.RUNNING, applied=0, finished=None)
    early, late = (keeping_up(stats_of([*empty, stuck]), START + 3 * HOUR + seconds) for seconds in (5, 70))
    assert (early.status, late.status) == (True, False)


def test_no_inflow_and_no_row_is_enough() -> None:
    empty = [a_sweep(n, START + n * HOUR, 0, 0.2) for n in range(3)]
    assert keeping_up(stats_of(empty), START + 3 * HOUR).status is True


@pytest.mark.parametrize(
    ("changes", "fields", "reason"),
    [
        ({"mode": "DryRun", "applied": 0}, {}, Rating.DRY_RUN),
        ({"state": SweepState.AWAITING_APPROVAL, "finished": None}, {}, Rating.AWAITING_APPROVAL),
        ({"state": SweepState.RUNNING, "finished": None}, {"paused": True}, Rating.SUSPENDED),
        ({"plan": PlanVersion(2, "bbbb")}, {}, Rating.NOT_ENOUGH_SWEEPS),
        ({}, {}, Rating.KEEPING_UP),
    ],
)
def test_why_it_is_unknown(changes: dict[str, Any], fields: dict[str, Any], reason: Rating) -> None:
    latest = msgspec.structs.replace(a_sweep(3, START + 3 * HOUR, 100), **changes)
    rating = keeping_up(stats_of([*HOURLY, latest], **fields), START + 3 * HOUR + 60)
    assert rating.reason is reason
    assert (rating.status is None) is (reason is not Rating.KEEPING_UP)


def test_capped_sweeps_of_an_older_worker_are_unknown() -> None:
    unknown = [msgspec.structs.replace(sweep, stale=None) for sweep in CAPPED]
    found = backlog(unknown, START + 3 * HOUR)
    assert (found.rows, found.inflow, found.empty) == (None, None, None)
    assert keeping_up(stats_of(unknown), START + 3 * HOUR).reason is Rating.STALE_ROWS_UNKNOWN


def test_a_backlog_that_is_not_counted_yet_may_be_known_never_to_be_empty() -> None:
    """An alert depends on it for half an hour, in which many sweeps are planned."""
    now = START + 3 * HOUR + 90
    begun = a_sweep(3, START + 3 * HOUR, 40, state=SweepState.PLANNING, applied=16, finished=None)
    found = backlog([*CAPPED, begun], now)
    assert (found.rows, found.empty) == (None, math.inf)
    assert keeping_up(stats_of([*CAPPED, begun]), now).status is False
    found = backlog([*HOURLY, begun], now)
    assert (found.rows, found.empty) == (None, None)


def test_while_paused_nothing_depends_on_the_time() -> None:
    running = a_sweep(3, START + 3 * HOUR, 100, state=SweepState.RUNNING, applied=20, finished=None)
    first, later = (backlog([*HOURLY, running], START + hours * HOUR, paused=True) for hours in (4, 400))
    assert first == later


def test_the_age_that_no_index_serves_is_explained_in_every_answer() -> None:
    why = 'finding it would read all of "public"."carts": CREATE INDEX'
    for sweeps in (HOURLY[:1], HOURLY, CAPPED):
        latest = msgspec.structs.replace(sweeps[-1], oldest=None, oldest_unknown=why)
        rating = keeping_up(stats_of([*sweeps[:-1], latest]), START + 3 * HOUR)
        assert f"The age of the oldest stale row is unknown: {why}" in rating.message
        waiting = Sweep(id="w", tick=START + 3 * HOUR, plan=PLAN, started=START + 3 * HOUR)
        assert keeping_up(stats_of([*sweeps[:-1], latest, waiting]), START + 3 * HOUR).message == rating.message


def test_close_rates_do_not_alternate_the_answer() -> None:
    """201 rows arrive in an hour in which 205 are finished."""
    sweeps = [a_sweep(n, START + n * HOUR, 205, capped=True, stale=s) for n, s in enumerate((1000, 996, 992))]
    stats, now = stats_of(sweeps), START + 2 * HOUR + 60
    assert keeping_up(stats, now).status is True
    assert keeping_up(stats, now, was_behind=True).status is False


def test_rates_have_two_digits() -> None:
    assert [per_hour(rows / HOUR) for rows in (0, 0.4, 7, 12, 123, 98_765, 1_234_567)] == [
        0, 0, 7, 12, 120, 99_000, 1_200_000,
    ]  # fmt: skip


# Hypothesis: a table to which rows arrive, and sweeps that finish some of them.

arrivals = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 10_000)), min_size=3, max_size=11)


@given(arrivals, st.floats(1.0, 1e6))
def test_the_inflow_is_what_arrived_between_the_first_and_the_last_cutoff(
    ticks: list[tuple[int, int]], period: float
) -> None:
    sweeps, left, arrived = [], 0, 0
    for number, (new, most) in enumerate(ticks):
        left += new
        arrived += new if number else 0
        done = min(left, most)
        capped = done < left
        at = START + number * period
        sweeps.append(a_sweep(number, at, done, period / 2, capped=capped, stale=left if capped else None))
        left -= done
    found = backlog(sweeps, START + len(ticks) * period)
    assert found.rows == left
    average = arrived / (period * (len(ticks) - 1))
    assert found.inflow is not None
    if found.inflow != pytest.approx(average, rel=1e-3):  # without its burst
        assert found.outflow is not None
        assert found.inflow < average
        assert average >= found.outflow * 0.999
    if found.inflow is not None and found.outflow is not None:
        behind = found.outflow <= found.inflow and bool(found.inflow or left)
        assert (found.empty == math.inf) is behind
        assert (keeping_up(stats_of(sweeps), START + len(ticks) * period).status is False) is behind


numbers = st.integers(0, 2**53)
moments = st.floats(0.0, 253_402_300_799.0)
any_sweep = st.builds(
    Sweep, id=st.text(), tick=moments, plan=st.sampled_from([PLAN, PlanVersion(2, "b")]), mode=st.sampled_from(["Enforce", "DryRun"]),
    state=st.sampled_from(SweepState), cutoff=st.none() | st.text() | moments.map(text), started=moments, finished=st.none() | moments,
    planned=numbers, applied=numbers, skipped=numbers, unconfirmed=numbers, retrying=numbers, dead=numbers, capped=st.booleans(),
    stale=st.none() | numbers, oldest=st.none() | moments, oldest_unknown=st.text(), estimated=st.booleans(), approved=st.none() | moments,
)  # fmt: skip
any_stats = st.builds(
    Stats, known=st.just(True), sweep=any_sweep, history=st.lists(any_sweep, max_size=10).map(tuple), excluded=numbers, dead=numbers,
    paused=st.booleans(), pauses=st.lists(st.builds(Pause, moments, st.none() | moments), max_size=5).map(tuple), pace=st.sampled_from([None, Pace.of(5.0), Pace.of(None, "pause")]),
)  # fmt: skip


@given(any_stats, moments)
def test_any_record_of_the_queue_has_an_answer_in_the_bounds_of_the_status(stats: Stats, now: float) -> None:
    """Other programs may write to the queue."""
    found = backlog_of(stats, now)
    assert found is not None
    assert found.rows is None or found.rows >= 0
    for rate in (found.inflow, found.outflow):
        assert rate is None or 0 <= rate < math.inf
    assert found.empty is None or found.empty >= 0
    found.fields(lambda moment: datetime.fromtimestamp(moment, UTC).isoformat())
    rating = keeping_up(stats, now)
    assert rating.message
    assert (rating.status is None) is (rating.reason not in (Rating.KEEPING_UP, Rating.FALLING_BEHIND))
    assert (rating.status is False) is (found.empty == math.inf)


@given(any_stats, moments, moments)
def test_without_a_sweep_that_runs_the_answer_does_not_depend_on_the_time(
    stats: Stats, now: float, later: float
) -> None:
    assert stats.sweep is not None
    still = all(sweep.state.settled for sweep in (stats.sweep, *stats.history))
    if still:
        assert backlog_of(stats, now) == backlog_of(stats, later)
