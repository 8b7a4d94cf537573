"""A sweep that takes the place of another one: whose jobs it waits for, and which rows it finds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from kubesweep.queue.model import Claim, JobKind, OpenResult, Settlement, SweepState, Window
from kubesweep.queue.service import QueueService
from tests.contract.backends import Clock, Open
from tests.contract.helpers import (
    CUTOFF,
    LIMITS,
    NEWER,
    PLAN,
    REF,
    TICK,
    failed,
    get_stats,
    key,
    latest,
    make_dead_letters,
    one,
    open_sweep,
    retry,
    settle,
    start,
    take,
)


async def edited(queue: QueueService, tick: float = TICK + 60) -> str:
    """The sweep of an edited plan. Returns its id."""
    opened = await open_sweep(queue, tick, NEWER)
    assert opened.answer is OpenResult.ENQUEUED
    return opened.sweep


async def settled(queue: QueueService, claim: Claim) -> None:
    await settle(queue, Settlement(claim, applied=claim.job.rows))


async def released(queue: QueueService, claim: Claim) -> None:
    assert await queue.release(REF, [claim]) == ()


async def failed_whole(queue: QueueService, claim: Claim) -> None:
    assert not await queue.end_sweep(REF, claim, SweepState.FAILED, "Broken", "a sentence")


@pytest.mark.parametrize("end", [settled, released, failed_whole])
async def test_the_sweep_of_an_edit_is_planned_when_the_jobs_before_it_left_their_workers(
    queue: QueueService, end: Callable[[QueueService, Claim], Awaitable[None]]
) -> None:
    await start(queue, 5, 5, 5)
    first, second = await take(queue, 2)
    sweep = await edited(queue)
    stats = await get_stats(queue)
    assert (stats.ready, stats.running, stats.delayed) == (0, 2, 1)
    assert await take(queue, 5, "bob") == ()
    await end(queue, first)
    assert await take(queue, 5, "bob") == ()
    await end(queue, second)
    stats = await get_stats(queue)
    assert (stats.ready, stats.running, stats.delayed) == (1, 0, 0)
    (plan,) = await take(queue, 5, "bob")
    assert (plan.job.kind, plan.job.sweep, plan.job.plan, plan.delivery) == (JobKind.PLAN, sweep, NEWER, 1)


async def test_a_plan_step_of_the_sweep_before_is_waited_for_too(queue: QueueService) -> None:
    await open_sweep(queue)
    step = await one(queue)
    await edited(queue)
    assert await take(queue, 5, "bob") == ()
    assert not await queue.advance(REF, step, Window(CUTOFF))
    assert len(await take(queue, 5, "bob")) == 1


async def test_a_sweep_after_one_that_failed_waits_for_its_jobs_too(queue: QueueService) -> None:
    await start(queue, 5, 5)
    broken, other = await take(queue, 2)
    assert await queue.end_sweep(REF, broken, SweepState.FAILED, "Broken", "a sentence")
    assert (await open_sweep(queue, TICK + 60)).answer is OpenResult.ENQUEUED
    assert await take(queue, 5, "bob") == ()
    await settled(queue, other)
    assert len(await take(queue, 5, "bob")) == 1


async def test_a_worker_that_crashed_delays_the_next_sweep_by_one_lease(queue: QueueService, clock: Clock) -> None:
    await start(queue, 5)
    await one(queue)
    await edited(queue)
    clock.advance(LIMITS.lease - 1)
    claims = await queue.claim(REF, "bob", 5, LIMITS)
    assert (claims.jobs, claims.next_delayed) == ((), clock.now + 1)
    clock.advance(1)
    (plan,) = await take(queue, 5, "bob")
    assert plan.job.kind is JobKind.PLAN
    assert (await get_stats(queue)).running == 1


async def test_a_worker_that_goes_on_is_waited_for_as_long_as_it_extends_its_lease(
    queue: QueueService, clock: Clock
) -> None:
    await start(queue, 5)
    busy = await one(queue)
    await edited(queue)
    for _ in range(3):
        clock.advance(LIMITS.lease - 1)
        assert await queue.extend(REF, [busy], LIMITS.lease) == ()
        clock.advance(1)
        assert await take(queue, 5, "bob") == ()
    await settled(queue, busy)
    assert len(await take(queue, 5, "bob")) == 1


async def test_who_waits_for_a_job_is_woken_by_the_settlement_that_frees_it(make_queue: Open) -> None:
    ann, bob = make_queue(), make_queue()
    await start(ann, 5)
    busy = await one(ann)
    sweep = await edited(ann)
    waiting = asyncio.create_task(bob.claim_next(REF, "bob", 1, LIMITS, 3600))
    await get_stats(bob)  # a round trip of the same object: the waiter had its turn
    assert not waiting.done()
    await settled(ann, busy)
    (plan,) = (await waiting).jobs
    assert (plan.job.kind, plan.job.sweep) == (JobKind.PLAN, sweep)


async def test_of_two_edits_only_the_last_is_planned(queue: QueueService) -> None:
    await start(queue, 5)
    busy = await one(queue)
    given_up = await edited(queue)
    last = (await open_sweep(queue, TICK + 120, msgspec.structs.replace(NEWER, hash="cccc"))).sweep
    (before, _) = (await get_stats(queue)).history
    assert (before.id, before.state, before.open_jobs) == (given_up, SweepState.SUPERSEDED, 0)
    await settled(queue, busy)
    (plan,) = await take(queue, 5, "bob")
    assert plan.job.sweep == last
    await queue.advance(REF, plan, Window(CUTOFF))
    assert (await latest(queue)).state is SweepState.COMPLETED
    stats = await get_stats(queue)
    assert (stats.ready, stats.running, stats.delayed) == (0, 0, 0)


async def test_an_edit_frees_the_rows_whose_retry_is_far_away(queue: QueueService) -> None:
    old = await start(queue, 3)
    waits = retry(1, 2, delay=86_400.0)
    await settle(queue, Settlement(await one(queue), applied=1, retry=waits))
    before_edit = await queue.excluded(REF)
    await edited(queue)
    after = await queue.excluded(REF)
    assert after.keys == frozenset()
    assert after.version != before_edit.version
    stats = await get_stats(queue)
    assert (stats.delayed, stats.excluded) == (0, 0)
    (before,) = stats.history
    assert (before.id, before.applied, before.skipped, before.retrying) == (old, 1, 2, 0)
    assert before.balanced


async def test_a_retry_of_the_same_plan_waits_and_a_claimed_one_is_left_alone(
    queue: QueueService, clock: Clock
) -> None:
    await start(queue, 2)
    await settle(queue, Settlement(await one(queue), retry=(*retry(1, delay=5), *retry(2, delay=86_400.0))))
    clock.advance(6)
    busy = await one(queue)
    assert busy.job.keys == (key(1),)
    await open_sweep(queue, TICK + 60)
    assert (await queue.excluded(REF)).keys == {key(1), key(2)}
    await queue.advance(REF, await one(queue, "bob"), Window(CUTOFF))
    await edited(queue, TICK + 120)
    assert (await queue.excluded(REF)).keys == {key(1)}
    await settle(queue, Settlement(busy, applied=1))
    assert (await queue.excluded(REF)).keys == frozenset()


async def test_only_an_edit_cancels_a_retry_whose_worker_crashed_after_the_edit_before(
    queue: QueueService, clock: Clock
) -> None:
    await start(queue, 1)
    await settle(queue, Settlement(await one(queue), retry=retry(1, delay=5)))
    clock.advance(6)
    crashed = await one(queue)
    await start(queue, tick=TICK + 60, plan=NEWER)
    clock.advance(LIMITS.lease + 1)
    again = await one(queue, "bob")
    assert again.job == crashed.job
    await released(queue, again)
    await open_sweep(queue, TICK + 120, NEWER)
    assert (await queue.excluded(REF)).keys == {key(1)}


async def test_an_edit_cancels_a_retry_that_was_released_and_leaves_replays_and_dead_letters(
    queue: QueueService, clock: Clock
) -> None:
    await make_dead_letters(queue, 1, 2)
    await start(queue, 1, tick=TICK + 60)
    again = Settlement(await one(queue), retry=retry(3, delay=5))
    await settle(queue, again)
    clock.advance(6)
    await released(queue, await one(queue))
    assert await queue.replay(REF, keys=[key(1)]) == 1
    await edited(queue, TICK + 120)
    assert (await queue.excluded(REF)).keys == {key(1), key(2)}
    replayed = [claim for claim in await take(queue, 5) if claim.job.is_retry]
    assert [claim.job.keys for claim in replayed] == [(key(1),)]
    await settle(queue, Settlement(replayed[0], dead=failed(1)))
    assert (await get_stats(queue)).dead == 2


async def test_what_fails_after_the_edit_of_its_plan_is_left_to_the_new_one(queue: QueueService, clock: Clock) -> None:
    old = await start(queue, 2, 2)
    await settle(queue, Settlement(await one(queue), applied=1, retry=retry(1, delay=5)))
    clock.advance(6)
    excluded, planned = await take(queue, 2)
    assert (excluded.job.is_retry, planned.job.is_retry) == (True, False)
    await edited(queue)
    late = await settle(
        queue,
        Settlement(excluded, retry=retry(1, attempt=3, delay=86_400.0)),
        Settlement(planned, applied=1, retry=retry(1002, delay=86_400.0)),
    )
    assert late.lost == ()
    stats = await get_stats(queue)
    assert (stats.delayed, stats.excluded, stats.ready) == (0, 0, 1)
    (before,) = stats.history
    assert (before.id, before.applied, before.skipped, before.retrying) == (old, 2, 2, 0)
    assert before.balanced


async def test_an_edit_leaves_a_job_to_its_worker_that_was_handed_out_before_older_ones(
    queue: QueueService, clock: Clock
) -> None:
    await start(queue, 5)
    await one(queue)
    await edited(queue)
    assert await queue.enqueue_check(REF, PLAN)  # waits in front of the plan job that the lease delays
    clock.advance(LIMITS.lease + 1)
    claim = await one(queue, "eve")
    assert claim.job.kind is JobKind.PLAN
    newest = msgspec.structs.replace(NEWER, generation=3, hash="cccc")
    assert (await open_sweep(queue, TICK + 120, newest)).answer is OpenResult.ENQUEUED
    assert await queue.extend(REF, [claim], LIMITS.lease) == ()
    stats = await get_stats(queue)
    assert (stats.running, stats.ready, stats.delayed) == (1, 1, 1)
    assert [job.job.kind for job in await take(queue, 5, "bob")] == [JobKind.CHECK]


async def test_an_edit_leaves_a_half_of_a_retry_to_the_worker_that_has_it(queue: QueueService, clock: Clock) -> None:
    await start(queue, 2)
    await settle(queue, Settlement(await one(queue), retry=retry(1, 2)))
    clock.advance(10)
    claim = await one(queue)
    halves = tuple(msgspec.structs.replace(claim.job, keys=(each,), rows=1) for each in claim.job.keys)
    await settle(queue, Settlement(claim, jobs=halves))
    busy = await one(queue)
    assert busy.job.keys == (key(1),)
    await edited(queue)
    assert (await queue.excluded(REF)).keys == {key(1)}
    await settle(queue, Settlement(busy, applied=1))
    assert (await queue.excluded(REF)).keys == frozenset()


async def test_an_edit_leaves_rows_that_are_retried_on_request(queue: QueueService) -> None:
    await start(queue, 2)
    await settle(queue, Settlement(await one(queue), retry=retry(1, 2, delay=86_400.0)))
    assert await queue.replay(REF, keys=[key(1)]) == 1
    await edited(queue)
    assert (await queue.excluded(REF)).keys == {key(1)}
    assert (await one(queue)).job.keys == (key(1),)
