"""Clocks that are ahead, behind or set back: the queue's own decides, and no mistake lasts."""

from __future__ import annotations

import pytest

from kubesweep.queue.model import AHEAD, BEHIND, OpenResult, Settlement
from kubesweep.queue.service import QueueService
from tests.contract.backends import Clock
from tests.contract.helpers import (
    LIMITS,
    NEWER,
    PLAN,
    REF,
    TICK,
    get_stats,
    one,
    open_sweep,
    retry,
    settle,
    start,
    take,
)

HOUR = 3600.0


async def test_a_tick_far_ahead_counts_as_now_and_swallows_none_of_those_until_then(queue: QueueService) -> None:
    opened = await open_sweep(queue, TICK + 2 * HOUR)
    assert (opened.answer, opened.ahead) == (OpenResult.ENQUEUED, 2 * HOUR)
    stats = await get_stats(queue)
    assert (stats.last_tick, stats.sweep and stats.sweep.tick) == (TICK, TICK)
    again = await open_sweep(queue, TICK + 60)
    assert (again.answer, again.ahead) == (OpenResult.FORBIDDEN, 0.0)


async def test_a_tick_a_little_ahead_keeps_its_time(queue: QueueService) -> None:
    opened = await open_sweep(queue, TICK + AHEAD)
    assert (opened.answer, opened.ahead, (await get_stats(queue)).last_tick) == (OpenResult.ENQUEUED, 0.0, TICK + AHEAD)
    assert (await open_sweep(queue, TICK + AHEAD)).answer is OpenResult.DUPLICATE


@pytest.mark.parametrize("once", [None, "job/1"])
async def test_ticks_go_on_after_the_clock_was_set_back(queue: QueueService, clock: Clock, once: str | None) -> None:
    await start(queue)
    clock.advance(-HOUR)
    assert (await open_sweep(queue, clock.now, dedup_key=once)).answer is OpenResult.ENQUEUED
    assert (await get_stats(queue)).last_tick == clock.now


async def test_a_request_without_a_time_is_made_now_by_the_queues_clock(queue: QueueService, clock: Clock) -> None:
    opened = await open_sweep(queue, None, dedup_key="instead of it")
    assert (opened.answer, opened.ahead, (await get_stats(queue)).last_tick) == (OpenResult.ENQUEUED, 0.0, clock.now)
    assert (await open_sweep(queue, None, dedup_key="instead of it")).answer is OpenResult.DUPLICATE
    clock.advance(-1)
    await open_sweep(queue, None, NEWER, dedup_key="instead of that")
    assert (await get_stats(queue)).last_tick == pytest.approx(clock.now + 1 + BEHIND, abs=1e-6)


async def test_a_lease_does_not_wait_until_a_clock_that_was_set_back_comes_there_again(
    queue: QueueService, clock: Clock
) -> None:
    await start(queue, 5)
    await one(queue, "dead")
    clock.advance(-HOUR)
    assert await take(queue, 1, "bob") == ()
    clock.advance(LIMITS.lease)
    assert (await one(queue, "bob")).delivery == 2


async def test_a_living_worker_keeps_its_claim_when_the_clock_is_set_back(queue: QueueService, clock: Clock) -> None:
    await start(queue, 5)
    claim = await one(queue)
    clock.advance(-HOUR)
    assert await take(queue, 1, "bob") == ()
    clock.advance(LIMITS.lease / 3)
    assert await queue.extend(REF, [claim], LIMITS.lease) == ()
    clock.advance(LIMITS.lease - 1)
    assert await take(queue, 1, "bob") == ()
    assert (await settle(queue, Settlement(claim, applied=5))).lost == ()


async def test_a_claim_says_how_long_the_next_retry_takes_by_the_queues_clock(
    queue: QueueService, clock: Clock
) -> None:
    await start(queue, 1)
    await settle(queue, Settlement(await one(queue), retry=retry(1, delay=40)))
    clock.advance(15)
    answer = await queue.claim(REF, "ann", 1, LIMITS)
    assert (answer.next_delayed, answer.next_in) == (clock.now + 25, 25)
    await queue.enqueue_check(REF, PLAN)
    settled = await queue.settle(REF, "ann", [], 0, LIMITS)
    assert settled.claims.next_in == 25
