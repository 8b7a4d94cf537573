from __future__ import annotations

import asyncio
from pathlib import Path

from kubesweep.queue.model import Claims, Limits, ScheduleRef, Settlement
from kubesweep.queue.service import QueueService
from kubesweep.queue.sqlite.queue import SqliteQueue
from tests.contract.backends import Clock, Open
from tests.contract.helpers import (
    LIMITS,
    OTHER,
    PLAN,
    REF,
    get_stats,
    latest,
    one,
    open_sweep,
    retry,
    settle,
    start,
    take,
)

SLOW = Limits(rows_per_second=100)


def ask(
    queue: QueueService, want: int = 1, *, timeout: float = 3600, limits: Limits = LIMITS, ref: ScheduleRef = REF
) -> asyncio.Task[Claims]:
    return asyncio.create_task(queue.claim_next(ref, "ann", want, limits, timeout))


async def _waiter(queue: QueueService, limits: Limits = LIMITS) -> asyncio.Task[Claims]:
    task = ask(queue, limits=limits)
    await get_stats(queue)  # a round trip of the same object: the waiter had its turn
    assert not task.done()
    return task


async def _some_turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_it_takes_what_another_process_enqueues(make_queue: Open) -> None:
    ann, bob = make_queue(), make_queue()
    waiting = await _waiter(ann)
    sweep = (await open_sweep(bob)).sweep
    (claim,) = (await waiting).jobs
    assert (claim.consumer, claim.delivery, claim.job.sweep) == ("ann", 1, sweep)
    assert (await get_stats(bob)).running == 1
    assert await bob.extend(REF, [claim], 30.0) == ()


async def test_it_takes_what_the_same_object_enqueues(queue: QueueService) -> None:
    waiting = await _waiter(queue)
    await queue.enqueue_check(REF, PLAN)
    assert len((await waiting).jobs) == 1


async def test_it_takes_at_once_what_is_ready_and_no_more_than_it_wants(queue: QueueService) -> None:
    await start(queue, 1, 1, 1)
    assert len((await ask(queue, 2)).jobs) == 2
    assert len((await ask(queue, 2)).jobs) == 1
    assert (await get_stats(queue)).running == 3


async def test_at_its_timeout_it_has_nothing_and_says_what_a_claim_says(queue: QueueService) -> None:
    assert (await ask(queue, timeout=0.01)).lost
    await start(queue, 1, 300)
    await settle(queue, Settlement(await one(queue), retry=retry(1, delay=30)))
    await settle(queue, Settlement(await one(queue, limits=SLOW), applied=300), limits=SLOW)
    for timeout in (0.0, 0.01):
        waited = await ask(queue, timeout=timeout, limits=SLOW)
        claimed = await queue.claim(REF, "ann", 1, SLOW)
        assert (waited.jobs, waited.lost) == ((), False)
        assert (waited.next_delayed, waited.excluded_version) == (claimed.next_delayed, claimed.excluded_version)
        assert waited.wait is not None


async def test_it_takes_a_retry_when_it_is_due(queue: QueueService, clock: Clock) -> None:
    await start(queue, 1)
    await settle(queue, Settlement(await one(queue), retry=retry(1, delay=30)))
    waiting = await _waiter(queue)
    clock.advance(30)
    (claim,) = (await waiting).jobs
    assert claim.job.is_retry


async def test_it_takes_a_job_whose_lease_ends(queue: QueueService, clock: Clock) -> None:
    await start(queue, 1)
    await one(queue, "eve")
    waiting = await _waiter(queue)
    clock.advance(LIMITS.lease)
    (claim,) = (await waiting).jobs
    assert (claim.consumer, claim.delivery) == ("ann", 2)


async def test_it_takes_a_job_once_the_row_budget_is_out_of_debt(queue: QueueService, clock: Clock) -> None:
    await start(queue, 300, 1)
    await settle(queue, Settlement(await one(queue, limits=SLOW), applied=300), limits=SLOW)
    waiting = await _waiter(queue, SLOW)
    clock.advance(2.01)
    assert len((await waiting).jobs) == 1


async def test_it_takes_nothing_while_paused(make_queue: Open) -> None:
    ann, bob = make_queue(), make_queue()
    await start(bob, 1)
    await bob.pause(REF, True)
    waiting = await _waiter(ann)
    await bob.pause(REF, False)
    assert len((await waiting).jobs) == 1


async def test_of_several_that_wait_one_takes_a_job(make_queue: Open) -> None:
    queues = [make_queue() for _ in range(3)]
    waiting = {await _waiter(queue) for queue in queues}
    await queues[0].enqueue_check(REF, PLAN)
    found: list[int] = []
    while 1 not in found:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        found += [len(each.result().jobs) for each in done]
    for each in waiting:
        each.cancel()
    if waiting:
        await asyncio.wait(waiting)
    assert sum(found) == 1
    assert (await get_stats(queues[0])).running == 1


async def test_cancelled_while_nothing_comes_it_holds_nothing(make_queue: Open) -> None:
    ann, bob = make_queue(), make_queue()
    await start(bob, 1)
    job = await one(bob, "bob")
    waiting = await _waiter(ann)
    waiting.cancel()
    await asyncio.wait({waiting})
    assert waiting.cancelled()
    assert await bob.release(REF, [job]) == ()
    stats = await get_stats(bob)
    assert (stats.ready, stats.running) == (1, 0)
    assert (await one(bob, "bob")).delivery == 1


async def test_cancelled_at_any_moment_it_releases_what_it_took_and_nothing_is_counted(make_queue: Open) -> None:
    ann, bob = make_queue(), make_queue()
    sweep = await start(bob, 7)
    for turns in range(0, 240, 6):
        job = await one(bob, "bob")
        assert job.delivery == 1
        waiting, giving = ask(ann), asyncio.create_task(bob.release(REF, [job]))
        await _some_turns(turns)
        waiting.cancel()
        await asyncio.wait({waiting, giving})
        if not waiting.cancelled():
            assert await ann.release(REF, waiting.result().jobs) == ()
        stats = await get_stats(bob)
        assert (stats.ready, stats.running) == (1, 0)
    settled = await settle(bob, Settlement(await one(bob), applied=7))
    assert settled.finished == (sweep,)
    assert (await latest(bob)).balanced


async def test_cancelled_twice_it_ends_and_the_lease_brings_back_what_it_took(make_queue: Open, clock: Clock) -> None:
    ann, bob = make_queue(), make_queue()
    await start(bob, 7)
    for turns in range(0, 240, 24):
        job = await one(bob, "bob")
        waiting, giving = ask(ann), asyncio.create_task(bob.release(REF, [job]))
        await _some_turns(turns)
        waiting.cancel()
        await _some_turns(turns % 7)
        waiting.cancel()
        await asyncio.wait({waiting, giving})
        assert giving.result() == ()
        await get_stats(ann)  # behind a claim whose caller is gone: its lease begins before the clock goes on
        clock.advance(LIMITS.lease)
        (again,) = await take(bob, 5, "bob")
        assert await bob.release(REF, [again]) == ()
    assert (await get_stats(bob)).running == 0


class LateAnswer(SqliteQueue):
    """A queue whose claims are made long before they are answered."""

    claimed, answer = asyncio.Event(), asyncio.Event()

    async def claim(self, ref: ScheduleRef, consumer: str, want: int, limits: Limits) -> Claims:
        claims = await super().claim(ref, consumer, want, limits)
        self.claimed.set()
        await self.answer.wait()
        return claims


async def test_on_sqlite_a_claim_that_was_made_and_not_answered_goes_back_too(tmp_path: Path) -> None:
    ann, bob = LateAnswer(str(tmp_path / "queue.db")), SqliteQueue(str(tmp_path / "queue.db"))
    await bob.enqueue_check(REF, PLAN)
    waiting = ask(ann)
    await ann.claimed.wait()
    assert (await get_stats(bob)).running == 1
    waiting.cancel()
    ann.answer.set()
    await asyncio.wait({waiting})
    assert waiting.cancelled()
    assert (await get_stats(bob)).running == 0
    assert (await one(bob)).delivery == 1
    await ann.close()
    await bob.close()


async def test_a_schedule_that_it_does_not_know_may_be_born_meanwhile(make_queue: Open) -> None:
    ann, bob = make_queue(), make_queue()
    waiting = ask(ann, ref=OTHER)
    await get_stats(ann)
    await open_sweep(bob, ref=OTHER)
    assert len((await waiting).jobs) == 1
