"""Servers that lose data, restart or die, and workers that do: every operation answers lost, and the next tick recovers."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable

import pytest
import redis

from kubesweep.errors import Outage
from kubesweep.queue.model import (
    Claim,
    FailedRow,
    Finding,
    Job,
    JobKind,
    Limits,
    OpenResult,
    PlanVersion,
    Retry,
    ScheduleRef,
    Settlement,
    Stats,
    SweepRequest,
    SweepState,
    Window,
)
from kubesweep.queue.redis.arguments import body
from kubesweep.queue.redis.queue import RedisQueue
from kubesweep.queue.redis.scripts import KEY_NAMES
from kubesweep.queue.service import QueueService
from tests.contract.backends import Clock
from tests.kits.deadlines import scaled
from tests.kits.servers import Server, binaries, shared

REF = ScheduleRef("local", "default", "expire-carts", "8b5f6f0e-0000-4000-8000-000000000001")
PLAN = PlanVersion(1, "aaaa")
LIMITS = Limits()
KILLED_WORKER = """
import asyncio, sys
from kubesweep.queue.model import Limits, ScheduleRef
from kubesweep.queue.redis.queue import RedisQueue

async def main(url, lease, *ref):
    queue = RedisQueue(url)
    claims = await queue.claim(ScheduleRef(*ref), "doomed", 50, Limits(lease=float(lease)))
    print(len(claims.jobs), flush=True)
    await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture(params=sorted(binaries()))
def server(request: pytest.FixtureRequest) -> Server:
    found = shared(request.param)
    with found.client() as client:
        client.flushall()
    return found


@pytest.fixture
async def queue(server: Server) -> AsyncIterator[RedisQueue]:
    made = RedisQueue(server.url)
    yield made
    await made.close()


async def planned(queue: QueueService, jobs: int, tick: float = 1.0) -> str:
    sweep = (await queue.open_sweep(REF, SweepRequest(tick=tick, plan=PLAN))).sweep
    (claim,) = (await queue.claim(REF, "planner", 1, LIMITS)).jobs
    cut = tuple(Job(JobKind.KEYS, PLAN, sweep, keys=((str(n),),), rows=1) for n in range(jobs))
    assert await queue.advance(REF, claim, Window("now", cut, planned=jobs))
    return sweep


async def test_after_a_flush_every_operation_says_lost_or_nothing_and_writes_nothing(
    server: Server, queue: RedisQueue
) -> None:
    await queue.enqueue_check(REF, PLAN)
    await queue.open_sweep(REF, SweepRequest(tick=1.0, plan=PLAN))
    check, plan = (await queue.claim(REF, "ann", 2, LIMITS)).jobs
    row = FailedRow(("1",), "Bad", "")
    with server.client() as client:
        client.flushall()
        assert (await queue.claim(REF, "ann", 1, LIMITS)).lost
        assert await queue.extend(REF, [check, plan], 30.0) == (check.id, plan.id)
        settled = await queue.settle(
            REF, "ann", [Settlement(check, dead=(row,)), Settlement(plan, retry=(Retry((row,), 2, 1.0),))], 1, LIMITS
        )
        assert (settled.lost, settled.claims.lost) == ((check.id, plan.id), True)
        assert not await queue.advance(REF, plan, Window("now"))
        assert not await queue.end_sweep(REF, plan, SweepState.FAILED, "Reason", "")
        assert await queue.release(REF, [plan]) == (plan.id,)
        assert await queue.approve(REF) is None
        await queue.pause(REF, True)
        await queue.report(REF, Finding("Effect", True, "Fine", "", PLAN))
        excluded = await queue.excluded(REF)
        assert (excluded.version, excluded.keys) == (0, frozenset())
        assert await queue.stats([REF]) == (Stats(),)
        assert await queue.error_groups(REF) == ()
        assert await queue.dead_letters(REF) == ()
        assert (await queue.replay(REF), await queue.purge(REF)) == (0, 0)
        await queue.wait(REF, 0.001)
        assert client.dbsize() == 0
    assert (await queue.open_sweep(REF, SweepRequest(tick=1.0, plan=PLAN))).answer is OpenResult.ENQUEUED
    (again,) = (await queue.claim(REF, "ann", 1, LIMITS)).jobs
    assert again.job.kind is JobKind.PLAN


@pytest.mark.parametrize("part", ["meta", "work", "group"])
async def test_half_a_queue_is_lost_and_the_next_tick_recovers_it(server: Server, queue: RedisQueue, part: str) -> None:
    await planned(queue, 2)
    claims = (await queue.claim(REF, "ann", 2, LIMITS)).jobs
    with server.client() as client:
        if part == "group":
            client.xgroup_destroy(f"{REF.prefix}:work", "w")
        else:
            client.unlink(f"{REF.prefix}:{part}")
    settled = await queue.settle(REF, "ann", [Settlement(claim, applied=1) for claim in claims], 0, LIMITS)
    assert settled.lost == tuple(claim.id for claim in claims)
    opened = await queue.open_sweep(REF, SweepRequest(tick=2.0, plan=PLAN))
    assert opened.answer is OpenResult.ENQUEUED
    (stats,) = await queue.stats([REF])
    assert (stats.ready, stats.running, stats.history) == (1, 0, ())
    (plan,) = (await queue.claim(REF, "ann", 5, LIMITS)).jobs
    assert plan.job.sweep == opened.sweep


@pytest.mark.parametrize("kind", sorted(binaries()))
async def test_claims_outlive_a_killed_server_that_keeps_a_log(kind: str) -> None:
    server = Server(kind, appendonly="yes", appendfsync="no").start()
    queue = RedisQueue(server.url)
    sweep = await planned(queue, 4)
    one, two, three = (await queue.claim(REF, "ann", 3, LIMITS)).jobs
    row = FailedRow(("0",), "Late", "")
    await queue.settle(REF, "ann", [Settlement(one, retry=(Retry((row,), 2, 0.0),))], 0, LIMITS)
    server.kill()
    with pytest.raises(Outage) as down:
        await queue.claim(REF, "ann", 1, LIMITS)
    assert down.value.reason == "QueueUnreachable"
    server.start()
    settled = await queue.settle(REF, "ann", [Settlement(two, applied=1), Settlement(one, applied=1)], 5, LIMITS)
    assert settled.lost == (one.id,)
    assert {claim.job.is_retry for claim in settled.claims.jobs} == {True, False}
    done = [Settlement(claim, applied=1) for claim in (three, *settled.claims.jobs)]
    assert (await queue.settle(REF, "ann", done, 1, LIMITS)).finished == (sweep,)
    (stats,) = await queue.stats([REF])
    assert stats.sweep is not None
    assert (stats.sweep.applied, stats.sweep.retrying, stats.running, stats.ready) == (4, 0, 0, 0)
    await queue.close()
    server.remove()


async def test_fifty_jobs_of_a_killed_worker_come_again_on_an_idle_queue(server: Server, queue: RedisQueue) -> None:
    lease = 1.0
    waiting = asyncio.create_task(queue.wait(REF, 3600.0))
    other = RedisQueue(server.url)
    await planned(other, 50)
    await other.close()
    await waiting
    arguments = [
        sys.executable,
        "-c",
        KILLED_WORKER,
        server.url,
        str(lease),
        *(str(x) for x in (REF.install, REF.namespace, REF.name, REF.uid)),
    ]
    worker = await asyncio.create_subprocess_exec(*arguments, stdout=subprocess.PIPE)
    assert worker.stdout is not None
    assert await worker.stdout.readline() == b"50\n"
    worker.kill()
    await worker.wait()
    found: set[str] = set()
    async with asyncio.timeout(scaled(60)):
        while len(found) < 50:
            await queue.wait(REF, 3600.0)
            claims = await queue.claim(REF, "ann", 50, LIMITS)
            found |= {claim.id for claim in claims.jobs}
            assert {claim.delivery for claim in claims.jobs} <= {2}


async def test_whatever_brings_work_ends_a_wait(server: Server, queue: RedisQueue) -> None:
    other = RedisQueue(server.url)
    row = FailedRow(("0",), "Late", "")

    async def ended_by(operation: Awaitable[object]) -> None:
        waiting = asyncio.create_task(queue.wait(REF, 3600.0))
        await server.until_a_client_blocks()
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


async def next_job(queue: QueueService) -> Claim:
    while True:
        if jobs := (await queue.claim(REF, "bob", 1, LIMITS)).jobs:
            return jobs[0]
        await queue.wait(REF, 3600.0)


async def test_a_paused_queue_with_work_does_not_keep_a_wait_awake(server: Server, queue: RedisQueue) -> None:
    await queue.open_sweep(REF, SweepRequest(tick=time.time(), plan=PLAN))
    await queue.pause(REF, True)
    waiting = asyncio.create_task(queue.wait(REF, 3600.0))
    await server.until_a_client_blocks()
    assert not waiting.done()
    await queue.pause(REF, False)
    await waiting


async def test_scripts_that_the_server_forgot_are_sent_again(server: Server, queue: RedisQueue) -> None:
    await planned(queue, 1)
    with server.client() as client:
        client.script_flush()
        other = ScheduleRef("local", "default", "other", "00000000")
        known, unknown = await queue.stats([REF, other])
        assert (known.ready, unknown.known) == (1, False)
        client.script_flush()
        assert len((await queue.claim(REF, "ann", 1, LIMITS)).jobs) == 1


async def test_dead_letters_are_found_behind_a_thousand_others(queue: RedisQueue) -> None:
    many, most = Limits(halt_above=10_000), 5000
    await planned(queue, 2)
    rare, often = (await queue.claim(REF, "ann", 2, many)).jobs
    await queue.settle(REF, "ann", [Settlement(rare, dead=rows(0, 5, "Rare"))], 0, many)
    await queue.settle(REF, "ann", [Settlement(often, dead=rows(5, 2505, "Often"))], 0, many)
    assert len(await queue.dead_letters(REF, most=most)) == 2505
    assert len(await queue.dead_letters(REF, most=1001)) == 1001
    assert {letter.error for letter in await queue.dead_letters(REF, error="Rare", most=3)} == {"Rare"}
    assert len(await queue.dead_letters(REF, error="Rare")) == 5
    assert [(group.error, group.count) for group in await queue.error_groups(REF)] == [("Often", 2500), ("Rare", 5)]
    assert await queue.replay(REF, error="Often") == 2500
    assert await queue.purge(REF) == 2505  # rows in retry are within reach too


def rows(first: int, end: int, error: str) -> tuple[FailedRow, ...]:
    return tuple(FailedRow((str(number),), error, "") for number in range(first, end))


@pytest.mark.slow
async def test_every_key_has_an_end_and_twenty_four_hours_of_ticks_leave_nothing_behind(server: Server) -> None:
    clock = Clock()
    queue = RedisQueue(server.socket_url, clock=clock)
    with server.client() as client:
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


async def test_keys_that_are_created_later_expire_too(server: Server, queue: RedisQueue) -> None:
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
    await queue.report(REF, Finding("Effect", True, "Fine", "", PLAN))
    await queue.pause(REF, False)
    with server.client() as client:
        found = {name: client.ttl(name) for name in client.keys("*")}
    assert found.keys() == {*(f"{REF.prefix}:{name}" for name in KEY_NAMES), f"control:{REF.prefix}"}
    assert min(found.values()) > 0


async def test_only_a_tick_puts_off_the_end_of_a_key(server: Server, queue: RedisQueue) -> None:
    await planned(queue, 4)
    one, two, three, _ = (await queue.claim(REF, "ann", 4, LIMITS)).jobs
    late, bad = FailedRow(("0",), "Late", ""), FailedRow(("1",), "Bad", "")
    failing = Settlement(one, retry=(Retry((late,), 2, 9.0),), dead=(bad,))
    await queue.settle(REF, "ann", [failing, Settlement(two, rest=two.job)], 0, LIMITS)
    await queue.report(REF, Finding("Effect", True, "Fine", "", PLAN))
    with server.client() as client:
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


async def test_an_empty_schedule_takes_at_most_two_kibibytes(server: Server, queue: RedisQueue) -> None:
    schedules = 500
    with server.client() as client:
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


async def test_a_job_in_flight_takes_at_most_700_bytes_besides_its_body(server: Server, queue: RedisQueue) -> None:
    jobs = 5000
    await planned(queue, 0)
    with server.client() as client:
        before = client.info("memory")["used_memory_dataset"]
        await planned(queue, jobs, tick=2.0)
        claims = (await queue.claim(REF, "ann", jobs, LIMITS)).jobs
        assert len(claims) == jobs
        grown = client.info("memory")["used_memory_dataset"] - before
        assert grown / jobs - len(body(claims[0].job)) <= 700
