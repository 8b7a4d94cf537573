"""Fewer calls run at once where the receiver is congested, and all of them where it is only slow."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesweep.errors import Outage
from kubesweep_worker.flow_control.concurrency_limit import ConcurrencyLimit

CEILING = 20
TURNS = 6  # of the event loop, in which a task reaches its next call


class Receiver:
    """A queue in front of ``servers`` that need ``seconds()`` for each call, in simulated time.

    More than ``most`` calls at once are rejected with ``rejection``. ``peak``: the most calls at once since it was last cleared.
    """

    def __init__(self, servers: int, seconds: Callable[[], float], most: int = 10_000) -> None:
        self.seconds, self.most = seconds, most
        self.rejection = Outage("Http429", "too many", retry_after=1.0)
        self.now, self.inside, self.peak = 0.0, 0, 0
        self._free = [0.0] * servers
        self._numbers = itertools.count()
        self._ends: list[tuple[float, int, asyncio.Future[None]]] = []

    def grow(self, servers: int) -> None:
        for _ in range(servers):
            heapq.heappush(self._free, self.now)

    def shrink(self, servers: int) -> None:
        del self._free[servers:]

    async def call(self) -> None:
        self.inside += 1
        self.peak = max(self.peak, self.inside)
        try:
            rejected = self.inside > self.most
            begins = self.now if rejected else max(self.now, heapq.heappop(self._free))
            ends = begins + (0.02 if rejected else self.seconds())
            if not rejected:
                heapq.heappush(self._free, ends)
            ended = asyncio.get_running_loop().create_future()
            heapq.heappush(self._ends, (ends, next(self._numbers), ended))
            await ended
            if rejected:
                raise self.rejection
        finally:
            self.inside -= 1

    async def serve(self, limit: ConcurrencyLimit, calls: int, tasks: int = CEILING) -> float:
        """Make this many calls from some tasks; returns the seconds that they took."""
        began, left = self.now, iter(range(calls))

        async def work() -> None:
            for _ in left:
                async with limit:
                    try:
                        await limit.measure(self.call())
                    except Outage:
                        continue

        working = [asyncio.create_task(work()) for _ in range(tasks)]
        while not all(task.done() for task in working):
            for _ in range(TURNS):
                await asyncio.sleep(0)
            if self._ends:
                self.now, _, ended = heapq.heappop(self._ends)
                ended.set_result(None)
        await asyncio.gather(*working)
        return self.now - began


def limited(receiver: Receiver, ceiling: int = CEILING) -> ConcurrencyLimit:
    return ConcurrencyLimit(ceiling, lambda: receiver.now)


async def test_a_receiver_that_is_slow_at_every_load_keeps_the_whole_concurrency() -> None:
    receiver = Receiver(1000, lambda: 2.0)
    limit = limited(receiver)
    seconds = await receiver.serve(limit, 4000)
    assert limit.limit == CEILING
    assert seconds <= 1.02 * 4000 / CEILING * 2.0


async def test_calls_whose_time_varies_keep_almost_the_whole_concurrency() -> None:
    chance = random.Random(1)
    receiver = Receiver(1000, lambda: chance.expovariate(2.0))
    limit = limited(receiver)
    seconds = await receiver.serve(limit, 20_000)
    assert seconds <= 1.05 * 20_000 / CEILING * 0.5


async def test_a_few_very_slow_rows_are_no_sign_of_congestion() -> None:
    numbers = itertools.count()
    receiver = Receiver(1000, lambda: 30.0 if next(numbers) % 50 == 0 else 0.1)
    limit = limited(receiver)
    await receiver.serve(limit, 320)
    assert limit.limit == CEILING


async def test_a_receiver_that_becomes_slower_at_every_load_has_the_whole_concurrency_again() -> None:
    receiver = Receiver(1000, lambda: 0.05)
    limit = limited(receiver)
    await receiver.serve(limit, 200)
    receiver.seconds = lambda: 2.0
    seconds = await receiver.serve(limit, 400)
    assert limit.limit == CEILING
    assert seconds <= 1.15 * 400 / CEILING * 2.0


async def test_a_receiver_that_queues_calls_gets_about_as_many_as_it_can_serve() -> None:
    receiver = Receiver(5, lambda: 0.1)
    limit = limited(receiver)
    await receiver.serve(limit, 2000)
    receiver.peak = 0
    seconds = await receiver.serve(limit, 1000)
    assert receiver.peak <= 15
    assert seconds <= 1.1 * 1000 / 5 * 0.1


async def test_a_receiver_that_can_serve_more_gets_the_whole_concurrency_back() -> None:
    receiver = Receiver(5, lambda: 0.1)
    limit = limited(receiver)
    await receiver.serve(limit, 2000)
    assert limit.limit < CEILING
    receiver.grow(100)
    await receiver.serve(limit, 600)
    assert limit.limit == CEILING


async def test_a_receiver_that_becomes_congested_is_noticed_without_a_trial_that_is_due() -> None:
    receiver = Receiver(100, lambda: 0.02)
    limit = limited(receiver)
    await receiver.serve(limit, 100)
    receiver.shrink(5)
    await receiver.serve(limit, 120)
    assert limit.limit < CEILING


async def test_calls_that_are_too_quick_to_measure_are_not_limited() -> None:
    receiver = Receiver(1, lambda: 0.0004)
    limit = limited(receiver)
    await receiver.serve(limit, 2000)
    assert limit.limit == CEILING


async def test_rejected_calls_make_the_limit_smaller_and_it_returns_when_none_is_rejected() -> None:
    receiver = Receiver(1000, lambda: 0.1, most=4)
    limit = limited(receiver)
    await receiver.serve(limit, 200)
    assert limit.limit <= 5
    receiver.most = 1000
    await receiver.serve(limit, 300)
    assert limit.limit == CEILING


async def test_the_limit_also_returns_where_some_calls_fail_for_another_reason() -> None:
    receiver = Receiver(1000, lambda: 0.1, most=4)
    limit = limited(receiver)
    await receiver.serve(limit, 200)
    receiver.rejection = Outage("Http500", "a bug")
    receiver.most = 8
    await receiver.serve(limit, 400)
    assert limit.limit == CEILING


async def test_calls_that_are_rejected_together_halve_the_limit_once() -> None:
    receiver = Receiver(1000, lambda: 0.1, most=0)
    limit = limited(receiver)
    await receiver.serve(limit, CEILING)
    assert limit.limit == CEILING // 2


async def test_half_of_the_calls_that_run_is_less_than_half_of_the_limit() -> None:
    receiver = Receiver(1000, lambda: 0.1, most=0)
    limit = limited(receiver)
    await receiver.serve(limit, 6, tasks=6)
    assert limit.limit == 3


@pytest.mark.parametrize(
    ("outage", "limit"),
    [
        (Outage("Http429", "too many"), 10),
        (Outage("Http503", "busy", retry_after=2.0), 10),
        (Outage("Http503", "down"), 20),
        (Outage("Http502", "down", retry_after=2.0), 20),
        (Outage("Timeout", "no answer"), 20),
    ],
    ids=lambda value: f"{value.reason} {value.retry_after}" if isinstance(value, Outage) else str(value),
)
async def test_only_answers_that_say_too_many_make_the_limit_smaller(outage: Outage, limit: int) -> None:
    receiver = Receiver(1000, lambda: 0.1, most=0)
    receiver.rejection = outage
    found = limited(receiver)
    await receiver.serve(found, CEILING)
    assert found.limit == limit


async def test_no_more_calls_than_the_limit_run_and_a_cancelled_one_returns_its_slot() -> None:
    limit, let_go = ConcurrencyLimit(2, lambda: 0.0), asyncio.Event()
    inside: list[int] = []

    async def work(number: int) -> None:
        async with limit:
            inside.append(number)
            await let_go.wait()

    tasks = [asyncio.create_task(work(number)) for number in range(5)]
    for _ in range(TURNS):
        await asyncio.sleep(0)
    assert inside == [0, 1]
    tasks[2].cancel()  # while it waits
    tasks[0].cancel()  # frees a slot for 3
    await asyncio.sleep(0)
    tasks[3].cancel()  # at the moment at which it gets the slot
    for _ in range(TURNS):
        await asyncio.sleep(0)
    assert inside == [0, 1, 4]
    let_go.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert limit.running == 0


async def _answer(outage: Outage | None) -> None:
    if outage is not None:
        raise outage


@given(
    ceiling=st.integers(1, 50),
    calls=st.lists(st.tuples(st.floats(0, 5), st.sampled_from(["ok", "ok", "ok", "429"])), max_size=400),
)
def test_the_limit_stays_between_one_and_the_ceiling_and_grows_by_a_fifth_at_most(
    ceiling: int, calls: list[tuple[float, str]]
) -> None:
    now = [0.0]
    limit = ConcurrencyLimit(ceiling, lambda: now[0])

    async def later(seconds: float, kind: str) -> None:
        now[0] += seconds
        await _answer(Outage("Http429", "too many") if kind == "429" else None)

    def one(call: Awaitable[None]) -> None:
        async def work() -> None:
            async with limit:
                limit.running += limit.limit - 1  # as if all slots were taken
                try:
                    await limit.measure(call)
                except Outage:
                    pass
                finally:
                    limit.running = 1

        with asyncio.Runner() as runner:
            runner.run(work())

    for seconds, kind in calls:
        before, trial = limit.limit, limit._trial
        now[0] += 0.001
        one(later(seconds, kind))
        assert 1 <= limit.limit <= ceiling
        assert limit.limit <= max(-(-before * 6 // 5), trial[0] if trial else 0)
