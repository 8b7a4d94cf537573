"""A wait for work ends as soon as an operation brings work, and not before."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable

import pytest

from kubesweep.queue.model import (
    Claim,
    FailedRow,
    Job,
    JobKind,
    Limits,
    Retry,
    Settlement,
    SweepRequest,
    SweepState,
    Window,
)
from kubesweep.queue.redis.queue import RedisQueue
from kubesweep.queue.service import QueueService
from tests.integration.one_row import KINDS
from tests.integration.redis_sweeps import LIMITS, PLAN, REF, planned
from tests.kits.deadlines import scaled
from tests.kits.servers import Server

pytestmark = KINDS


@pytest.fixture
def queue(emptied: RedisQueue) -> RedisQueue:
    return emptied


async def test_whatever_brings_work_ends_a_wait(redis_server: Server, queue: RedisQueue) -> None:
    other = RedisQueue(redis_server.url)
    row = FailedRow(("0",), "Late", "")

    async def ended_by(operation: Awaitable[object]) -> None:
        waiting = asyncio.create_task(queue.wait(REF, 3600.0))
        await redis_server.until_a_client_blocks()
        await operation
        async with asyncio.timeout(scaled(60)):
            await waiting

    await ended_by(other.open_sweep(REF, SweepRequest(tick=1.0, plan=PLAN)))
    (plan,) = (await other.claim(REF, "bob", 1, LIMITS)).jobs
    await ended_by(other.enqueue_check(REF, PLAN))
    (check,) = (await other.claim(REF, "bob", 1, LIMITS)).jobs
    await ended_by(other.release(REF, [check]))
    (check,) = (await other.claim(REF, "bob", 1, LIMITS)).jobs
    await other.end_sweep(REF, plan, SweepState.AWAITING_APPROVAL, "ManyRows", "")
    await ended_by(other.approve(REF))
    (plan,) = (await other.claim(REF, "bob", 1, LIMITS)).jobs
    cut = Job(JobKind.KEYS, PLAN, plan.job.sweep, keys=(("0",),), rows=1)
    await ended_by(other.advance(REF, plan, Window("now", (cut,), planned=1)))
    (job,) = (await other.claim(REF, "bob", 1, LIMITS)).jobs
    await ended_by(other.settle(REF, "bob", [Settlement(job, retry=(Retry((row,), 2, 0.1),))], 0, LIMITS))
    again = await next_job(other)
    await other.settle(REF, "bob", [Settlement(again, dead=(row,))], 0, LIMITS)
    await ended_by(other.replay(REF))
    await other.pause(REF, True)
    await ended_by(other.pause(REF, False))
    await other.close()


async def test_a_single_row_that_is_refunded_ends_the_wait_for_the_end_of_a_debt(
    redis_server: Server, queue: RedisQueue
) -> None:
    other, slow = RedisQueue(redis_server.url), Limits(rows_per_second=0.001, lease=3600.0)
    await planned(other, 2)
    await other.claim(REF, "ann", 1, slow)
    waiting = asyncio.create_task(queue.claim_next(REF, "bob", 1, slow, 3600.0))
    await redis_server.until_a_client_blocks()
    assert (await other.reserve(REF, -1, slow)).rows < 0
    async with asyncio.timeout(scaled(60)):
        assert len((await waiting).jobs) == 1
    await other.close()


async def next_job(queue: QueueService) -> Claim:
    while True:
        if jobs := (await queue.claim(REF, "bob", 1, LIMITS)).jobs:
            return jobs[0]
        await queue.wait(REF, 3600.0)


async def test_a_paused_queue_with_work_does_not_keep_a_wait_awake(redis_server: Server, queue: RedisQueue) -> None:
    await queue.open_sweep(REF, SweepRequest(tick=time.time(), plan=PLAN))
    await queue.pause(REF, True)
    waiting = asyncio.create_task(queue.wait(REF, 3600.0))
    await redis_server.until_a_client_blocks()
    assert not waiting.done()
    await queue.pause(REF, False)
    await waiting
