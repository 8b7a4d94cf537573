"""Whole sweeps on a table in memory."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from kubesweep.api.plan import Match, RetryPolicy, RowLimits, Write
from kubesweep.queue.model import PlanVersion, SweepState
from tests.kits.worker import MemorySource, Workbench, a_plan, key


async def test_a_sweep_applies_every_stale_row_and_completes(bench: Workbench) -> None:
    sweep = (await bench.sweep()).sweep
    assert sweep is not None
    assert (sweep.state, sweep.planned, sweep.applied) == (SweepState.COMPLETED, 1000, 1000)
    assert len(bench.source.writes) == 10


async def test_one_poison_row_costs_only_itself_and_is_applied_after_a_fix_and_a_replay(bench: Workbench) -> None:
    bench.source.poison = {key(417)}
    stats = await bench.sweep(retries=True)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied, stats.sweep.dead) == (SweepState.COMPLETED, 999, 1)
    (letter,) = await bench.dead()
    assert (letter.key, letter.error, len(letter.attempts)) == (key(417), "23505", 3)

    bench.source.writes.clear()
    again = (await bench.sweep()).sweep
    assert again is not None
    assert (again.state, again.planned, bench.source.writes) == (SweepState.COMPLETED, 0, [])

    bench.source.poison = set()
    assert await bench.queue.replay(bench.plan.ref) == 1
    await bench.run(retries=True)
    assert bench.source.stale_keys == set()
    assert await bench.dead() == ()


async def test_rows_that_fail_together_are_retried_together(tmp_path: Path) -> None:
    later = RetryPolicy(backoff=3600.0, max_backoff=3600.0)  # not due before the test has looked
    bench = Workbench(tmp_path, MemorySource(1000), a_plan(retry=later))
    bench.source.poison = {key(1), key(50), key(99)}
    await bench.sweep()
    stats = await bench.stats()
    await bench.queue.close()
    assert (stats.delayed, stats.excluded) == (1, 3)


async def test_a_write_that_leaves_its_rows_stale_fails_the_sweep(bench: Workbench) -> None:
    bench.source.unchanged = set(bench.source.stale_keys)
    sweep = (await bench.sweep()).sweep
    assert sweep is not None
    assert (sweep.state, sweep.reason) == (SweepState.FAILED, "NeverEnds")
    assert "match" in sweep.message


async def test_locked_rows_leave_the_sweep_without_spending_an_attempt(bench: Workbench) -> None:
    bench.source.locked = {key(3), key(4)}
    stats = await bench.sweep()
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied, stats.sweep.retrying) == (SweepState.COMPLETED, 998, 2)
    bench.source.locked = set()
    await bench.run(retries=True)
    stats = await bench.stats()
    assert stats.sweep is not None
    assert (stats.sweep.applied, stats.sweep.retrying, stats.excluded) == (1000, 0, 0)


async def test_planning_that_crashed_workers_continues_with_smaller_windows_and_then_as_before(tmp_path: Path) -> None:
    now = [1000.0]
    plan = a_plan(limits=RowLimits(batch_rows=10), max_replicas=1, jobs_per_replica=4)
    bench = Workbench(tmp_path, MemorySource(100), plan, clock=lambda: now[0])
    await bench.open()
    for victim in range(5):
        (claim,) = (await bench.queue.claim(bench.plan.ref, f"victim {victim}", 1, bench.plan.queue_limits)).jobs
        assert claim.delivery == victim + 1
        now[0] += 60
    sweep = (await bench.run()).sweep
    await bench.queue.close()
    assert sweep is not None
    assert (sweep.state, sweep.applied) == (SweepState.COMPLETED, 100)
    assert bench.source.windows == [10, 80, 80]


async def test_a_dry_run_counts_and_samples_but_writes_nothing(bench: Workbench) -> None:
    bench.plan = a_plan(mode="DryRun")
    sweep = (await bench.sweep()).sweep
    assert sweep is not None
    assert (sweep.state, sweep.planned, len(sweep.samples)) == (SweepState.COMPLETED, 1000, 10)
    assert bench.source.writes == []


UNIT = (("epoch-unit", 'values of column "at" look like milliseconds'),)


NAIVE = (("naive-time-zone", 'column "at" has no time zone'),)


@pytest.mark.parametrize(
    ("warnings", "write", "reason"),
    [(NAIVE, Write(), "NaiveTimeZone"), (NAIVE, None, ""), ((), Write(), ""), (UNIT, Write(), "EpochUnit")],
)
async def test_a_first_sweep_that_deletes_by_times_without_a_zone_awaits_approval(
    bench: Workbench, warnings: tuple[tuple[str, str], ...], write: Write | None, reason: str
) -> None:
    bench.source.warnings = warnings
    bench.plan = a_plan(match=(Match("before", "at"),), **({"write": write} if write else {}))
    sweep = (await bench.sweep()).sweep
    assert sweep is not None
    assert (sweep.state is SweepState.AWAITING_APPROVAL) is bool(reason)
    if reason:
        assert (sweep.reason, bench.source.writes) == (reason, [])
        assert sweep.message == (
            f"{warnings[0][1]}. This first sweep would delete by them; 1,000 rows are stale. Nothing was changed"
        )
        await bench.queue.approve(bench.plan.ref)
        assert (await bench.run()).sweep is not None
    again = await bench.sweep()
    assert again.sweep is not None
    assert again.sweep.state is SweepState.COMPLETED


async def test_too_many_rows_await_approval(bench: Workbench) -> None:
    bench.plan = a_plan(limits=RowLimits(batch_rows=100, approve_above_rows=500))
    sweep = (await bench.sweep()).sweep
    assert sweep is not None
    assert (sweep.state, sweep.reason, bench.source.writes) == (SweepState.AWAITING_APPROVAL, "AboveApprovalLimit", [])
    assert sweep.message == "1,000 rows are stale: more than 500 (limits.approveAbove.rows). Nothing was changed"
    assert sweep.cutoff == "2026-01-01 00:00:00+00"
    assert await bench.queue.approve(bench.plan.ref) == sweep.id
    done = (await bench.run()).sweep
    assert done is not None
    assert (done.state, done.applied) == (SweepState.COMPLETED, 1000)


async def test_rows_beyond_the_cap_wait_for_the_next_tick(bench: Workbench) -> None:
    bench.plan = a_plan(limits=RowLimits(batch_rows=100, max_rows_per_sweep=250))
    first = (await bench.sweep()).sweep
    assert first is not None
    assert (first.applied, first.capped) == (250, True)
    second = (await bench.sweep()).sweep
    assert second is not None
    assert (second.applied, len(bench.source.stale_keys)) == (250, 500)


async def test_a_sweep_cut_for_an_older_plan_is_superseded_and_a_new_one_finishes_the_work(bench: Workbench) -> None:
    old = bench.plan.version
    await bench.open()
    bench.plan = a_plan(generation=2, retry=RetryPolicy(max_attempts=4))
    assert not bench.plan.version.same(old)
    stats = await bench.run()
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied) == (SweepState.COMPLETED, 1000)
    assert [s.state for s in stats.history] == [SweepState.SUPERSEDED]


async def test_an_old_worker_leaves_the_job_of_a_newer_plan_alone(bench: Workbench) -> None:
    await bench.open(plan=PlanVersion(7, "newer"))
    worker = bench.worker()
    running = asyncio.create_task(worker.run())
    while not worker._context.no_claims_until:
        await asyncio.sleep(0)
        await bench.queue.wait(bench.plan.ref, 0.01)
    worker.stop()
    assert await running == 0
    stats = await bench.stats()
    assert (stats.ready, stats.running, bench.source.writes) == (1, 0, [])


async def test_a_replay_in_dry_run_writes_nothing_and_lets_its_rows_go(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, MemorySource(3), plan=a_plan(retry=RetryPolicy(max_attempts=1)))
    bench.source.poison = {key(1)}
    await bench.sweep()
    assert [letter.key for letter in await bench.dead()] == [key(1)]
    bench.source.poison = set()
    bench.plan = msgspec.structs.replace(bench.plan, mode="DryRun")
    assert await bench.queue.replay(bench.plan.ref) == 1
    stats = await bench.run(retries=True)
    assert bench.source.stale_keys == {key(1)}
    assert (stats.excluded, stats.dead, stats.ready) == (0, 0, 0)
    await bench.queue.close()
