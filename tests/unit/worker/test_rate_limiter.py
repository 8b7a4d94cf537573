"""The rate limiter: no burst after a delay, one rate for all workers, and no slot that is kept without need."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kubesweep.api.plan import Plan, RetryPolicy, RowLimits
from kubesweep.errors import Outage, RowError, Skip
from kubesweep.queue.model import Budget, Claim, Job, JobKind, Settlement, SweepState
from kubesweep_worker.effects.base import Delivery
from kubesweep_worker.flow_control.rate_limiter import RateLimiter
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.settings import WorkerSettings
from tests.kits.worker import MemorySource, ScriptedEffect, Workbench, a_plan, key, with_effect

WINDOW = 10.0


class Clock:
    """Time that passes only while everybody sleeps: the one who wakes up first moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        until = self.now + seconds
        await asyncio.sleep(0)
        self.now = max(self.now, until)


def most_in_a_window(times: list[float]) -> int:
    return max(sum(1 for each in times if start <= each < start + WINDOW) for start in times)


def a_run(rows: int) -> JobRun:
    return JobRun(Claim("1", "me", 1, Job(JobKind.RANGE, rows=rows)), lambda: 0.0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def asked() -> list[int]:
    return []


@pytest.fixture
def rate_limiter(clock: Clock, asked: list[int]) -> RateLimiter:
    async def reserve(rows: int) -> Budget:
        asked.append(rows)
        return Budget()

    settings = WorkerSettings(monotonic=clock, sleep=clock.sleep)
    return RateLimiter(5.0, settings, reserve, asyncio.Event())


async def test_what_was_saved_up_goes_at_once_and_the_rest_at_the_rate(rate_limiter: RateLimiter, clock: Clock) -> None:
    rate_limiter.add_job(run := a_run(8), Budget(3.0))
    times = []
    for _ in range(8):
        assert await rate_limiter.acquire(run)
        times.append(round(clock.now - 1000.0, 3))
    assert times == [0.0, 0.0, 0.0, 0.2, 0.4, 0.6, 0.8, 1.0]


async def test_slots_that_passed_unused_are_lost_and_requested_again(
    rate_limiter: RateLimiter, clock: Clock, asked: list[int]
) -> None:
    rate_limiter.add_job(run := a_run(10), Budget(0.0))
    assert await rate_limiter.acquire(run)
    clock.now += 60.0
    for _ in range(3):
        assert await rate_limiter.acquire(run)
    assert asked == [1, 1, 1]
    assert clock.now >= 1060.0 + 0.6


async def test_a_worker_that_is_slower_than_the_rate_keeps_no_slot_for_rows_that_cannot_begin(
    rate_limiter: RateLimiter, clock: Clock, asked: list[int]
) -> None:
    rate_limiter.add_job(run := a_run(1000), Budget(0.0))
    assert await rate_limiter.acquire(run)
    clock.now += 60.0
    assert await rate_limiter.acquire(run)
    (refunded,) = asked
    assert 690 <= -refunded <= 705  # all that are ahead, 60 s later
    for _ in range(10):
        assert await rate_limiter.acquire(run)
    assert set(asked[1:]) == {1}
    assert rate_limiter.released(run, run.claim).refund == 0


async def test_a_slot_that_would_lie_far_behind_is_asked_for_again(clock: Clock) -> None:
    budget, asked = [-300.0, -299.0, -3.0], []

    async def reserve(rows: int) -> Budget:
        asked.append(clock.now - 1000.0)
        return Budget(budget.pop(0))

    rate_limiter = RateLimiter(5.0, WorkerSettings(monotonic=clock, sleep=clock.sleep), reserve, asyncio.Event())
    run = a_run(1)
    assert await rate_limiter.acquire(run)
    assert asked == [0.0, 0.5, 1.0]
    assert clock.now == 1001.0 + 4 / 5


async def test_a_settlement_releases_the_slots_that_are_ahead_and_not_those_that_passed(
    rate_limiter: RateLimiter, clock: Clock
) -> None:
    rate_limiter.add_job(run := a_run(100), Budget(0.0))
    assert await rate_limiter.acquire(run)
    clock.now += 10.0
    part = rate_limiter.settled(run, Settlement(run.claim, applied=1, skipped=99))
    assert 45 <= part.refund <= 55
    assert part.refund + (part.spent or 0) == 100


async def test_a_part_releases_no_slot_that_its_rest_needs(rate_limiter: RateLimiter) -> None:
    rate_limiter.add_job(run := a_run(100), Budget(0.0))
    rate_limiter.add_job(other := a_run(30), Budget(-100.0))
    rest = Job(JobKind.RANGE, rows=40)
    assert rate_limiter.settled(run, Settlement(run.claim, skipped=60, rest=rest)).refund == 60
    assert rate_limiter.released(other, other.claim).refund == 30
    assert rate_limiter.settled(run, Settlement(Claim("1", "me", 1, rest), skipped=40)).refund == 40


async def test_a_stop_ends_the_wait_for_a_slot_and_the_slot_goes_back(clock: Clock) -> None:
    stopping = asyncio.Event()

    async def sleep(seconds: float) -> None:
        stopping.set()
        await asyncio.Event().wait()

    async def reserve(rows: int) -> Budget:
        raise Outage("X", "x")

    rate_limiter = RateLimiter(5.0, WorkerSettings(monotonic=clock, sleep=sleep), reserve, stopping)
    rate_limiter.add_job(run := a_run(10), Budget(0.0))
    assert not await rate_limiter.acquire(run)
    assert rate_limiter.released(run, run.claim).refund == 10


@pytest.mark.parametrize("late", [0.05, 0.5, 1.0])
async def test_an_answer_that_comes_late_moves_no_slot(
    rate_limiter: RateLimiter, clock: Clock, asked: list[int], late: float
) -> None:
    reported = clock.now
    rate_limiter.add_job(
        run := a_run(20), Budget(0.0, time=7000.0)
    )  # an answer at once: the queue's clock is 6,000 s ahead
    for _ in range(20):
        assert await rate_limiter.acquire(run)
    clock.now = reported + 4.0 + late
    rate_limiter.add_job(late_run := a_run(20), Budget(0.0, time=7004.0))
    for _ in range(20):
        assert await rate_limiter.acquire(late_run)
    assert clock.now == pytest.approx(reported + 8.0)
    assert asked == []


async def test_a_queue_whose_clock_was_set_back_gives_slots_at_once_again(clock: Clock) -> None:
    queue, asked = Clock(), []

    async def reserve(rows: int) -> Budget:
        asked.append(rows)
        return Budget(0.0, queue.now)

    rate_limiter = RateLimiter(5.0, WorkerSettings(monotonic=clock, sleep=clock.sleep), reserve, asyncio.Event())
    rate_limiter.add_job(run := a_run(5), Budget(0.0, queue.now))
    queue.now -= 5.0
    for _ in range(5):
        assert await rate_limiter.acquire(run)
    clock.now += 10.0
    queue.now += 10.0
    began = clock.now
    for _ in range(5):
        assert await rate_limiter.acquire(run)
    assert asked == [1, 1, 1, 1, 1]
    assert clock.now - began <= 5 / 5 + 0.2


@pytest.fixture
async def bench(tmp_path: Path, clock: Clock) -> AsyncIterator[Workbench]:
    limits = RowLimits(batch_rows=40, rows_per_second=5.0)
    retry = RetryPolicy(max_attempts=2, backoff=1.0, max_backoff=2.0)
    plan: Plan = with_effect(a_plan(limits=limits, retry=retry, halt_above=10_000))
    settings = WorkerSettings(monotonic=clock, sleep=clock.sleep, deadline=1e9, lease=1e9, concurrency=2)
    made = Workbench(tmp_path, MemorySource(150), plan, ScriptedEffect(), settings, clock)
    yield made
    await made.queue.close()


def answer(status: int, number: int) -> None:
    if status == 422:
        raise RowError("Http422", "no such customer")
    if status == 503 and number < 40:
        raise Outage("Http503", "the receiver answered 503")
    if status == 204 and number % 2:
        raise Skip


@pytest.mark.parametrize("status", [200, 204, 422, 503])
async def test_effects_keep_to_the_rate_whatever_the_receiver_answers(
    bench: Workbench, clock: Clock, status: int
) -> None:
    times: list[float] = []

    def script(delivery: Delivery) -> Any:
        times.append(clock.now)
        answer(status, len(times))

    bench.effect.script = script
    await bench.open()
    await asyncio.gather(*(bench.worker().run(until_settled=True, await_retries=True) for _ in range(2)))
    stats = await bench.stats()
    assert stats.sweep is not None
    assert stats.sweep.state in (SweepState.COMPLETED, SweepState.HALTED)
    assert len(times) >= (100 if status == 422 else 150)
    assert most_in_a_window(times) <= WINDOW * 5 + 50
    assert times[-1] - times[0] >= (len(times) - 25) / 5.0 * 0.9


async def test_rows_that_are_not_stale_any_more_cost_no_slot(bench: Workbench, clock: Clock) -> None:
    bench.source.stale_keys = {key(i) for i in range(150)}
    await bench.open()

    def cut_and_gone(call: str) -> None:
        if call == "stale":
            bench.source.stale_keys &= {key(149)}

    bench.source.down = cut_and_gone
    await bench.run()
    assert len(bench.effect.calls) == 1
    assert clock.now - 1000.0 < 15.0
