"""What plan steps find out about stale rows is kept with the sweep, and checks are told apart from other waiting jobs."""

from __future__ import annotations

import pytest

from kubesweep.queue.model import Settlement, StaleRows, SweepState
from kubesweep.queue.service import QueueService
from tests.contract.backends import Clock
from tests.contract.helpers import (
    LIMITS,
    NEWER,
    OTHER,
    PLAN,
    REF,
    TICK,
    get_stats,
    latest,
    one,
    open_sweep,
    retry,
    settle,
    start,
    take,
)

SINCE = TICK - 3600.125
NO_INDEX = 'finding it would read all of "public"."carts": CREATE INDEX CONCURRENTLY ON "carts" ("at");'


async def test_a_sweep_keeps_what_its_latest_plan_step_found_out(queue: QueueService) -> None:
    sweep = await start(queue, 10)
    assert (await latest(queue)).stale is None
    await queue.record_stale(REF, sweep, StaleRows(25, SINCE))
    found = await latest(queue)
    assert (found.stale, found.oldest, found.oldest_unknown) == (25, SINCE, "")
    await queue.record_stale(REF, sweep, StaleRows(None, None, NO_INDEX))
    found = await latest(queue)
    assert (found.stale, found.oldest, found.oldest_unknown) == (25, None, NO_INDEX)


async def test_it_is_kept_while_jobs_are_settled_and_after_the_sweep_ended(queue: QueueService) -> None:
    sweep = await start(queue, 10)
    await queue.record_stale(REF, sweep, StaleRows(10, SINCE))
    await settle(queue, Settlement(await one(queue), applied=10))
    found = await latest(queue)
    assert (found.state, found.stale, found.oldest) == (SweepState.COMPLETED, 10, SINCE)
    await queue.record_stale(REF, sweep, StaleRows(None, SINCE + 1))  # the jobs were faster than the search
    await open_sweep(queue, TICK + 60)
    (before,) = (await get_stats(queue)).history
    assert (before.state, before.stale, before.oldest) == (SweepState.COMPLETED, 10, SINCE + 1)


async def test_an_estimate_is_kept_as_one_until_the_rows_are_counted(queue: QueueService) -> None:
    sweep = await start(queue, 10)
    assert not (await latest(queue)).estimated
    for found, rows, estimated in (
        (StaleRows(90, SINCE, estimated=True), 90, True),
        (StaleRows(None, SINCE), 90, True),
        (StaleRows(25, SINCE), 25, False),
    ):
        await queue.record_stale(REF, sweep, found)
        kept = await latest(queue)
        assert (kept.stale, kept.estimated) == (rows, estimated)


async def test_a_sweep_knows_when_it_was_approved(queue: QueueService, clock: Clock) -> None:
    await open_sweep(queue)
    await queue.end_sweep(REF, await one(queue), SweepState.AWAITING_APPROVAL, "AboveApprovalLimit", "many rows")
    assert (await latest(queue)).approved is None
    clock.now += 86_400
    await queue.approve(REF)
    approved = await latest(queue)
    assert approved.approved == pytest.approx(approved.started + 86_400)


async def test_an_unknown_sweep_or_schedule_is_ignored(queue: QueueService) -> None:
    sweep = await start(queue, 10)
    await queue.record_stale(REF, "gone", StaleRows(1, SINCE))
    await queue.record_stale(OTHER, sweep, StaleRows(1, SINCE))
    assert (await latest(queue)).stale is None
    assert not (await get_stats(queue, OTHER)).known


async def test_a_waiting_check_is_no_queued_job(queue: QueueService, clock: Clock) -> None:
    await queue.enqueue_check(REF, PLAN)
    await queue.enqueue_check(REF, NEWER)
    stats = await get_stats(queue)
    assert (stats.ready, stats.checks, stats.queued) == (2, 2, 0)
    first = await one(queue)
    stats = await get_stats(queue)
    assert (stats.ready, stats.checks, stats.running) == (1, 1, 1)
    await queue.release(REF, [first])
    stats = await get_stats(queue)
    assert (stats.ready, stats.checks, stats.running) == (2, 2, 0)
    claims = await take(queue, 2)
    await settle(queue, *(Settlement(claim) for claim in claims))
    stats = await get_stats(queue)
    assert (stats.ready, stats.checks, stats.running) == (0, 0, 0)


async def test_planned_jobs_and_due_retries_are_queued_jobs(queue: QueueService, clock: Clock) -> None:
    await start(queue, 10, 10)
    await settle(queue, Settlement(await one(queue), applied=9, retry=retry(9, delay=10.0)))
    await queue.enqueue_check(REF, PLAN)
    stats = await get_stats(queue)
    assert (stats.queued, stats.checks, stats.delayed) == (1, 1, 1)
    clock.advance(11)
    stats = await get_stats(queue)
    assert (stats.queued, stats.checks, stats.delayed) == (2, 1, 0)


async def test_a_check_whose_worker_died_is_running_until_it_is_claimed_again(
    queue: QueueService, clock: Clock
) -> None:
    await queue.enqueue_check(REF, PLAN)
    await one(queue)
    clock.advance(LIMITS.lease + 1)
    stats = await get_stats(queue)
    assert (stats.running, stats.queued) == (1, 0)
    claim = await one(queue, "bob")
    await queue.release(REF, [claim])
    stats = await get_stats(queue)
    assert (stats.checks, stats.queued) == (1, 0)


async def test_many_repeated_checks_stay_countable(queue: QueueService) -> None:
    """The statistics read a bounded list, however often a check was released."""
    await queue.enqueue_check(REF, PLAN)
    for _ in range(40):
        await queue.release(REF, [await one(queue)])
    stats = await get_stats(queue)
    assert (stats.ready, stats.checks) == (1, 1)
