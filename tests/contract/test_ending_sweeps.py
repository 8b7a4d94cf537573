"""Ending a sweep, waiting for approval, and approving."""

from __future__ import annotations

import pytest

from kubesweep.queue.model import (
    HISTORY,
    JobKind,
    PlanVersion,
    ScheduleRef,
    Settlement,
    SweepState,
    Window,
)
from kubesweep.queue.service import QueueService
from tests.contract.backends import Clock
from tests.contract.helpers import (
    CUTOFF,
    LIMITS,
    OTHER,
    PLAN,
    REF,
    TICK,
    get_stats,
    one,
    open_sweep,
    plan_job,
    range_job,
    retry,
    settle,
    start,
    take,
)


@pytest.mark.parametrize("state", [SweepState.FAILED, SweepState.HALTED, SweepState.SUPERSEDED])
async def test_a_sweep_is_ended_and_drops_its_waiting_jobs(
    queue: QueueService, clock: Clock, state: SweepState
) -> None:
    await start(queue, 5, 5, 5)
    first, second = await take(queue, 2)
    clock.advance(1)
    assert await queue.end_sweep(REF, first, state, "TableMissing", "no table conversations")
    stats = await get_stats(queue)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.reason) == (state, "TableMissing")
    assert (stats.sweep.message, stats.sweep.finished) == ("no table conversations", clock.now)
    assert (stats.ready, stats.running, stats.sweep.open_jobs) == (0, 1, 1)
    assert not await queue.end_sweep(REF, second, SweepState.FAILED, "Other", "said later")
    stats = await get_stats(queue)
    assert stats.sweep is not None
    assert (stats.sweep.reason, stats.running) == ("TableMissing", 0)


async def test_a_lost_claim_cannot_end_a_sweep(queue: QueueService, clock: Clock) -> None:
    await start(queue, 5)
    stale = await one(queue)
    clock.advance(LIMITS.lease + 1)
    await one(queue, "bob")
    assert not await queue.end_sweep(REF, stale, SweepState.FAILED, "TableMissing", "")
    stats = await get_stats(queue)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.running) == (SweepState.RUNNING, 1)


async def test_a_job_of_a_sweep_that_is_forgotten_plans_and_ends_nothing(queue: QueueService) -> None:
    await start(queue, 5, 5)
    first, second = await take(queue, 2)
    for n in range(HISTORY + 2):
        await open_sweep(queue, TICK + 60 + n, PlanVersion(2 + n, f"plan {n}"))
    assert not await queue.advance(REF, first, Window(CUTOFF, (range_job(first.job.sweep, 5),), planned=5))
    assert not await queue.end_sweep(REF, second, SweepState.FAILED, "TableMissing", "")
    stats = await get_stats(queue)
    assert stats.sweep is not None
    assert (stats.running, stats.ready + stats.delayed) == (0, 1)
    assert (stats.sweep.state, stats.sweep.planned) == (SweepState.PLANNING, 0)


async def test_a_retry_that_ends_its_sweep_keeps_its_rows_and_is_delayed(queue: QueueService, clock: Clock) -> None:
    await start(queue, 2, 5)
    await settle(queue, Settlement(await one(queue), retry=retry(1, 2, delay=1)))
    clock.advance(1)
    excluded = await one(queue)
    assert excluded.job.is_retry
    assert await queue.end_sweep(REF, excluded, SweepState.FAILED, "TableMissing", "")
    assert await take(queue, 5) == ()
    stats = await get_stats(queue)
    assert (stats.excluded, stats.delayed) == (2, 1)
    clock.advance(60)
    again = await one(queue)
    assert (again.job, again.delivery) == (excluded.job, excluded.delivery)


async def test_a_sweep_waits_for_approval_and_keeps_its_cutoff(queue: QueueService, clock: Clock) -> None:
    sweep = (await open_sweep(queue)).sweep
    claim = await one(queue)
    claimed = type(claim)(claim.id, claim.consumer, claim.delivery, plan_job(sweep))
    assert await queue.end_sweep(REF, claimed, SweepState.AWAITING_APPROVAL, "AboveApprovalLimit", "50,001 rows")
    stats = await get_stats(queue)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.finished, stats.sweep.reason) == (
        SweepState.AWAITING_APPROVAL,
        None,
        "AboveApprovalLimit",
    )
    assert (stats.ready, stats.running, stats.sweep.open_jobs) == (0, 0, 0)
    assert await queue.approved(REF) is None
    assert await queue.approve(REF) == sweep
    assert await queue.approved(REF) == sweep
    stats = await get_stats(queue)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.reason, stats.sweep.open_jobs) == (SweepState.PLANNING, "", 1)
    assert stats.sweep.approved == pytest.approx(clock.now)
    plan = await one(queue)
    assert (plan.job.kind, plan.job.cutoff, plan.job.low) == (JobKind.PLAN, CUTOFF, None)
    assert (plan.job.sweep, plan.job.plan, plan.delivery) == (sweep, PLAN, 1)


async def test_a_sweep_that_awaits_approval_and_starts_changes_no_other_schedule(queue: QueueService) -> None:
    third = ScheduleRef("local", "default", "third", "8b5f6f0e-0000-4000-8000-000000000003")
    other = await start(queue, 10, 20, ref=OTHER)
    await open_sweep(queue, ref=third)  # has no cutoff yet
    before = await queue.stats([OTHER, third])
    await open_sweep(queue)
    claim = await one(queue)
    claim = type(claim)(claim.id, claim.consumer, claim.delivery, plan_job(claim.job.sweep))
    await queue.end_sweep(REF, claim, SweepState.AWAITING_APPROVAL, "AboveApprovalLimit", "")
    mine = (await get_stats(queue)).sweep
    assert mine is not None
    assert (mine.planned, mine.cutoff) == (0, CUTOFF)
    assert await queue.stats([OTHER, third]) == before
    assert await queue.approve(REF) == mine.id
    assert await queue.stats([OTHER, third]) == before
    assert [claim.job.sweep for claim in await take(queue, 5, ref=OTHER)] == [other, other]


async def test_approving_another_sweep_starts_nothing(queue: QueueService) -> None:
    assert await queue.approve(REF) is None
    await queue.enqueue_check(REF, PLAN)
    assert await queue.approve(REF) is None
    assert await queue.approved(REF) is None
    await queue.forget(REF)
    sweep = (await open_sweep(queue)).sweep
    assert await queue.approve(REF) is None
    await queue.end_sweep(REF, await one(queue), SweepState.AWAITING_APPROVAL, "AboveApprovalLimit", "")
    assert await queue.approve(REF, "another") is None
    assert await queue.approve(REF, sweep) == sweep
    assert await queue.approve(REF, sweep) is None
    assert (await get_stats(queue)).ready == 1
    assert await queue.approved(OTHER) is None
    await queue.forget(REF)
    assert await queue.approved(REF) is None


async def test_a_late_wait_for_approval_keeps_the_counters_right(queue: QueueService) -> None:
    sweep = (await open_sweep(queue)).sweep
    jobs = (range_job(sweep, 3, 100), range_job(sweep, 10), range_job(sweep, 7, 10))
    await queue.advance(REF, await one(queue), Window(CUTOFF, jobs, plan_job(sweep), planned=20))
    failing, plan, running, waiting = await take(queue, 4)
    assert (plan.job.kind, running.job.rows, waiting.job.rows) == (JobKind.PLAN, 10, 7)
    await settle(queue, Settlement(failing, applied=1, retry=retry(101, 102, delay=600.0)))
    assert await queue.release(REF, [waiting]) == ()
    assert await queue.end_sweep(REF, plan, SweepState.AWAITING_APPROVAL, "AboveApprovalLimit", "")
    assert (await settle(queue, Settlement(running, applied=10))).finished == ()
    stats = await get_stats(queue)
    assert stats.sweep is not None
    assert stats.sweep.state is SweepState.AWAITING_APPROVAL
    assert (stats.sweep.planned, stats.sweep.applied, stats.sweep.retrying) == (13, 11, 2)
