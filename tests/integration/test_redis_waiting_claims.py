"""A claim that waits in the server, on the server's own clock: nothing lies between the news and the claim, and whatever
happens to its connection or its caller, its job is claimed, is claimed again, or never left the queue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from kubesweep.errors import Outage
from kubesweep.queue.model import Claims, JobKind, Limits, PlanVersion, ScheduleRef, Settlement, Stats, SweepRequest
from kubesweep.queue.redis.queue import RedisQueue
from tests.kits.deadlines import scaled
from tests.kits.proxy import Proxy, Withholding
from tests.kits.servers import Server, binaries, shared

REF = ScheduleRef("local", "default", "expire-carts", "8b5f6f0e-0000-4000-8000-000000000001")
PLAN = PlanVersion(1, "aaaa")
LIMITS = Limits()
SHORT = Limits(lease=0.2)


@pytest.fixture(params=sorted(binaries()))
def server(request: pytest.FixtureRequest) -> Server:
    found = shared(request.param)
    with found.client() as client:
        client.flushall()
    return found


@pytest.fixture
async def bob(server: Server) -> AsyncIterator[RedisQueue]:
    made = RedisQueue(server.url)
    await made.enqueue_check(REF, PlanVersion(1, "before"))
    (claim,) = (await made.claim(REF, "bob", 1, LIMITS)).jobs
    await made.settle(REF, "bob", [Settlement(claim)], 0, LIMITS)
    yield made
    await made.close()


async def waiting(server: Server, queue: RedisQueue, limits: Limits = LIMITS) -> asyncio.Task[Claims]:
    task = asyncio.create_task(queue.claim_next(REF, "ann", 5, limits, 3600.0))
    await server.until_a_client_blocks()
    return task


async def cancelled(task: asyncio.Task[Claims]) -> None:
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


async def look(queue: RedisQueue) -> Stats:
    (stats,) = await queue.stats([REF])
    return stats


async def until_it_runs(queue: RedisQueue) -> None:
    async with asyncio.timeout(scaled(60)):
        while not (await look(queue)).running:  # noqa: ASYNC110  the server sends no event
            await asyncio.sleep(0)


async def settled_once(queue: RedisQueue, delivery: int, limits: Limits = LIMITS) -> None:
    """The check is there, was delivered that often, and nothing else is."""
    async with asyncio.timeout(scaled(60)):
        while not (jobs := (await queue.claim_next(REF, "bob", 5, limits, 10.0)).jobs):
            pass
    (claim,) = jobs
    assert (claim.job.kind, claim.delivery) == (JobKind.CHECK, delivery)
    assert (await queue.settle(REF, "bob", [Settlement(claim)], 5, LIMITS)).claims.jobs == ()
    stats = await look(queue)
    assert (stats.ready, stats.running) == (0, 0)


async def test_the_news_brings_the_job_and_nothing_is_asked_in_between(server: Server, bob: RedisQueue) -> None:
    async with Proxy(server.port) as proxy:
        ann = RedisQueue(proxy.url)
        await ann.claim(REF, "ann", 1, LIMITS)
        task = await waiting(server, ann)
        proxy.arrived.clear()
        await bob.enqueue_check(REF, PLAN)
        (claim,) = (await task).jobs
        assert not proxy.arrived.is_set()
        assert await bob.extend(REF, [claim], 30.0) == ()
        await ann.close()


async def test_a_connection_that_breaks_while_it_waits_claims_nothing(server: Server, bob: RedisQueue) -> None:
    async with Proxy(server.port) as proxy:
        ann = RedisQueue(proxy.url)
        task = await waiting(server, ann)
        proxy.hang_up()
        with pytest.raises(Outage) as cut:
            await task
        assert cut.value.reason == "QueueUnreachable"
        await server.until_no_client_blocks()
        await bob.enqueue_check(REF, PLAN)
        await settled_once(bob, 1)
        await ann.close()


async def test_a_job_whose_answer_is_lost_comes_again_after_its_lease(server: Server, bob: RedisQueue) -> None:
    async with Proxy(server.port) as proxy:
        ann = RedisQueue(proxy.url)
        await ann.claim(REF, "ann", 1, LIMITS)
        task = await waiting(server, ann, SHORT)
        proxy.cut = "reply"
        await bob.enqueue_check(REF, PLAN)
        with pytest.raises(Outage):
            await task
        await settled_once(bob, 2)
        await ann.close()


async def test_a_job_whose_answer_is_under_way_to_a_caller_who_left_goes_back(server: Server, bob: RedisQueue) -> None:
    async with Withholding(server.port) as proxy:
        ann = RedisQueue(proxy.url)
        await ann.claim(REF, "ann", 1, LIMITS)
        task = await waiting(server, ann)
        proxy.open.clear()
        await bob.enqueue_check(REF, PLAN)
        await until_it_runs(bob)
        task.cancel()
        asyncio.get_running_loop().call_soon(proxy.open.set)
        await asyncio.wait({task})
        assert task.cancelled()
        await settled_once(bob, 1)
        await ann.close()


async def test_a_caller_who_leaves_a_server_that_does_not_answer_waits_no_longer_than_for_an_answer(
    server: Server, bob: RedisQueue
) -> None:
    async with Withholding(server.port) as proxy:
        ann = RedisQueue(proxy.url + "?socket_timeout=2")
        await ann.claim(REF, "ann", 1, LIMITS)
        task = await waiting(server, ann, SHORT)
        proxy.open.clear()
        await bob.enqueue_check(REF, PLAN)
        await until_it_runs(bob)
        async with asyncio.timeout(scaled(60)):
            await cancelled(task)
        await settled_once(bob, 2)
        proxy.open.set()
        await ann.close()


async def test_a_caller_may_leave_at_any_moment(server: Server, bob: RedisQueue) -> None:
    ann = RedisQueue(server.url)
    await bob.enqueue_check(REF, PLAN)
    (claim,) = (await bob.claim(REF, "bob", 1, LIMITS)).jobs
    for turns in range(0, 400, 8):
        task = asyncio.create_task(ann.claim_next(REF, "ann", 5, LIMITS, 60.0))
        giving = asyncio.create_task(bob.release(REF, [claim]))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task, giving})
        if not task.cancelled():
            await ann.release(REF, task.result().jobs)
        assert (await look(bob)).running == 0
        (claim,) = (await bob.claim(REF, "bob", 1, LIMITS)).jobs
        assert claim.delivery == 1
    await bob.settle(REF, "bob", [Settlement(claim)], 0, LIMITS)
    await ann.close()


async def test_a_caller_who_will_not_wait_for_that_leaves_nothing_behind_in_the_server(
    server: Server, bob: RedisQueue
) -> None:
    async with Withholding(server.port) as proxy:
        ann = RedisQueue(proxy.url)
        await ann.claim(REF, "ann", 1, LIMITS)
        task = await waiting(server, ann)
        proxy.open.clear()
        task.cancel()
        await server.until_no_client_blocks()  # its read was ended, and no answer gets through
        await cancelled(task)
        await asyncio.sleep(0)
        assert not [one for one in asyncio.all_tasks() if "RedisQueue" in repr(one)]
        proxy.open.set()
        await bob.enqueue_check(REF, PLAN)
        await settled_once(bob, 1)
        await ann.close()


async def test_a_server_that_forgot_the_script_meanwhile_is_given_it_again(server: Server, bob: RedisQueue) -> None:
    ann = RedisQueue(server.url)
    task = await waiting(server, ann)
    with server.client() as client:
        client.script_flush()
    await bob.enqueue_check(REF, PLAN)
    (claim,) = (await task).jobs
    assert (claim.consumer, claim.delivery) == ("ann", 1)
    await ann.close()


async def test_a_queue_that_is_lost_meanwhile_is_waited_for(server: Server, bob: RedisQueue) -> None:
    ann = RedisQueue(server.url)
    task = await waiting(server, ann)
    with server.client() as client:
        client.flushall()
        await cancelled(await waiting(server, ann))
        assert client.dbsize() == 0
    sweep = (await bob.open_sweep(REF, SweepRequest(tick=1.0, plan=PLAN))).sweep
    (claim,) = (await task).jobs
    assert claim.job.sweep == sweep
    await ann.close()


async def test_a_closed_queue_ends_it(server: Server, bob: RedisQueue) -> None:
    ann = RedisQueue(server.url)
    task = await waiting(server, ann)
    await ann.close()
    with pytest.raises(Outage):
        await task
    await bob.enqueue_check(REF, PLAN)
    await settled_once(bob, 1)
