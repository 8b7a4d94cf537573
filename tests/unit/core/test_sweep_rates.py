"""What is no rate: a burst, an estimate, the wait for an approval, one outage, a row in retry."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from kubesweep.backlog import Rating
from kubesweep.queue.model import Pace, Pause, SweepState
from tests.unit.core.test_backlog import CAPPED, HOUR, HOURLY, START, a_sweep, backlog, keeping_up, stats_of


def test_one_import_is_no_rate_however_long_its_rows_take() -> None:
    """A million rows beside the usual hundred an hour, of which 50 are finished a second: that takes longer than all sweeps before."""
    at = START + 3 * HOUR
    for seconds in (120, 19_000):
        done = int(50 * seconds)
        running = a_sweep(3, at, 1_000_000, state=SweepState.RUNNING, applied=done, finished=None)
        rating = keeping_up(stats_of([*HOURLY, running]), at + seconds)
        assert (rating.status, rating.reason) == (True, Rating.KEEPING_UP), seconds
        found = backlog([*HOURLY, running], at + seconds)
        assert found.empty is not None
        assert at + 20_000 <= found.empty < at + 26_000


def test_an_import_whose_rows_are_not_finished_falls_behind_in_time() -> None:
    at = START + 3 * HOUR
    stuck = a_sweep(3, at, 1_000_000, state=SweepState.RUNNING, applied=0, finished=None)
    early, late = (keeping_up(stats_of([*HOURLY, stuck]), at + hours * HOUR).status for hours in (1, 4))
    assert (early, late) == (True, False)


def test_imports_that_come_faster_than_they_are_swept_fall_behind() -> None:
    """A hundred thousand rows each hour at 10 rows a second."""
    sweeps = [a_sweep(n, START + n * 60, 0) for n in range(3)]
    at, rows = sweeps[-1].started + 60, 100_000
    for number in range(3, 6):
        sweeps.append(a_sweep(number, at, rows, rows / 10))
        at, rows = at + rows / 10, int(rows / 10 / HOUR) * 100_000
    assert keeping_up(stats_of(sweeps), at).status is False


def test_a_constant_excess_is_found_soon_after_it_begins() -> None:
    """Rows begin to arrive at 8 a second, and 4 are finished, where sweeps every 5 s found none before."""
    sweeps = [a_sweep(n, START + n * 5, 0, 1.0) for n in range(8)]
    at = began = sweeps[-1].started + 5
    rows = 40
    while at < began + 120:
        sweeps.append(a_sweep(len(sweeps), at, rows, rows / 4))
        at, rows = at + rows / 4, 2 * rows
    assert keeping_up(stats_of(sweeps[-11:]), at).status is False


def test_estimates_of_capped_sweeps_are_in_no_rate() -> None:
    """Ten million rows, of which each sweep takes ten thousand: the planner's statistics do not notice for a day."""
    estimated = [a_sweep(n, START + n * HOUR, 10_000, capped=True, stale=10_000_000, estimated=True) for n in range(4)]
    found = backlog(estimated, START + 4 * HOUR)
    assert (found.rows, found.inflow, found.empty) == (9_990_000, None, None)
    assert keeping_up(stats_of(estimated), START + 4 * HOUR).reason is Rating.STALE_ROWS_UNKNOWN
    whole = [
        msgspec.structs.replace(sweep, estimated=True, stale=77) for sweep in HOURLY
    ]  # planned to their ends since
    assert backlog(whole, START + 3 * HOUR) == backlog(HOURLY, START + 3 * HOUR)


def test_the_time_until_an_approval_slows_nothing_down() -> None:
    """The first sweep found 100 rows and was approved after a week. Its successors find 100 an hour."""
    week = 168 * HOUR
    first = a_sweep(0, START, 100, took=week + 10, approved=START + week)
    later = [a_sweep(n, START + week + n * HOUR, 100) for n in (1, 2)]
    running = a_sweep(3, START + 6 * HOUR, 300, state=SweepState.RUNNING, applied=100, finished=None)
    waited = msgspec.structs.replace(running, approved=START + week)
    assert backlog([first, *later], START + week + 3 * HOUR).outflow == pytest.approx(300 / 30)
    for seconds in (5, 70):
        assert keeping_up(stats_of([*HOURLY, waited]), START + week + seconds).status is True
    assert keeping_up(stats_of([*HOURLY, running]), START + week + 70).status is False


def test_one_sweep_that_was_suspended_or_met_an_outage_is_no_rate() -> None:
    week = 168 * HOUR
    suspended = a_sweep(3, START + 3 * HOUR, 100, took=week)
    after = a_sweep(4, START + 3 * HOUR + week, 16_800)
    stats = stats_of([*HOURLY, suspended, after])
    assert keeping_up(stats, after.started + 20).status is True


def test_a_row_in_retry_is_no_backlog_that_never_empties() -> None:
    """It waits an hour for its next attempt, while the sweeps of each minute find nothing."""
    failed = a_sweep(0, START, 1, 40.0, applied=0, retrying=1)
    empty = [a_sweep(n, START + n * 60, 0, 40.0) for n in range(1, 4)]
    for sweeps in ([failed, *empty], empty, [*empty, msgspec.structs.replace(failed, started=START + 240)]):
        stats = stats_of(sweeps, excluded=1)
        assert keeping_up(stats, START + 300).status is not False
        assert backlog(sweeps, START + 300, excluded=1).empty != math.inf


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"state": SweepState.AWAITING_APPROVAL, "stale": 5000, "planned": 0}, {}),
        ({"state": SweepState.RUNNING}, {"paused": True}),
    ],
)
def test_what_is_unknown_is_not_never(changes: dict[str, Any], fields: dict[str, Any]) -> None:
    """The alert goes by emptyTime, people by the condition."""
    latest = a_sweep(3, START + 3 * HOUR, 5000, applied=0, finished=None, **changes)
    now = START + 4 * HOUR
    assert keeping_up(stats_of([*CAPPED, latest], **fields), now).status is None
    assert backlog([*CAPPED, latest], now, **fields).empty is None


def test_a_pause_within_a_sweep_is_not_the_time_of_its_workers() -> None:
    """Paused for a week after a minute, and resumed."""
    at, week = START + 3 * HOUR, 168 * HOUR
    running = a_sweep(3, at, 1000, state=SweepState.RUNNING, applied=600, finished=None)
    resumed = {"pauses": (Pause(at + 60, at + week),)}
    before = backlog([*HOURLY, running], at + 61, paused=True, pauses=(Pause(at + 60),))
    for seconds in (1, 70, 600):
        now = at + week + seconds
        found = backlog([*HOURLY, running], now, **resumed)
        assert found.outflow == pytest.approx(900 / (30 + 60 + seconds))
        assert keeping_up(stats_of([*HOURLY, running], **resumed), now).status is True, seconds
    assert before.outflow == pytest.approx(900 / 90)
    whole = msgspec.structs.replace(running, applied=1000, state=SweepState.COMPLETED, finished=at + week + 40)
    ended = backlog([*HOURLY, whole], at + week + 50, **resumed)
    assert ended.outflow == pytest.approx(1300 / 130)


def test_a_sweep_that_was_paused_while_it_began_says_nothing_about_its_rate_yet() -> None:
    at = START + 3 * HOUR
    empty = [a_sweep(n, START + n * HOUR, 0) for n in range(3)]
    running = a_sweep(3, at, 1000, state=SweepState.RUNNING, applied=0, finished=None)
    pauses = (Pause(at + 5, at + HOUR),)
    early, late = (
        keeping_up(stats_of([*empty, running], pauses=pauses), at + HOUR + seconds).status for seconds in (50, 70)
    )
    assert (early, late) == (True, False)


def test_a_pause_between_capped_sweeps_does_not_slow_them_down() -> None:
    """Each hour 300 of the rows that are left are swept, and 30 become stale. The schedule is suspended for two nights."""
    starts, stale = (0, 25, 50, 51), (1000, 1450, 1900, 1630)
    sweeps = [
        a_sweep(n, START + hours * HOUR, 300, capped=True, stale=rows)
        for n, (hours, rows) in enumerate(zip(starts, stale, strict=True))
    ]
    pauses = tuple(Pause(START + (hours + 0.5) * HOUR, START + (hours + 24.5) * HOUR) for hours in (0, 25))
    now = sweeps[-1].started + 60
    found = backlog(sweeps, now, pauses=pauses)
    assert (found.inflow, found.outflow) == (pytest.approx(30 / HOUR), pytest.approx(300 / HOUR))
    assert keeping_up(stats_of(sweeps, pauses=pauses), now).status is True
    assert keeping_up(stats_of(sweeps), now).status is False


def test_a_rate_that_a_person_lowered_is_a_rate() -> None:
    """Only a pause is none. Behind a low rate the backlog grows, and the message says what limits it."""
    at = START + 3 * HOUR
    slow = a_sweep(3, at, 1000, state=SweepState.RUNNING, applied=3, finished=None)
    rating = keeping_up(stats_of([*HOURLY, slow], pace=Pace.of(None, "0.01")), at + 10 * HOUR)
    assert rating.status is False
    assert "kubesweep.dev/throttle" in rating.message


@pytest.mark.parametrize("pauses", [(), (Pause(START + 3 * HOUR + 90),)])
def test_while_a_sweep_is_paused_its_rates_stay(pauses: tuple[Pause, ...]) -> None:
    running = a_sweep(3, START + 3 * HOUR, 100, state=SweepState.RUNNING, applied=20, finished=None)
    first, later = (backlog([*HOURLY, running], START + hours * HOUR, paused=True, pauses=pauses) for hours in (4, 400))
    assert first == later
