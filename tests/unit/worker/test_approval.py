"""When a sweep of a real worker awaits approval, what it proposes, and what it is compared with afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from kubesweep.api.plan import Match, RowLimits, Write
from kubesweep.errors import ScopeOutage
from kubesweep.proposal import proposal_of
from kubesweep.queue.model import Database, StaleRows, Sweep, SweepState
from tests.kits.worker import Workbench, a_plan, key

GUARDED = RowLimits(batch_rows=100, approve_above_rows=10**6)
ELSEWHERE = Database("8100/shop/16384", 1)
SINCE = 1_700_000_000.0


def again(bench: Workbench, rows: int = 1000) -> None:
    bench.source.stale_keys = {key(i) for i in range(rows)}


async def swept(bench: Workbench) -> Sweep:
    sweep = (await bench.sweep()).sweep
    assert sweep is not None
    return sweep


async def approved(bench: Workbench, sweep: Sweep) -> Sweep:
    assert await bench.queue.approve(bench.plan.ref, sweep.id) == sweep.id
    done = (await bench.run()).sweep
    assert done is not None
    return done


def guarded(**changes: Any) -> Any:
    return a_plan(limits=GUARDED, **changes)


async def test_the_proposal_is_complete_when_the_sweep_awaits_approval(bench: Workbench) -> None:
    bench.plan = a_plan(limits=RowLimits(batch_rows=100, approve_above_rows=500))
    bench.source.oldest_row = lambda: StaleRows(77, SINCE, estimated=True, newest=SINCE + 60)
    sweep = await swept(bench)
    assert proposal_of(sweep) == {
        "rows": 1000,
        "oldestTime": "2023-11-14T22:13:20Z",
        "newestTime": "2023-11-14T22:14:20Z",
        "sampleKeys": [f'["{i:05d}"]' for i in range(10)],
    }
    done = await approved(bench, sweep)
    assert (done.state, done.applied, proposal_of(done)) == (SweepState.COMPLETED, 1000, None)


async def test_keys_that_are_too_long_to_be_shown_are_not_in_the_proposal(bench: Workbench) -> None:
    """A sweep with ten such keys would be longer than a queue on Redis accepts."""
    bench.plan = a_plan(limits=RowLimits(batch_rows=100, approve_above_rows=1))
    bench.source.stale_keys = {("a" * 30_000,), ("b",)}
    sweep = await swept(bench)
    assert (sweep.state, sweep.samples) == (SweepState.AWAITING_APPROVAL, (("b",),))


async def test_rows_that_cannot_be_counted_in_time_are_an_estimate(bench: Workbench) -> None:
    """The bound itself is counted window by window."""

    def slow(call: str) -> None:
        if call == "count":
            raise ScopeOutage("StatementTimeout", "canceling statement due to statement timeout")

    bench.plan = a_plan(limits=RowLimits(batch_rows=100, approve_above_rows=500))
    bench.source.down = slow
    bench.source.oldest_row = lambda: StaleRows(40_000, SINCE, estimated=True)
    sweep = await swept(bench)
    found = proposal_of(sweep) or {}
    assert (sweep.state, found["rows"], found["estimated"]) == (SweepState.AWAITING_APPROVAL, 40_000, True)
    assert sweep.message.startswith("at least 501 rows are stale: more than 500 (limits.approveAbove.rows)")


async def test_a_share_of_the_table_awaits_approval_and_a_smaller_one_does_not(bench: Workbench) -> None:
    bench.plan = a_plan(limits=RowLimits(batch_rows=100, approve_above_share=50))
    bench.source.size = 2000
    assert (await swept(bench)).state is SweepState.COMPLETED
    again(bench)
    bench.source.size = 1999
    sweep = await swept(bench)
    assert (sweep.state, sweep.reason) == (SweepState.AWAITING_APPROVAL, "AboveApprovalShare")


async def test_the_size_of_the_table_is_asked_only_for_a_share(bench: Workbench) -> None:
    def refuse(call: str) -> None:
        assert call != "table_rows"

    bench.source.down = refuse
    bench.plan = guarded()
    assert (await swept(bench)).state is SweepState.COMPLETED


async def test_a_sweep_far_above_the_median_awaits_approval_and_is_part_of_it_afterwards(bench: Workbench) -> None:
    bench.plan = a_plan(limits=RowLimits(batch_rows=100, approve_above_times_median=2))
    for rows in (1000, 110, 130):  # no median yet
        again(bench, rows)
        assert (await swept(bench)).state is SweepState.COMPLETED
    again(bench, 261)
    sweep = await swept(bench)
    assert (sweep.reason, "2 times the median of the last 3 sweeps (130 rows" in sweep.message) == (
        "AboveApprovalMedian",
        True,
    )
    assert (await approved(bench, sweep)).applied == 261
    again(bench, 390)  # the median of 110, 130, 261 and 1000 is 195
    assert (await swept(bench)).state is SweepState.COMPLETED


async def test_the_first_sweep_of_a_changed_predicate_awaits_approval_once(bench: Workbench) -> None:
    bench.plan = guarded()
    await swept(bench)
    again(bench)
    bench.plan = guarded(match=(Match("in", "status", ("old", "new")),), generation=1)
    sweep = await swept(bench)
    assert (sweep.state, sweep.reason, bench.source.stale_keys) == (
        SweepState.AWAITING_APPROVAL,
        "PredicateChanged",
        {key(i) for i in range(1000)},
    )
    assert sweep.message == "match differs from the last sweep's; 1,000 rows are stale. Nothing was changed"
    assert (await approved(bench, sweep)).state is SweepState.COMPLETED
    again(bench)
    assert (await swept(bench)).state is SweepState.COMPLETED


async def test_a_predicate_that_is_changed_back_needs_no_approval(bench: Workbench) -> None:
    bench.plan = guarded()
    await swept(bench)
    again(bench)
    bench.plan = guarded(write=Write(), generation=1)
    assert (await swept(bench)).reason == "PredicateChanged"
    bench.plan = guarded(generation=2)
    assert (await swept(bench)).state is SweepState.COMPLETED


async def test_a_first_sweep_without_rows_completes_and_the_next_one_still_awaits_approval(bench: Workbench) -> None:
    bench.plan = guarded()
    await swept(bench)
    bench.plan = guarded(match=(Match("in", "status", ("stale",)),), generation=1)
    empty = await swept(bench)
    assert (empty.state, empty.planned) == (SweepState.COMPLETED, 0)
    again(bench, 3)
    assert (await swept(bench)).reason == "PredicateChanged"


async def test_the_first_sweep_of_another_database_awaits_approval(bench: Workbench) -> None:
    bench.plan = guarded()
    await swept(bench)
    again(bench)
    bench.source.identity = ELSEWHERE
    sweep = await swept(bench)
    assert (sweep.reason, "8100/shop/16384" in sweep.message) == ("OtherDatabase", True)
    assert (await approved(bench, sweep)).state is SweepState.COMPLETED
    again(bench)
    assert (await swept(bench)).state is SweepState.COMPLETED


async def test_a_promoted_standby_needs_no_approval(bench: Workbench, caplog: pytest.LogCaptureFixture) -> None:
    bench.plan = guarded()
    await swept(bench)
    again(bench)
    bench.source.identity = Database(bench.source.identity.name, 2)
    assert (await swept(bench)).state is SweepState.COMPLETED
    assert "from timeline 1 to 2" in caplog.text
    again(bench)
    bench.source.identity = Database(bench.source.identity.name)  # a pooler that leads to a standby, for example
    stats = await bench.sweep()
    assert stats.baseline is not None
    assert stats.baseline.database.timeline == 2


async def test_without_a_bound_nothing_but_a_doubtful_time_awaits_approval(bench: Workbench) -> None:
    await swept(bench)
    again(bench)
    bench.source.identity = ELSEWHERE
    bench.plan = a_plan(match=(Match("in", "status", ("other",)),), generation=1)
    stats = await bench.sweep()
    assert stats.sweep is not None
    assert stats.sweep.state is SweepState.COMPLETED
    assert stats.baseline is not None  # a bound that is added later has something to compare with
    assert stats.baseline.database == ELSEWHERE


async def test_the_very_first_sweep_is_compared_with_rows_and_share_only(bench: Workbench) -> None:
    bench.plan = a_plan(limits=RowLimits(batch_rows=100, approve_above_share=100, approve_above_times_median=2))
    assert (await swept(bench)).state is SweepState.COMPLETED


async def test_a_dry_run_needs_no_approval_and_leaves_the_baseline(bench: Workbench) -> None:
    bench.plan = guarded()
    await swept(bench)
    again(bench)
    bench.plan = guarded(mode="DryRun", match=(Match("in", "status", ("other",)),), generation=1)
    sweep = await swept(bench)
    assert (sweep.state, proposal_of(sweep)) == (
        SweepState.COMPLETED,
        {"rows": 1000, "sampleKeys": [f'["{i:05d}"]' for i in range(10)]},
    )
    bench.plan = guarded(match=(Match("in", "status", ("other",)),), generation=2)
    assert (await swept(bench)).reason == "PredicateChanged"
