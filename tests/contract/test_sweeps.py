from __future__ import annotations

import pytest

from kubesweep.queue.model import (
    BEHIND,
    HISTORY,
    JobKind,
    OpenResult,
    PlanVersion,
    Settlement,
    SweepState,
    TickCounts,
    Window,
)
from kubesweep.queue.service import QueueService
from tests.contract.backends import Clock, Open
from tests.contract.helpers import (
    CUTOFF,
    NEWER,
    OTHER,
    PLAN,
    REF,
    TICK,
    get_stats,
    one,
    open_sweep,
    settle,
    start,
)


async def test_a_tick_starts_a_sweep_with_one_plan_job(queue: QueueService, clock: Clock) -> None:
    opened = await open_sweep(queue, mode="DryRun")
    stats = await get_stats(queue)
    assert opened.answer is OpenResult.ENQUEUED
    assert stats.known
    assert (stats.ready, stats.last_tick, stats.oldest_ready) == (1, TICK, clock.now)
    assert stats.sweep is not None
    assert (stats.sweep.id, stats.sweep.state, stats.sweep.mode) == (opened.sweep, SweepState.PLANNING, "DryRun")
    assert (stats.sweep.plan, stats.sweep.tick, stats.sweep.started) == (PLAN, TICK, clock.now)
    claim = await one(queue)
    assert (claim.job.kind, claim.job.sweep, claim.job.plan, claim.job.low) == (JobKind.PLAN, opened.sweep, PLAN, None)


async def test_a_tick_enqueued_twice_is_one_tick(make_queue: Open) -> None:
    first, second = make_queue(), make_queue()
    assert (await open_sweep(first)).answer is OpenResult.ENQUEUED
    assert (await open_sweep(second)).answer is OpenResult.DUPLICATE
    assert (await open_sweep(second, TICK - 60)).answer is OpenResult.DUPLICATE
    stats = await get_stats(first)
    assert (stats.ready, stats.last_tick) == (1, TICK)
    assert stats.ticks == TickCounts(enqueued=1, duplicate=2)


async def test_a_request_with_a_dedup_key_is_deduplicated_by_it_and_not_by_its_time(make_queue: Open) -> None:
    first, second = make_queue(), make_queue()
    await finished(first)
    made = await open_sweep(first, TICK - 60, dedup_key="job/1")
    assert made.answer is OpenResult.ENQUEUED
    again = await open_sweep(second, TICK + 600, dedup_key="job/1")
    assert (again.answer, again.sweep) == (OpenResult.DUPLICATE, made.sweep)
    stats = await get_stats(first)
    assert stats.sweep is not None
    assert (stats.ready, stats.last_tick, stats.sweep.id) == (1, TICK + BEHIND, made.sweep)
    assert stats.ticks == TickCounts(enqueued=2, duplicate=1)
    other = await open_sweep(second, TICK, dedup_key="job/2")
    assert (other.answer, other.sweep) == (OpenResult.FORBIDDEN, made.sweep)
    elsewhere = await open_sweep(second, TICK, dedup_key="job/1", ref=OTHER)
    assert elsewhere.answer is OpenResult.ENQUEUED
    assert elsewhere.sweep != made.sweep


async def test_a_request_with_a_dedup_key_at_the_last_tick_is_opened_right_after_it(queue: QueueService) -> None:
    await finished(queue)
    assert (await open_sweep(queue, TICK, dedup_key="job/1")).answer is OpenResult.ENQUEUED
    assert (await get_stats(queue)).last_tick == TICK + BEHIND


async def test_a_request_with_a_dedup_key_after_the_last_tick_keeps_its_time(queue: QueueService) -> None:
    await finished(queue)
    assert (await open_sweep(queue, TICK + 60, dedup_key="job/1")).answer is OpenResult.ENQUEUED
    assert (await get_stats(queue)).last_tick == TICK + 60


async def test_a_sweep_that_ended_keeps_its_state_when_the_next_one_starts(queue: QueueService) -> None:
    await finished(queue)
    await open_sweep(queue, TICK + 60, NEWER)
    (before,) = (await get_stats(queue)).history
    assert (before.state, before.reason) == (SweepState.COMPLETED, "")


async def test_a_tick_that_finds_a_sweep_unsettled_is_forbidden_and_moves_the_last_tick(queue: QueueService) -> None:
    sweep = await start(queue, 5)
    again = await open_sweep(queue, TICK + 60)
    assert (again.answer, again.sweep) == (OpenResult.FORBIDDEN, sweep)
    assert (await open_sweep(queue, TICK + 60)).answer is OpenResult.DUPLICATE
    stats = await get_stats(queue)
    assert (stats.last_tick, stats.ticks) == (TICK + 60, TickCounts(enqueued=1, duplicate=1, forbidden=1))


async def test_a_tick_past_its_deadline_is_late_and_moves_the_last_tick(queue: QueueService, clock: Clock) -> None:
    clock.advance(301)
    late, known = await open_sweep(queue, TICK, deadline=300), await open_sweep(queue, TICK, deadline=900)
    assert (late.answer, late.sweep) == (OpenResult.LATE, "")
    assert (known.answer, known.sweep) == (OpenResult.DUPLICATE, "")
    stats = await get_stats(queue)
    assert (stats.last_tick, stats.sweep, stats.ready) == (TICK, None, 0)
    assert stats.ticks == TickCounts(late=1, duplicate=1)


async def test_a_tick_at_its_deadline_still_starts(queue: QueueService, clock: Clock) -> None:
    clock.advance(300)
    assert (await open_sweep(queue, TICK, deadline=300)).answer is OpenResult.ENQUEUED


async def test_a_newer_plan_supersedes_the_sweep_and_drops_its_waiting_jobs(queue: QueueService) -> None:
    old = await start(queue, 5, 5)
    running = await one(queue)
    newer = await open_sweep(queue, TICK + 60, NEWER)
    assert newer.answer is OpenResult.ENQUEUED
    stats = await get_stats(queue)
    assert stats.sweep is not None
    assert (stats.sweep.id, stats.sweep.plan) == (newer.sweep, NEWER)
    (before,) = stats.history
    assert (before.id, before.state, before.open_jobs) == (old, SweepState.SUPERSEDED, 1)
    assert (stats.ready, stats.running, stats.delayed) == (0, 1, 1)
    settled = await settle(queue, Settlement(running, applied=5))
    assert (settled.lost, settled.finished, settled.halted) == ((), (), ())
    (before,) = (await get_stats(queue)).history
    assert (before.applied, before.open_jobs, before.state) == (5, 0, SweepState.SUPERSEDED)


async def finished(queue: QueueService) -> None:
    await open_sweep(queue)
    await queue.advance(REF, await one(queue), Window(CUTOFF))


@pytest.mark.parametrize(
    ("plan", "answer"),
    [
        (PlanVersion(2, PLAN.hash), OpenResult.FORBIDDEN),
        (PlanVersion(0, "older"), OpenResult.FORBIDDEN),
        (PlanVersion(1, "other"), OpenResult.ENQUEUED),
    ],
)
async def test_only_a_newer_plan_supersedes(queue: QueueService, plan: PlanVersion, answer: OpenResult) -> None:
    await start(queue, 5)
    assert (await open_sweep(queue, TICK + 60, plan)).answer is answer


async def test_a_newer_plan_supersedes_a_sweep_that_awaits_approval(queue: QueueService) -> None:
    excluded = (await open_sweep(queue)).sweep
    assert await queue.end_sweep(
        REF, await one(queue), SweepState.AWAITING_APPROVAL, "TooMany", "more than 50,000 rows"
    )
    assert (await open_sweep(queue, TICK + 60)).answer is OpenResult.FORBIDDEN
    assert (await open_sweep(queue, TICK + 120, NEWER)).answer is OpenResult.ENQUEUED
    (before,) = (await get_stats(queue)).history
    assert (before.id, before.state) == (excluded, SweepState.SUPERSEDED)


async def test_the_latest_sweep_and_ten_before_it_are_remembered(queue: QueueService) -> None:
    sweeps = [await start(queue, tick=TICK + at) for at in range(HISTORY + 3)]
    stats = await get_stats(queue)
    assert stats.sweep is not None
    assert stats.sweep.id == sweeps[-1]
    assert [sweep.id for sweep in stats.history] == sweeps[-2:-12:-1]
