"""A new rate reaches rows that wait, and takes back the time slots of the rate before."""

from __future__ import annotations

import asyncio

import pytest

from kubesweep.queue.model import Budget, Settlement
from kubesweep_worker.flow_control.rate_limiter import RateLimiter
from kubesweep_worker.settings import WorkerSettings
from tests.unit.worker.test_rate_limiter import Clock, a_run


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def settled_loop() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def stuck_clock(clock: Clock) -> WorkerSettings:
    """Settings whose sleeps, except those of no time, end only when they are cancelled."""

    async def sleep(seconds: float) -> None:
        if seconds > 0:
            await asyncio.Event().wait()

    return WorkerSettings(monotonic=clock, sleep=sleep)


async def test_a_new_rate_returns_all_slots_and_gives_new_ones(clock: Clock) -> None:
    asked: list[int] = []

    async def reserve(rows: int) -> Budget:
        asked.append(rows)
        return Budget(100.0)

    rate_limiter = RateLimiter(0.001, stuck_clock(clock), reserve, asyncio.Event())
    rate_limiter.add_job(run := a_run(10), Budget(0.0))
    waiting = [asyncio.create_task(rate_limiter.acquire(run)) for _ in range(3)]
    await settled_loop()
    assert asked == []
    rate_limiter.set_rate(50.0)
    assert await asyncio.gather(*waiting) == [True] * 3
    assert asked[0] == -10
    assert sum(asked[1:]) == 3
    assert rate_limiter.settled(run, Settlement(run.claim, applied=10)).refund == 0


async def test_rate_0_starts_no_row_until_another_rate_is_set(clock: Clock) -> None:
    async def reserve(_: int) -> Budget:
        raise AssertionError("rows that may not start request no slot")

    rate_limiter = RateLimiter(None, stuck_clock(clock), reserve, asyncio.Event())
    rate_limiter.add_job(run := a_run(2), Budget())
    assert await rate_limiter.acquire(run)
    rate_limiter.set_rate(0.0)
    waiting = asyncio.create_task(rate_limiter.acquire(run))
    await settled_loop()
    assert not waiting.done()
    rate_limiter.set_rate(None)
    assert await waiting


async def test_rows_that_may_not_wait_end_at_rate_0(clock: Clock) -> None:
    async def reserve(_: int) -> Budget:
        return Budget()

    rate_limiter = RateLimiter(0.0, stuck_clock(clock), reserve, asyncio.Event())
    waiting = asyncio.create_task(rate_limiter.acquire(a_run(1)))
    await settled_loop()
    assert not waiting.done()
    rate_limiter.set_rate(0.0, wait=False)
    assert not await waiting
    rate_limiter.set_rate(0.0)
    waiting = asyncio.create_task(rate_limiter.acquire(a_run(1)))
    await settled_loop()
    assert not waiting.done()
    rate_limiter.set_rate(None)
    assert await waiting


async def test_a_stop_ends_the_wait_at_rate_0(clock: Clock) -> None:
    stopping = asyncio.Event()

    async def reserve(_: int) -> Budget:
        return Budget()

    rate_limiter = RateLimiter(0.0, stuck_clock(clock), reserve, stopping)
    waiting = asyncio.create_task(rate_limiter.acquire(a_run(1)))
    await settled_loop()
    stopping.set()
    assert not await waiting
