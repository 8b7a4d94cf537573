"""Windows of a plan job."""

from __future__ import annotations

from kubesweep.queue.model import (
    MAX_SAMPLES,
    OpenResult,
    Settlement,
    SweepState,
    Window,
)
from kubesweep.queue.service import QueueService
from tests.contract.backends import Clock
from tests.contract.helpers import (
    CUTOFF,
    LIMITS,
    NEWER,
    REF,
    TICK,
    get_stats,
    key,
    one,
    open_sweep,
    plan_job,
    range_job,
    settle,
    take,
)


async def test_windows_are_enqueued_with_their_continuation_in_the_middle(queue: QueueService) -> None:
    sweep = (await open_sweep(queue)).sweep
    first = await one(queue)
    jobs = (range_job(sweep, 10), range_job(sweep, 20, 10))
    window = Window(CUTOFF, jobs, plan_job(sweep, 30), planned=30, samples=(key(1), key(2)))
    assert await queue.advance(REF, first, window)
    stats = await get_stats(queue)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.cutoff, stats.sweep.planned) == (SweepState.PLANNING, CUTOFF, 30)
    assert (stats.sweep.open_jobs, stats.ready, stats.sweep.samples) == (3, 3, (key(1), key(2)))
    claims = await take(queue, 3)
    assert [claim.job for claim in claims] == [jobs[0], plan_job(sweep, 30), jobs[1]]
    last = Window(CUTOFF, (range_job(sweep, 5, 30),), planned=5, capped=True, stopped='x["7"]', samples=(key(3),))
    assert await queue.advance(REF, claims[1], last)
    stats = await get_stats(queue)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.planned, stats.sweep.capped) == (SweepState.RUNNING, 35, True)
    assert stats.sweep.stopped == 'x["7"]'
    assert (stats.sweep.open_jobs, stats.sweep.samples) == (3, (key(1), key(2), key(3)))


async def test_a_window_is_enqueued_once_however_often_it_is_sent(queue: QueueService) -> None:
    sweep = (await open_sweep(queue)).sweep
    claim = await one(queue)
    window = Window(CUTOFF, (range_job(sweep, 10),), planned=10)
    assert await queue.advance(REF, claim, window)
    assert not await queue.advance(REF, claim, window)
    stats = await get_stats(queue)
    assert stats.sweep is not None
    assert (stats.ready, stats.sweep.planned) == (1, 10)


async def test_a_window_of_a_lost_claim_is_not_enqueued(queue: QueueService, clock: Clock) -> None:
    sweep = (await open_sweep(queue)).sweep
    stale = await one(queue)
    clock.advance(LIMITS.lease + 1)
    fresh = await one(queue, "bob")
    assert fresh.delivery == 2
    assert not await queue.advance(REF, stale, Window(CUTOFF, (range_job(sweep, 10),), planned=10))
    stats = await get_stats(queue)
    assert (stats.ready, stats.running) == (0, 1)


async def test_a_window_of_a_settled_sweep_is_not_enqueued_and_the_claim_is_gone(queue: QueueService) -> None:
    sweep = (await open_sweep(queue)).sweep
    claim = await one(queue)
    await open_sweep(queue, TICK + 60, NEWER)
    assert not await queue.advance(REF, claim, Window(CUTOFF, (range_job(sweep, 10),), planned=10))
    stats = await get_stats(queue)
    assert (stats.ready, stats.running) == (1, 0)
    assert stats.history[0].planned == 0


async def test_a_sweep_that_planned_nothing_is_completed_at_once(queue: QueueService, clock: Clock) -> None:
    await open_sweep(queue)
    claim = await one(queue)
    clock.advance(3)
    assert await queue.advance(REF, claim, Window(CUTOFF))
    stats = await get_stats(queue)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.finished, stats.sweep.cutoff) == (SweepState.COMPLETED, clock.now, CUTOFF)
    assert (await open_sweep(queue, TICK + 60)).answer is OpenResult.ENQUEUED


async def test_a_last_empty_window_completes_a_sweep_whose_jobs_are_settled(queue: QueueService) -> None:
    sweep = (await open_sweep(queue)).sweep
    await queue.advance(REF, await one(queue), Window(CUTOFF, (range_job(sweep, 10),), plan_job(sweep), planned=10))
    job, plan = await take(queue, 2)
    assert (await settle(queue, Settlement(job, applied=10))).finished == ()
    assert await queue.advance(REF, plan, Window(CUTOFF))
    stats = await get_stats(queue)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.balanced) == (SweepState.COMPLETED, True)


async def test_samples_of_a_sweep_are_bounded(queue: QueueService) -> None:
    sweep = (await open_sweep(queue)).sweep
    many = tuple(key(number) for number in range(MAX_SAMPLES + 5))
    await queue.advance(REF, await one(queue), Window(CUTOFF, (range_job(sweep, 9),), planned=9, samples=many))
    stats = await get_stats(queue)
    assert stats.sweep is not None
    assert stats.sweep.samples == many[:MAX_SAMPLES]
