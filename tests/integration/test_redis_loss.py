"""Servers that lose data, restart or die, and workers that do: every operation answers lost, and the next tick recovers."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from kubesweep.errors import Outage
from kubesweep.queue.model import (
    FailedRow,
    Finding,
    JobKind,
    OpenResult,
    Pace,
    Retry,
    ScheduleRef,
    Settlement,
    Stats,
    SweepRequest,
    SweepState,
    Window,
)
from kubesweep.queue.redis.queue import RedisQueue
from tests.integration.one_row import KINDS
from tests.integration.redis_sweeps import LIMITS, PLAN, REF, planned
from tests.kits.deadlines import scaled
from tests.kits.servers import Server

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


pytestmark = KINDS


@pytest.fixture
def queue(emptied: RedisQueue) -> RedisQueue:
    return emptied


async def test_a_sweep_whose_jobs_are_lost_is_not_approved(redis_server: Server, queue: RedisQueue) -> None:
    """Its plan job could be enqueued, but no worker would ever claim it."""
    await queue.open_sweep(REF, SweepRequest(tick=1.0, plan=PLAN))
    (plan,) = (await queue.claim(REF, "ann", 1, LIMITS)).jobs
    assert await queue.end_sweep(REF, plan, SweepState.AWAITING_APPROVAL, "AboveApprovalLimit", "")
    with redis_server.client() as client:
        streams = list(client.scan_iter(_type="stream"))
        assert client.delete(*streams) == 1
        assert await queue.approve(REF) is None
        assert client.exists(*streams) == 0


async def test_after_a_flush_every_operation_says_lost_or_nothing_and_writes_nothing(
    redis_server: Server, queue: RedisQueue
) -> None:
    await queue.enqueue_check(REF, PLAN)
    await queue.open_sweep(REF, SweepRequest(tick=1.0, plan=PLAN))
    check, plan = (await queue.claim(REF, "ann", 2, LIMITS)).jobs
    row = FailedRow(("1",), "Bad", "")
    with redis_server.client() as client:
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
async def test_half_a_queue_is_lost_and_the_next_tick_recovers_it(
    redis_server: Server, queue: RedisQueue, part: str
) -> None:
    await planned(queue, 2)
    claims = (await queue.claim(REF, "ann", 2, LIMITS)).jobs
    with redis_server.client() as client:
        if part == "group":
            client.xgroup_destroy(f"{REF.prefix}:work", "w")
        else:
            client.unlink(f"{REF.prefix}:{part}")
    lost = tuple(claim.id for claim in claims)
    assert await queue.extend(REF, claims, 30.0) == lost
    settled = await queue.settle(REF, "ann", [Settlement(claim, applied=1) for claim in claims], 0, LIMITS)
    assert settled.lost == lost
    opened = await queue.open_sweep(REF, SweepRequest(tick=2.0, plan=PLAN))
    assert opened.answer is OpenResult.ENQUEUED
    (stats,) = await queue.stats([REF])
    assert (stats.ready, stats.running, stats.history) == (1, 0, ())
    (plan,) = (await queue.claim(REF, "ann", 5, LIMITS)).jobs
    assert plan.job.sweep == opened.sweep


async def test_a_waiting_job_of_a_sweep_that_is_lost_is_dropped(redis_server: Server, queue: RedisQueue) -> None:
    await planned(queue, 2)
    await queue.enqueue_check(REF, PLAN)
    with redis_server.client() as client:
        client.unlink(f"{REF.prefix}:sweeps")
    assert [claim.job.kind for claim in (await queue.claim(REF, "ann", 5, LIMITS)).jobs] == [JobKind.CHECK]
    (stats,) = await queue.stats([REF])
    assert (stats.ready, stats.running) == (0, 1)


@pytest.mark.parametrize("part", ["owner", "entry"])
async def test_a_lease_of_a_job_that_is_lost_is_dropped_and_keeps_no_other_from_a_claim(
    redis_server: Server, queue: RedisQueue, part: str
) -> None:
    await planned(queue, 2)
    lost, kept = (await queue.claim(REF, "ann", 2, LIMITS)).jobs
    with redis_server.client() as client:
        if part == "owner":
            client.xack(f"{REF.prefix}:work", "w", lost.id)
        else:
            client.xdel(f"{REF.prefix}:work", lost.id)
        client.zadd(f"{REF.prefix}:leases", {lost.id: 1.0, kept.id: 1.0})
    (again,) = (await queue.claim(REF, "bob", 5, LIMITS)).jobs
    assert (again.id, again.delivery) == (kept.id, 2)
    (stats,) = await queue.stats([REF])
    assert stats.running == 1


@pytest.mark.parametrize("part", ["meta", "work"])
async def test_a_pace_that_outlives_half_a_queue_was_not_set_since(
    redis_server: Server, queue: RedisQueue, part: str
) -> None:
    """A server that evicts keys may keep the one that only operators write."""
    await planned(queue, 2)
    await queue.set_pace(REF, Pace.of(5.0))
    with redis_server.client() as client:
        client.unlink(f"{REF.prefix}:{part}")
    await queue.open_sweep(REF, SweepRequest(tick=2.0, plan=PLAN))
    (stats,) = await queue.stats([REF])
    assert (stats.pace, stats.paced, stats.baseline) == (Pace.of(5.0), False, None)
    await queue.set_pace(REF, Pace.of(5.0))
    (stats,) = await queue.stats([REF])
    assert (stats.pace, stats.paced) == (Pace.of(5.0), True)


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


async def test_fifty_jobs_of_a_killed_worker_come_again_on_an_idle_queue(
    redis_server: Server, queue: RedisQueue
) -> None:
    lease = 1.0
    waiting = asyncio.create_task(queue.wait(REF, 3600.0))
    other = RedisQueue(redis_server.url)
    await planned(other, 50)
    await other.close()
    await waiting
    arguments = [
        sys.executable,
        "-c",
        KILLED_WORKER,
        redis_server.url,
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


async def test_scripts_that_the_server_forgot_are_sent_again(redis_server: Server, queue: RedisQueue) -> None:
    await planned(queue, 1)
    with redis_server.client() as client:
        client.script_flush()
        other = ScheduleRef("local", "default", "other", "00000000")
        known, unknown = await queue.stats([REF, other])
        assert (known.ready, unknown.known) == (1, False)
        client.script_flush()
        assert len((await queue.claim(REF, "ann", 1, LIMITS)).jobs) == 1
