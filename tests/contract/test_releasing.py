"""Releasing claimed jobs."""

from __future__ import annotations

import msgspec

from kubesweep.queue.model import JobKind, Settlement
from kubesweep.queue.service import QueueService
from tests.contract.backends import Clock
from tests.contract.helpers import (
    LIMITS,
    NEWER,
    PLAN,
    REF,
    TICK,
    get_stats,
    key,
    make_dead_letters,
    one,
    open_sweep,
    retry,
    settle,
    start,
    take,
)


async def test_releasing_counts_nothing_and_keeps_the_delivery_number(queue: QueueService, clock: Clock) -> None:
    await start(queue, 5)
    await one(queue)
    clock.advance(LIMITS.lease + 1)
    second = await one(queue)
    assert second.delivery == 2
    clock.advance(7)
    assert await queue.release(REF, [second]) == ()
    stats = await get_stats(queue)
    assert (stats.ready, stats.running, stats.oldest_ready) == (1, 0, clock.now)
    again = await one(queue, "bob")
    assert (again.job, again.delivery) == (second.job, 2)
    assert (await settle(queue, Settlement(again, applied=5), who="bob")).finished != ()


async def test_the_released_body_is_the_callers(queue: QueueService) -> None:
    await start(queue, 5)
    claim = await one(queue)
    left = msgspec.structs.replace(claim.job, low=key(3), rows=2, may_have_committed=True)
    await queue.release(REF, [msgspec.structs.replace(claim, job=left)])
    again = await one(queue, "bob")
    assert (again.job, again.delivery, again.redelivered) == (left, 1, True)


async def test_a_released_job_goes_behind_those_that_wait_longer(queue: QueueService, clock: Clock) -> None:
    await start(queue, 1, 2, 3)
    bad = await one(queue)
    clock.advance(1)
    await queue.release(REF, [bad])
    assert [claim.job.rows for claim in await take(queue, 1)] == [2]
    rest = await take(queue, 2)
    assert [claim.job.rows for claim in rest] == [3, 1]
    await queue.release(REF, rest)
    assert [claim.job.rows for claim in await take(queue, 5)] == [3, 1]


async def test_a_released_retry_goes_behind_waiting_jobs_and_those_behind_it(queue: QueueService, clock: Clock) -> None:
    await start(queue, 1, 2)
    await settle(queue, Settlement(await one(queue), retry=retry(7, delay=5)))
    clock.advance(5)
    retried = await one(queue)
    assert retried.job.is_retry
    await queue.release(REF, [retried])
    await queue.enqueue_check(REF, PLAN)
    assert [claim.job.kind for claim in await take(queue, 5)] == [JobKind.RANGE, JobKind.KEYS, JobKind.CHECK]


async def test_a_released_job_is_no_longer_the_callers(queue: QueueService) -> None:
    await start(queue, 5)
    claim = await one(queue)
    assert await queue.release(REF, [claim]) == ()
    assert await queue.release(REF, [claim]) == (claim.id,)
    assert (await settle(queue, Settlement(claim, applied=5))).lost == (claim.id,)
    assert (await get_stats(queue)).ready == 1


async def test_a_planned_job_released_to_a_settled_sweep_is_deleted(queue: QueueService) -> None:
    await start(queue, 5)
    claim = await one(queue)
    await open_sweep(queue, TICK + 60, NEWER)
    assert await queue.release(REF, [claim]) == ()
    stats = await get_stats(queue)
    assert (stats.ready, stats.running, stats.history[0].open_jobs) == (1, 0, 0)


async def test_a_released_retry_is_ready_at_once(queue: QueueService, clock: Clock) -> None:
    await make_dead_letters(queue, 1)
    await queue.replay(REF)
    claim = await one(queue)
    assert await queue.release(REF, [claim]) == ()
    assert (await one(queue)).job == claim.job
    assert (await get_stats(queue)).excluded == 1
