"""What decides whether a sweep awaits approval: bounds side by side, counts that change or time out, doubtful times, a queue that lost its data."""

from __future__ import annotations

from typing import Any, cast

import pytest

from kubesweep.api.plan import Effect, Match, RowLimits, Write
from kubesweep.errors import LeaseLost, Outage, ScopeOutage
from kubesweep.queue.model import Database, Key, Limits, ScheduleRef, Sweep, SweepState
from kubesweep.queue.sqlite.queue import SqliteQueue
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.jobs.approval import count_stale
from kubesweep_worker.jobs.context import JobContext
from kubesweep_worker.sources.base import Cuts, Predicate
from tests.kits.worker import Workbench, a_plan, key

GUARDED = RowLimits(batch_rows=100, approve_above_rows=10**6)
NAIVE = (("naive-time-zone", 'column "at" has no time zone'),)
BY_TIME = (Match("before", "at"),)
TIMEOUT = "canceling statement due to statement timeout"


def guarded(**changes: Any) -> Any:
    return a_plan(limits=GUARDED, **changes)


def again(bench: Workbench, rows: int) -> None:
    bench.source.stale_keys = {key(i) for i in range(rows)}


async def swept(bench: Workbench) -> Sweep:
    sweep = (await bench.sweep()).sweep
    assert sweep is not None
    return sweep


def count_times_out(call: str) -> None:
    if call == "count":
        raise ScopeOutage("StatementTimeout", TIMEOUT)


async def test_the_lowest_of_several_bounds_decides(bench: Workbench) -> None:
    bench.plan = a_plan(limits=RowLimits(batch_rows=100, approve_above_rows=2000, approve_above_share=10))
    bench.source.size = 5000
    sweep = await swept(bench)
    assert (sweep.state, sweep.reason) == (SweepState.AWAITING_APPROVAL, "AboveApprovalShare")


async def test_a_bound_that_is_reached_exactly_is_not_named(bench: Workbench) -> None:
    bench.plan = a_plan(limits=RowLimits(batch_rows=100, approve_above_rows=1000, approve_above_share=10))
    bench.source.size = 5000
    sweep = await swept(bench)
    assert sweep.message == (
        "1,000 rows are stale: 20 % of the table (limits.approveAbove.share: 10 %). Nothing was changed"
    )


@pytest.mark.parametrize("left", [0, 500])
async def test_rows_that_disappear_between_two_counts_need_no_approval(bench: Workbench, left: int) -> None:
    """The application deletes some by itself, for example."""
    counted = []

    def delete_some(call: str) -> None:
        counted.extend([call] * (call == "count"))
        if len(counted) == 2:
            again(bench, left)

    bench.plan = a_plan(limits=RowLimits(batch_rows=100, approve_above_rows=500))
    bench.source.down = delete_some
    sweep = await swept(bench)
    assert (sweep.state, sweep.applied, sweep.reason) == (SweepState.COMPLETED, left, "")


async def test_without_a_bound_no_row_is_counted(bench: Workbench) -> None:
    def refuse(call: str) -> None:
        assert call != "count"

    bench.source.down = refuse
    assert (await swept(bench)).state is SweepState.COMPLETED


async def test_rows_up_to_the_bound_need_no_approval_where_they_are_counted_window_by_window(bench: Workbench) -> None:
    bench.plan = a_plan(limits=RowLimits(batch_rows=100, approve_above_rows=500))
    again(bench, 500)
    bench.source.down = count_times_out
    assert (await swept(bench)).state is SweepState.COMPLETED
    assert bench.source.windows[0] == 501


class Windows:
    """A table that is counted window by window, with 200 rows in each. The job is lost after ``owned`` of them."""

    def __init__(self, windows: int, owned: int = 100) -> None:
        self.left, self.owned, self.asked = windows, owned, list[int]()
        self.source, self.plan = self, a_plan()

    async def count(self, predicate: Predicate, most: int) -> int:
        raise ScopeOutage("StatementTimeout", TIMEOUT)

    async def cut(self, predicate: Predicate, after: Key | None, batch: int, most: int) -> Cuts:
        self.asked.append(most)
        self.left -= 1
        return Cuts((), 200, key(self.left) if self.left else None)

    def checkpoint(self) -> None:
        if len(self.asked) == self.owned:
            raise LeaseLost("this worker no longer owns the job")

    async def counted(self, most: int) -> int:
        return await count_stale(cast("JobContext", self), cast("JobRun", self), Predicate("now", frozenset()), most)


async def test_each_window_is_counted_up_to_what_is_left_of_the_bound() -> None:
    table = Windows(9)
    assert await table.counted(501) == 600
    assert table.asked == [501, 301, 101]


async def test_the_last_window_ends_the_count() -> None:
    assert await Windows(2).counted(501) == 400


async def test_a_worker_that_lost_its_job_stops_counting() -> None:
    """Counting window by window may take longer than a lease."""
    table = Windows(9, owned=2)
    with pytest.raises(LeaseLost):
        await table.counted(5000)
    assert len(table.asked) == 2


async def test_an_outage_is_no_reason_to_count_window_by_window(bench: Workbench) -> None:
    calls: list[str] = []

    def unavailable_once(call: str) -> None:
        calls.append(call)
        if calls.count("count") == 1 and call == "count":
            raise Outage("SourceUnavailable", "connection refused")

    bench.source.down = unavailable_once
    bench.plan = a_plan(limits=RowLimits(batch_rows=100, approve_above_rows=500))
    assert (await swept(bench)).message.startswith("1,000 rows are stale: ")
    counts = [each for each in calls if each in ("count", "cut")]
    assert counts[:2] == ["count", "count"]


async def test_the_proposal_is_recorded_before_the_sweep_shows_that_it_awaits_approval(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    end, seen = SqliteQueue.end_sweep, list[Sweep | None]()

    async def watched(self: SqliteQueue, ref: ScheduleRef, *args: Any) -> bool:
        seen.append((await self.stats([ref]))[0].sweep)
        return await end(self, ref, *args)

    monkeypatch.setattr(SqliteQueue, "end_sweep", watched)
    bench.plan = a_plan(limits=RowLimits(batch_rows=100, approve_above_rows=500))
    await swept(bench)
    (before,) = seen
    assert before is not None
    assert (before.stale, len(before.samples)) == (1000, 10)


async def test_doubtful_times_are_reported_first_and_an_empty_sweep_does_not_settle_them(bench: Workbench) -> None:
    """If it completed, the next sweep would delete by times that nobody looked at."""
    bench.plan = guarded()
    await swept(bench)  # leaves no stale row
    bench.source.warnings = NAIVE
    bench.plan = guarded(match=BY_TIME, write=Write(), generation=1)
    sweep = await swept(bench)
    assert (sweep.state, sweep.reason) == (SweepState.AWAITING_APPROVAL, "NaiveTimeZone")
    assert "differ from the last sweep's; 0 rows are stale" in sweep.message


async def test_without_a_bound_stale_rows_by_doubtful_times_are_counted_up_to_one(bench: Workbench) -> None:
    bench.source.warnings, bench.source.down = NAIVE, count_times_out
    bench.plan = a_plan(match=BY_TIME, write=Write())
    assert "at least 1 row is stale" in (await swept(bench)).message


@pytest.mark.parametrize(
    ("changes", "waits"),
    [
        ({"match": BY_TIME, "write": Write()}, True),
        ({"match": (Match("after", "at"),), "write": Write()}, True),
        ({"match": BY_TIME}, False),  # an update can be taken back
        ({"match": BY_TIME, "write": None, "effect": Effect(handler="tests:nothing")}, False),
        ({"write": Write()}, False),  # no condition on a time
    ],
)
async def test_only_a_first_sweep_that_deletes_by_a_time_has_doubtful_times(
    bench: Workbench, changes: dict[str, Any], waits: bool
) -> None:
    bench.source.warnings, bench.plan = NAIVE, a_plan(**changes)
    again(bench, 0)
    assert (await swept(bench)).state is (SweepState.AWAITING_APPROVAL if waits else SweepState.COMPLETED)


async def test_a_completed_sweep_of_another_plan_says_nothing_about_the_times_of_this_one(bench: Workbench) -> None:
    assert (await swept(bench)).state is SweepState.COMPLETED
    bench.source.warnings, bench.plan = NAIVE, a_plan(match=BY_TIME, write=Write(), generation=1)
    assert (await swept(bench)).reason == "NaiveTimeZone"


async def test_a_failed_sweep_says_nothing_about_the_times(bench: Workbench) -> None:
    bench.source.warnings, bench.plan = NAIVE, a_plan(match=BY_TIME, write=Write())
    await bench.open()
    (claim,) = (await bench.queue.claim(bench.plan.ref, "ann", 1, Limits())).jobs
    await bench.queue.end_sweep(bench.plan.ref, claim, SweepState.FAILED, "Broken", "it broke")
    assert (await swept(bench)).reason == "NaiveTimeZone"


@pytest.mark.parametrize("reason", ["PredicateChanged", "OtherDatabase"])
async def test_the_rows_of_sweeps_of_something_else_are_no_measure(bench: Workbench, reason: str) -> None:
    limits = RowLimits(batch_rows=100, approve_above_times_median=2)
    bench.plan = a_plan(limits=limits)
    for _ in range(3):
        again(bench, 110)
        assert (await swept(bench)).state is SweepState.COMPLETED
    if reason == "PredicateChanged":
        bench.plan = a_plan(limits=limits, match=(Match("in", "status", ("other",)),), generation=1)
    else:
        bench.source.identity = Database("8100/shop/16384", 1)
    again(bench, 110)
    sweep = await swept(bench)
    assert sweep.reason == reason
    await bench.queue.approve(bench.plan.ref, sweep.id)
    await bench.run()
    again(bench, 1000)
    assert (await swept(bench)).state is SweepState.COMPLETED


async def test_a_timeline_that_becomes_readable_or_stays_is_no_failover(
    bench: Workbench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.source.identity = Database("7291/shop/16384")
    await swept(bench)
    bench.source.identity = Database("7291/shop/16384", 1)
    await swept(bench)
    await swept(bench)
    assert "timeline" not in caplog.text
