"""A connection that breaks in any operation, before the request or the answer arrived: nothing is lost, stuck or
counted twice. The caller does what every caller does: it asks once more, and lives with the answer."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from typing import Any

import msgspec
import pytest

from kubesweep.errors import Outage
from kubesweep.queue.model import (
    Claim,
    FailedRow,
    Finding,
    Job,
    JobKind,
    Limits,
    PlanVersion,
    Retry,
    ScheduleRef,
    Settlement,
    SweepRequest,
    SweepState,
    Window,
)
from kubesweep.queue.redis.queue import RedisQueue
from kubesweep.queue.redis.scripts import script
from tests.contract.backends import Clock
from tests.kits.proxy import Cut, Proxy
from tests.kits.servers import Server, binaries, shared

REF = ScheduleRef("local", "default", "expire-carts", "8b5f6f0e-0000-4000-8000-000000000001")
PLAN = PlanVersion(1, "aaaa")
LIMITS = Limits()
ROWS = 8
OPERATIONS = (
    "open_sweep",
    "enqueue_check",
    "claim",
    "claim_next",
    "extend",
    "settle",
    "advance",
    "end_sweep",
    "approve",
    "release",
    "report",
    "replay",
    "pause",
)


class Caller:
    """Calls operations. The ``nth`` call of ``operation`` is cut once, and repeated."""

    def __init__(self, queue: RedisQueue, proxy: Proxy, operation: str, cut: Cut, nth: int) -> None:
        self.queue = queue
        self.proxy = proxy
        self.planned = (operation, nth)
        self.cut: Cut = cut
        self.calls: Counter[str] = Counter()

    async def __call__(self, operation: str, *arguments: Any) -> Any:
        self.calls[operation] += 1
        if (operation, self.calls[operation]) != self.planned:
            return await getattr(self.queue, operation)(*arguments)
        self.proxy.cut = self.cut
        with pytest.raises(Outage) as cut:
            await getattr(self.queue, operation)(*arguments)
        assert cut.value.reason == "QueueUnreachable"
        return await getattr(self.queue, operation)(*arguments)


class Worker:
    """Row 0 fails once, row 1 dies, row 2 is done in two parts, row 3 is released once, the others are applied."""

    def __init__(self, call: Caller) -> None:
        self.call = call
        self.retried_before = False
        self.given = False

    async def work(self, claim: Claim) -> None:
        if claim.job.kind is JobKind.PLAN:
            await self.plan(claim)
        elif claim.job.kind is JobKind.CHECK:
            await self.call("report", REF, Finding("SourceReady", True, "Checked", "", PLAN))
            await self.settle(Settlement(claim))
        else:
            await self.batch(claim)

    async def plan(self, claim: Claim) -> None:
        if await self.call("approved", REF) != claim.job.sweep:
            await self.call("end_sweep", REF, claim, SweepState.AWAITING_APPROVAL, "ManyRows", "approve it")
            await self.call("approve", REF)
            return
        cut = [
            Job(JobKind.KEYS, PLAN, claim.job.sweep, keys=((str(n),), (str(n + 1),)), rows=2) for n in range(0, ROWS, 2)
        ]
        window = Window("now", tuple(cut), planned=ROWS)
        await self.call("advance", REF, claim, window)

    async def batch(self, claim: Claim) -> None:
        (first, *more), excluded = claim.job.keys, claim.job.is_retry
        await self.call("extend", REF, [claim], 30.0)
        if first == ("0",) and not excluded:
            retry, dead = (FailedRow(first, "Late", ""),), (FailedRow(more[0], "Bad", ""),)
            await self.settle(Settlement(claim, retry=(Retry(retry, 2, 5.0),), dead=dead))
        elif first == ("2",) and more and not self.given:
            self.given = True
            await self.call("release", REF, [claim])
        elif first == ("4",) and more:
            rest = msgspec.structs.replace(claim.job, keys=tuple(more), rows=1)
            await self.settle(Settlement(claim, applied=1, rest=rest))
            await self.settle(Settlement(msgspec.structs.replace(claim, job=rest), applied=1))
        else:
            await self.settle(Settlement(claim, applied=len(claim.job.keys)))

    async def settle(self, settlement: Settlement) -> None:
        await self.call("settle", REF, "ann", [settlement], 0, LIMITS)


async def sweep_once(call: Caller, clock: Clock) -> None:
    """Everything that a queue goes through between a tick and an empty queue."""
    await call("open_sweep", REF, SweepRequest(tick=clock.now, plan=PLAN))
    await call("enqueue_check", REF, PLAN)
    await call("pause", REF, True)
    await call("pause", REF, False)
    worker, replayed, idle = Worker(call), False, 0
    ways: Any = itertools.cycle((("claim",), ("claim_next", 0.0)))
    while idle < 3:
        operation, *timeout = next(ways)
        claims = await call(operation, REF, "ann", 2, LIMITS, *timeout)
        for claim in claims.jobs:
            await worker.work(claim)
        idle = 0 if claims.jobs else idle + 1
        if not claims.jobs:
            clock.advance(31.0)
        if idle == 2 and not replayed:
            replayed, idle = True, 0
            await call("replay", REF)


@pytest.fixture(params=sorted(binaries()))
def server(request: pytest.FixtureRequest) -> Server:
    found = shared(request.param)
    with found.client() as client:
        client.flushall()
        for operation in (*OPERATIONS, "next_event", "stats", "excluded"):
            if operation != "claim_next":  # it sends claim
                client.script_load(script(operation).source)
    return found


@pytest.mark.parametrize("cut", ["request", "reply"])
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_cut_in_any_operation_loses_nothing_and_counts_nothing_twice(
    server: Server, operation: str, cut: Cut
) -> None:
    nth, done = 1, False
    while not done:
        clock = Clock()
        async with Proxy(server.port) as proxy:
            queue = RedisQueue(proxy.url, clock=clock)
            await queue.forget(REF)
            call = Caller(queue, proxy, operation, cut, nth)
            await sweep_once(call, clock)
            (stats,) = await queue.stats([REF])
            assert stats.sweep is not None
            assert (stats.ready, stats.running, stats.delayed, stats.excluded, stats.dead) == (0, 0, 0, 0, 0)
            assert (stats.sweep.state, stats.sweep.planned) == (SweepState.COMPLETED, ROWS)
            assert (stats.sweep.applied, stats.sweep.open_jobs, stats.sweep.balanced) == (ROWS, 0, True)
            assert len(stats.findings) == 1
            done = proxy.cuts == 0
            nth += 1
            await queue.close()
    with server.client() as client:
        assert client.xlen(f"{REF.prefix}:work") == 0
    assert nth > 2


async def test_a_wait_that_is_cut_says_so_and_the_next_one_works(server: Server) -> None:
    async with Proxy(server.port) as proxy:
        queue, other = RedisQueue(proxy.url), RedisQueue(server.url)
        await queue.open_sweep(REF, SweepRequest(tick=1.0, plan=PLAN))
        await queue.claim(REF, "ann", 1, LIMITS)
        waiting = asyncio.create_task(queue.wait(REF, 20.0))
        await server.until_a_client_blocks()
        proxy.hang_up()
        with pytest.raises(Outage) as cut:
            await waiting
        assert cut.value.reason == "QueueUnreachable"
        waiting = asyncio.create_task(queue.wait(REF, 20.0))
        await other.enqueue_check(REF, PLAN)
        await waiting
        assert (await queue.claim(REF, "ann", 1, LIMITS)).jobs[0].job.kind is JobKind.CHECK
        await queue.close()
        await other.close()
