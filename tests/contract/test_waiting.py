from __future__ import annotations

import asyncio

from kubesweep.queue.model import Limits, Settlement, SweepState, Window
from kubesweep.queue.service import QueueService
from tests.contract.backends import Clock, Open
from tests.contract.helpers import (
    CUTOFF,
    LIMITS,
    PLAN,
    REF,
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

SLOW = Limits(rows_per_second=100)


async def _waiter(queue: QueueService) -> asyncio.Task[None]:
    task = asyncio.create_task(queue.wait(REF, 3600))
    await get_stats(queue)  # a round trip of the same object: the waiter had its turn
    assert not task.done()
    return task


async def test_a_wait_ends_at_its_timeout(queue: QueueService) -> None:
    await queue.wait(REF, 0.01)
    await queue.enqueue_check(REF, PLAN)
    await one(queue)
    await queue.wait(REF, 0.01)


async def test_a_wait_ends_when_another_process_opens_a_sweep(make_queue: Open) -> None:
    ann, bob = make_queue(), make_queue()
    waiting = await _waiter(ann)
    await open_sweep(bob)
    await waiting


async def test_a_wait_ends_when_the_same_object_opens_a_sweep(queue: QueueService) -> None:
    waiting = await _waiter(queue)
    await open_sweep(queue)
    await waiting


async def test_a_wait_ends_at_once_where_something_is_ready(queue: QueueService) -> None:
    await open_sweep(queue)
    await queue.wait(REF, 3600)


async def test_a_wait_ends_when_a_window_a_gift_a_resume_or_a_replay_arrives(make_queue: Open) -> None:
    ann, bob = make_queue(), make_queue()
    sweep = (await open_sweep(bob)).sweep
    plan = await one(bob)
    waiting = await _waiter(ann)
    await bob.advance(REF, plan, Window(CUTOFF, (range_job(sweep, 5),), plan_job(sweep), planned=5))
    await waiting
    job, plan = await take(bob, 2)
    waiting = await _waiter(ann)
    await bob.release(REF, [plan])
    await waiting
    await bob.pause(REF, True)
    waiting = await _waiter(ann)
    await bob.pause(REF, False)
    await waiting
    assert await bob.end_sweep(REF, await one(bob), SweepState.AWAITING_APPROVAL, "AboveApprovalLimit", "")
    await settle(bob, Settlement(job, applied=5))
    waiting = await _waiter(ann)
    await bob.approve(REF)
    await waiting


async def test_a_wait_ends_when_a_retry_is_due(queue: QueueService, clock: Clock) -> None:
    await start(queue, 1)
    await settle(queue, Settlement(await one(queue), retry=retry(1, delay=30)))
    waiting = await _waiter(queue)
    clock.advance(30)
    await waiting
    await one(queue)


async def test_a_wait_ends_when_a_lease_expires(queue: QueueService, clock: Clock) -> None:
    await start(queue, 1)
    await one(queue)
    waiting = await _waiter(queue)
    clock.advance(LIMITS.lease)
    await waiting
    assert (await one(queue, "bob")).delivery == 2


async def test_a_wait_ends_when_the_row_budget_is_out_of_debt(queue: QueueService, clock: Clock) -> None:
    await start(queue, 300, 1)
    await settle(queue, Settlement(await one(queue, limits=SLOW), applied=300), limits=SLOW)
    waiting = await _waiter(queue)
    clock.advance(2.01)
    await waiting
    await one(queue, limits=SLOW)
