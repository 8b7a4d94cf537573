"""Every key of a schedule expires, and a schedule and its jobs take little memory."""

from __future__ import annotations

import json
import uuid

import pytest
import redis

from kubesweep.queue.model import (
    ATTEMPTS,
    FailedRow,
    Finding,
    OpenResult,
    Retry,
    ScheduleRef,
    Settlement,
    SweepRequest,
    Window,
)
from kubesweep.queue.redis.arguments import body
from kubesweep.queue.redis.queue import RedisQueue
from kubesweep.queue.redis.scripts import KEY_NAMES
from tests.contract.backends import Clock
from tests.integration.one_row import KINDS
from tests.integration.redis_sweeps import LIMITS, PLAN, REF, planned
from tests.kits.servers import Server

pytestmark = KINDS


@pytest.fixture
def queue(emptied: RedisQueue) -> RedisQueue:
    return emptied


@pytest.mark.slow
async def test_every_key_has_an_end_and_twenty_four_hours_of_ticks_leave_nothing_behind(redis_server: Server) -> None:
    clock = Clock()
    queue = RedisQueue(redis_server.socket_url, clock=clock)
    with redis_server.client() as client:
        settled_down = (0, 0)
        for tick in range(24 * 720):
            clock.advance(5.0)
            opened = await queue.open_sweep(REF, SweepRequest(tick=clock.now, plan=PLAN))
            assert opened.answer is OpenResult.ENQUEUED
            (claim,) = (await queue.claim(REF, f"worker{tick}", 1, LIMITS)).jobs
            assert await queue.advance(REF, claim, Window("now"))
            if tick == 100:
                settled_down = client.dbsize(), memory(client)
        keys, size = settled_down
        assert client.dbsize() == keys
        assert abs(memory(client) - size) <= 128  # the digits of counters
        assert all(client.ttl(name) > 6 * 86400 for name in client.keys("*"))
        assert client.xinfo_consumers(f"{REF.prefix}:work", "w") != []
        assert len(client.xinfo_consumers(f"{REF.prefix}:work", "w")) <= 2
    await queue.close()


def memory(client: redis.Redis) -> int:
    """Bytes that the keys of the schedule take."""
    names = [*(f"{REF.prefix}:{name}" for name in KEY_NAMES), f"control:{REF.prefix}"]
    return sum(int(client.memory_usage(name, samples=0) or 0) for name in names)


async def test_keys_that_are_created_later_expire_too(redis_server: Server, queue: RedisQueue) -> None:
    await planned(queue, 4)
    one, two, three, _ = (await queue.claim(REF, "ann", 4, LIMITS)).jobs
    done = [
        Settlement(
            one,
            retry=(Retry((FailedRow(("0",), "Late", ""),), 2, 0.0), Retry((FailedRow(("9",), "Late", ""),), 2, 9.0)),
        ),
        Settlement(two, dead=(FailedRow(("1",), "Bad", ""),)),
        Settlement(three, rest=three.job),
    ]
    await queue.settle(REF, "ann", done, 1, LIMITS)
    with redis_server.client() as client:
        assert client.ttl(f"{REF.prefix}:early") > 0, "before anything puts off the end of every key"
    await queue.report(REF, Finding("Effect", True, "Fine", "", PLAN))
    await queue.pause(REF, False)
    with redis_server.client() as client:
        found = {name: client.ttl(name) for name in client.keys("*")}
    assert found.keys() == {*(f"{REF.prefix}:{name}" for name in KEY_NAMES), f"control:{REF.prefix}"}
    assert min(found.values()) > 0


async def test_of_a_row_that_fails_for_ever_only_the_latest_attempts_are_stored(
    redis_server: Server, queue: RedisQueue
) -> None:
    await planned(queue, 1)
    (claim,) = (await queue.claim(REF, "ann", 1, LIMITS)).jobs
    for attempt in range(ATTEMPTS + 3):
        again = Retry((FailedRow(("0",), f"Error{attempt}", ""),), attempt + 2, 0.0)
        await queue.settle(REF, "ann", [Settlement(claim, retry=(again,))], 0, LIMITS)
        (claim,) = (await queue.claim(REF, "ann", 1, LIMITS)).jobs
    with redis_server.client() as client:
        (record,) = client.hvals(f"{REF.prefix}:excluded")
    errors = [error for _, error, _ in json.loads(record)["a"]]
    assert errors == [f"Error{attempt}" for attempt in range(3, ATTEMPTS + 3)]


async def test_only_a_tick_puts_off_the_end_of_a_key(redis_server: Server, queue: RedisQueue) -> None:
    await planned(queue, 4)
    one, two, three, _ = (await queue.claim(REF, "ann", 4, LIMITS)).jobs
    late, bad = FailedRow(("0",), "Late", ""), FailedRow(("1",), "Bad", "")
    failing = Settlement(one, retry=(Retry((late,), 2, 9.0),), dead=(bad,))
    await queue.settle(REF, "ann", [failing, Settlement(two, rest=two.job)], 0, LIMITS)
    await queue.report(REF, Finding("Effect", True, "Fine", "", PLAN))
    with redis_server.client() as client:
        names = client.keys("*")
        for name in names:
            client.expire(name, 1000)
        late, bad = FailedRow(("2",), "Late", ""), FailedRow(("3",), "Bad", "")
        failing = Settlement(three, retry=(Retry((late,), 2, 9.0),), dead=(bad,))
        await queue.settle(REF, "ann", [failing, Settlement(two, applied=0, rest=two.job)], 0, LIMITS)
        await queue.report(REF, Finding("Effect", True, "Fine", "", PLAN))
        assert await queue.extend(REF, [two], 30.0) == ()
        assert max(client.ttl(name) for name in names) <= 1000
        await queue.open_sweep(REF, SweepRequest(tick=2.0, plan=PLAN))
        assert min(client.ttl(name) for name in names if not name.endswith(":wake")) > 1000


async def test_an_empty_schedule_takes_at_most_two_kibibytes(redis_server: Server, queue: RedisQueue) -> None:
    schedules = 500
    with redis_server.client() as client:
        await planned(queue, 0)
        await queue.forget(REF)
        before = client.info("memory")["used_memory_dataset"]
        for number in range(schedules):
            ref = ScheduleRef(
                "inst0001", "default", "expire-conversations-idle", f"{number:08d}-0000-4000-8000-000000000001"
            )
            await queue.open_sweep(ref, SweepRequest(tick=1.0, plan=PLAN))
            (plan,) = (await queue.claim(ref, str(uuid.uuid4()), 1, LIMITS)).jobs
            assert await queue.advance(ref, plan, Window("2027-01-15 08:00:00+00"))
        assert (client.info("memory")["used_memory_dataset"] - before) / schedules <= 2048


async def test_a_job_in_flight_takes_at_most_700_bytes_besides_its_body(
    redis_server: Server, queue: RedisQueue
) -> None:
    jobs = 5000
    await planned(queue, 0)
    with redis_server.client() as client:
        before = client.info("memory")["used_memory_dataset"]
        await planned(queue, jobs, tick=2.0)
        claims = (await queue.claim(REF, "ann", jobs, LIMITS)).jobs
        assert len(claims) == jobs
        grown = client.info("memory")["used_memory_dataset"] - before
        assert grown / jobs - len(body(claims[0].job)) <= 700
