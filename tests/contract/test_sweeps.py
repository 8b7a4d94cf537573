from __future__ import annotations

import pytest

from kubesweep.queue.model import (
    BEHIND,
    HISTORY,
    MAX_SAMPLES,
    JobKind,
    OpenResult,
    PlanVersion,
    Settlement,
    SweepState,
    TickCounts,
    Window,
)
from kubesweep.queue.service import QueueService, Settled
from tests.contract.backends import Clock, Open
from tests.contract.helpers import (
    CUTOFF,
    LIMITS,
    NEWER,
    OTHER,
    PLAN,
    REF,
    TICK,
    key,
    look,
    one,
    open_sweep,
    plan_job,
    range_job,
    retry,
    settle,
    start,
    take,
)


async def test_a_tick_starts_a_sweep_with_one_plan_job(queue: QueueService, clock: Clock) -> None:
    opened = await open_sweep(queue, mode="DryRun")
    stats = await look(queue)
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
    stats = await look(first)
    assert (stats.ready, stats.last_tick) == (1, TICK)
    assert stats.ticks == TickCounts(enqueued=1, duplicate=2)


async def test_a_wish_that_is_made_once_goes_by_its_name_not_by_its_time(make_queue: Open) -> None:
    first, second = make_queue(), make_queue()
    await finished(first)
    made = await open_sweep(first, TICK - 60, dedup_key="job/1")
    assert made.answer is OpenResult.ENQUEUED
    again = await open_sweep(second, TICK + 600, dedup_key="job/1")
    assert (again.answer, again.sweep) == (OpenResult.DUPLICATE, made.sweep)
    stats = await look(first)
    assert stats.sweep is not None
    assert (stats.ready, stats.last_tick, stats.sweep.id) == (1, TICK + BEHIND, made.sweep)
    assert stats.ticks == TickCounts(enqueued=2, duplicate=1)
    other = await open_sweep(second, TICK, dedup_key="job/2")
    assert (other.answer, other.sweep) == (OpenResult.FORBIDDEN, made.sweep)
    elsewhere = await open_sweep(second, TICK, dedup_key="job/1", ref=OTHER)
    assert elsewhere.answer is OpenResult.ENQUEUED
    assert elsewhere.sweep != made.sweep


async def test_a_tick_that_finds_a_sweep_unsettled_is_forbidden_and_moves_the_last_tick(queue: QueueService) -> None:
    sweep = await start(queue, 5)
    again = await open_sweep(queue, TICK + 60)
    assert (again.answer, again.sweep) == (OpenResult.FORBIDDEN, sweep)
    assert (await open_sweep(queue, TICK + 60)).answer is OpenResult.DUPLICATE
    stats = await look(queue)
    assert (stats.last_tick, stats.ticks) == (TICK + 60, TickCounts(enqueued=1, duplicate=1, forbidden=1))


async def test_a_tick_past_its_deadline_is_late_and_moves_the_last_tick(queue: QueueService, clock: Clock) -> None:
    clock.advance(301)
    assert (await open_sweep(queue, TICK, deadline=300)).answer is OpenResult.LATE
    assert (await open_sweep(queue, TICK, deadline=900)).answer is OpenResult.DUPLICATE
    stats = await look(queue)
    assert (stats.last_tick, stats.sweep, stats.ready) == (TICK, None, 0)
    assert stats.ticks == TickCounts(late=1, duplicate=1)


async def test_a_tick_at_its_deadline_still_starts(queue: QueueService, clock: Clock) -> None:
    clock.advance(300)
    assert (await open_sweep(queue, TICK, deadline=300)).answer is OpenResult.ENQUEUED


async def test_a_newer_plan_supersedes_the_sweep_and_its_waiting_jobs_go(queue: QueueService) -> None:
    old = await start(queue, 5, 5)
    running = await one(queue)
    newer = await open_sweep(queue, TICK + 60, NEWER)
    assert newer.answer is OpenResult.ENQUEUED
    stats = await look(queue)
    assert stats.sweep is not None
    assert (stats.sweep.id, stats.sweep.plan) == (newer.sweep, NEWER)
    (before,) = stats.history
    assert (before.id, before.state, before.open_jobs) == (old, SweepState.SUPERSEDED, 1)
    assert (stats.ready, stats.running, stats.delayed) == (0, 1, 1)
    settled = await settle(queue, Settlement(running, applied=5))
    assert settled == Settled(claims=settled.claims)
    (before,) = (await look(queue)).history
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


async def test_a_newer_plan_supersedes_a_held_sweep(queue: QueueService) -> None:
    held = (await open_sweep(queue)).sweep
    assert await queue.end_sweep(
        REF, await one(queue), SweepState.AWAITING_APPROVAL, "TooMany", "more than 50,000 rows"
    )
    assert (await open_sweep(queue, TICK + 60)).answer is OpenResult.FORBIDDEN
    assert (await open_sweep(queue, TICK + 120, NEWER)).answer is OpenResult.ENQUEUED
    (before,) = (await look(queue)).history
    assert (before.id, before.state) == (held, SweepState.SUPERSEDED)


async def test_the_latest_sweep_and_ten_before_it_are_remembered(queue: QueueService) -> None:
    sweeps = [await start(queue, tick=TICK + at) for at in range(HISTORY + 3)]
    stats = await look(queue)
    assert stats.sweep is not None
    assert stats.sweep.id == sweeps[-1]
    assert [sweep.id for sweep in stats.history] == sweeps[-2:-12:-1]


async def test_windows_are_enqueued_with_their_continuation_amid_their_jobs(queue: QueueService) -> None:
    sweep = (await open_sweep(queue)).sweep
    first = await one(queue)
    jobs = (range_job(sweep, 10), range_job(sweep, 20, 10))
    window = Window(CUTOFF, jobs, plan_job(sweep, 30), planned=30, samples=(key(1), key(2)))
    assert await queue.advance(REF, first, window)
    stats = await look(queue)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.cutoff, stats.sweep.planned) == (SweepState.PLANNING, CUTOFF, 30)
    assert (stats.sweep.open_jobs, stats.ready, stats.sweep.samples) == (3, 3, (key(1), key(2)))
    claims = await take(queue, 3)
    assert [claim.job for claim in claims] == [jobs[0], plan_job(sweep, 30), jobs[1]]
    last = Window(CUTOFF, (range_job(sweep, 5, 30),), planned=5, capped=True, stopped='x["7"]', samples=(key(3),))
    assert await queue.advance(REF, claims[1], last)
    stats = await look(queue)
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
    stats = await look(queue)
    assert stats.sweep is not None
    assert (stats.ready, stats.sweep.planned) == (1, 10)


async def test_a_window_of_a_lost_claim_is_not_enqueued(queue: QueueService, clock: Clock) -> None:
    sweep = (await open_sweep(queue)).sweep
    stale = await one(queue)
    clock.advance(LIMITS.lease + 1)
    fresh = await one(queue, "bob")
    assert fresh.delivery == 2
    assert not await queue.advance(REF, stale, Window(CUTOFF, (range_job(sweep, 10),), planned=10))
    stats = await look(queue)
    assert (stats.ready, stats.running) == (0, 1)


async def test_a_window_of_a_settled_sweep_is_not_enqueued_and_the_claim_is_gone(queue: QueueService) -> None:
    sweep = (await open_sweep(queue)).sweep
    claim = await one(queue)
    await open_sweep(queue, TICK + 60, NEWER)
    assert not await queue.advance(REF, claim, Window(CUTOFF, (range_job(sweep, 10),), planned=10))
    stats = await look(queue)
    assert (stats.ready, stats.running) == (1, 0)
    assert stats.history[0].planned == 0


async def test_a_sweep_that_planned_nothing_is_completed_at_once(queue: QueueService, clock: Clock) -> None:
    await open_sweep(queue)
    claim = await one(queue)
    clock.advance(3)
    assert await queue.advance(REF, claim, Window(CUTOFF))
    stats = await look(queue)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.finished, stats.sweep.cutoff) == (SweepState.COMPLETED, clock.now, CUTOFF)
    assert (await open_sweep(queue, TICK + 60)).answer is OpenResult.ENQUEUED


async def test_a_last_empty_window_completes_a_sweep_whose_jobs_are_settled(queue: QueueService) -> None:
    sweep = (await open_sweep(queue)).sweep
    await queue.advance(REF, await one(queue), Window(CUTOFF, (range_job(sweep, 10),), plan_job(sweep), planned=10))
    job, plan = await take(queue, 2)
    assert (await settle(queue, Settlement(job, applied=10))).finished == ()
    assert await queue.advance(REF, plan, Window(CUTOFF))
    stats = await look(queue)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.balanced) == (SweepState.COMPLETED, True)


async def test_samples_of_a_sweep_are_bounded(queue: QueueService) -> None:
    sweep = (await open_sweep(queue)).sweep
    many = tuple(key(number) for number in range(MAX_SAMPLES + 5))
    await queue.advance(REF, await one(queue), Window(CUTOFF, (range_job(sweep, 9),), planned=9, samples=many))
    stats = await look(queue)
    assert stats.sweep is not None
    assert stats.sweep.samples == many[:MAX_SAMPLES]


@pytest.mark.parametrize("state", [SweepState.FAILED, SweepState.HALTED, SweepState.SUPERSEDED])
async def test_a_sweep_is_ended_and_its_waiting_jobs_go(queue: QueueService, clock: Clock, state: SweepState) -> None:
    await start(queue, 5, 5, 5)
    first, second = await take(queue, 2)
    clock.advance(1)
    assert await queue.end_sweep(REF, first, state, "TableMissing", "no table conversations")
    stats = await look(queue)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.reason) == (state, "TableMissing")
    assert (stats.sweep.message, stats.sweep.finished) == ("no table conversations", clock.now)
    assert (stats.ready, stats.running, stats.sweep.open_jobs) == (0, 1, 1)
    assert not await queue.end_sweep(REF, second, SweepState.FAILED, "Other", "said later")
    stats = await look(queue)
    assert stats.sweep is not None
    assert (stats.sweep.reason, stats.running) == ("TableMissing", 0)


async def test_a_lost_claim_cannot_end_a_sweep(queue: QueueService, clock: Clock) -> None:
    await start(queue, 5)
    stale = await one(queue)
    clock.advance(LIMITS.lease + 1)
    await one(queue, "bob")
    assert not await queue.end_sweep(REF, stale, SweepState.FAILED, "TableMissing", "")
    stats = await look(queue)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.running) == (SweepState.RUNNING, 1)


async def test_a_held_job_that_ends_its_sweep_keeps_its_rows_and_rests(queue: QueueService, clock: Clock) -> None:
    await start(queue, 2, 5)
    await settle(queue, Settlement(await one(queue), retry=retry(1, 2, delay=1)))
    clock.advance(1)
    held = await one(queue)
    assert held.job.is_retry
    assert await queue.end_sweep(REF, held, SweepState.FAILED, "TableMissing", "")
    assert await take(queue, 5) == ()
    stats = await look(queue)
    assert (stats.excluded, stats.delayed) == (2, 1)
    clock.advance(60)
    again = await one(queue)
    assert (again.job, again.delivery) == (held.job, held.delivery)


async def test_a_held_sweep_waits_for_approval_and_keeps_its_cutoff(queue: QueueService) -> None:
    sweep = (await open_sweep(queue)).sweep
    claim = await one(queue)
    told = type(claim)(claim.id, claim.consumer, claim.delivery, plan_job(sweep))
    assert await queue.end_sweep(REF, told, SweepState.AWAITING_APPROVAL, "HoldAboveRows", "50,001 rows")
    stats = await look(queue)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.finished, stats.sweep.reason) == (
        SweepState.AWAITING_APPROVAL,
        None,
        "HoldAboveRows",
    )
    assert (stats.ready, stats.running, stats.sweep.open_jobs) == (0, 0, 0)
    assert await queue.approved(REF) is None
    assert await queue.approve(REF) == sweep
    assert await queue.approved(REF) == sweep
    stats = await look(queue)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.reason) == (SweepState.PLANNING, "")
    plan = await one(queue)
    assert (plan.job.kind, plan.job.cutoff, plan.job.low) == (JobKind.PLAN, CUTOFF, None)
    assert (plan.job.sweep, plan.job.plan, plan.delivery) == (sweep, PLAN, 1)


async def test_approving_something_else_releases_nothing(queue: QueueService) -> None:
    assert await queue.approve(REF) is None
    sweep = (await open_sweep(queue)).sweep
    assert await queue.approve(REF) is None
    await queue.end_sweep(REF, await one(queue), SweepState.AWAITING_APPROVAL, "HoldAboveRows", "")
    assert await queue.approve(REF, "another") is None
    assert await queue.approve(REF, sweep) == sweep
    assert await queue.approve(REF, sweep) is None
    assert (await look(queue)).ready == 1
    assert await queue.approved(OTHER) is None
    await queue.forget(REF)
    assert await queue.approved(REF) is None


async def test_parking_a_sweep_late_keeps_its_books_right(queue: QueueService) -> None:
    sweep = (await open_sweep(queue)).sweep
    jobs = (range_job(sweep, 10), range_job(sweep, 7, 10))
    await queue.advance(REF, await one(queue), Window(CUTOFF, jobs, plan_job(sweep), planned=17))
    (running,) = await take(queue, 1)
    plan, waiting = await take(queue, 2, "bob")
    assert await queue.release(REF, [waiting]) == ()
    assert await queue.end_sweep(REF, plan, SweepState.AWAITING_APPROVAL, "HoldAboveRows", "")
    assert (await settle(queue, Settlement(running, applied=10))).finished == ()
    stats = await look(queue)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.planned, stats.sweep.applied) == (SweepState.AWAITING_APPROVAL, 10, 10)
