"""What each user of docs/redis-acl.md does: one scenario a user, which calls every method that the user may call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from kubesweep.queue.model import (
    FailedRow,
    Finding,
    Job,
    JobKind,
    Limits,
    Pace,
    PlanVersion,
    Retry,
    Sample,
    ScheduleRef,
    Settlement,
    StaleRows,
    SweepRequest,
    SweepState,
    Window,
)
from kubesweep.queue.service import QueueService
from tests.contract.helpers import a_baseline

REF = ScheduleRef("inst0001", "shop", "expire-carts", "8b5f6f0e-0000-4000-8000-000000000001")
LIMITS = Limits(rows_per_second=1e6)
AT_ONCE = Limits(lease=0.0)
OLD, NEW = PlanVersion(1, "aaaa"), PlanVersion(2, "bbbb")

Scenario = Callable[[QueueService, QueueService], Awaitable[None]]


def row(number: int) -> FailedRow:
    return FailedRow((str(number),), "Rejected", "refused")


async def planned(queue: QueueService, *jobs: int, tick: float) -> str:
    sweep = (await queue.open_sweep(REF, SweepRequest(tick=tick, plan=OLD))).sweep
    (claim,) = (await queue.claim(REF, "planner", 1, LIMITS)).jobs
    cut = tuple(Job(JobKind.KEYS, OLD, sweep, keys=((str(n),),), rows=1) for n in jobs)
    assert await queue.advance(REF, claim, Window("now", cut, planned=len(jobs)))
    return sweep


async def worker(root: QueueService, queue: QueueService) -> None:
    now = time.time()
    await root.open_sweep(REF, SweepRequest(tick=now, plan=OLD))
    for number in range(65):
        await queue.report(REF, Finding(f"kind{number}", True, "Fine", "", OLD))
    assert (await queue.share_sample(REF, "7291/shop", "ann", Sample({"lockWaits": 1.0}))).measure
    (plan,) = (await queue.claim(REF, "ann", 1, LIMITS)).jobs
    assert await queue.extend(REF, [plan], 30.0) == ()
    cut = tuple(Job(JobKind.KEYS, OLD, plan.job.sweep, keys=((str(n),),), rows=1) for n in range(4))
    assert await queue.advance(REF, plan, Window("now", cut, planned=4))
    await queue.record_stale(REF, plan.job.sweep, StaleRows(4, now, ""))
    retried, dead, kept, back = (await queue.claim(REF, "ann", 4, LIMITS)).jobs
    done = [
        Settlement(retried, retry=(Retry((row(0),), 2, 0.0),)),
        Settlement(dead, dead=(row(1),)),
        Settlement(kept, rest=kept.job),
    ]
    settled = await queue.settle(REF, "ann", done, 1, LIMITS)
    (again,) = settled.claims.jobs
    assert again.job.is_retry
    assert len((await queue.excluded(REF)).keys) == 2
    assert len(await queue.error_groups(REF, state=None)) == 1
    assert len(await queue.dead_letters(REF, state=None)) == 2
    assert await queue.approved(REF) is None
    assert await queue.pace(REF) is None
    assert (await queue.reserve(REF, 1, LIMITS)).time is not None
    await queue.settle(REF, "ann", [Settlement(again, applied=1), Settlement(kept, applied=1)], 0, LIMITS)
    assert await queue.release(REF, [back]) == ()
    (given,) = (await queue.claim(REF, "ann", 1, AT_ONCE)).jobs
    (late,) = (await queue.claim_next(REF, "bob", 1, LIMITS, 1.0)).jobs
    assert (given.job, late.delivery) == (late.job, 2)
    waiting = asyncio.ensure_future(queue.wait(REF, 60.0))
    while not waiting.done():  # as soon as it listens it is woken
        await root.pause(REF, True)
        await root.pause(REF, False)
    await waiting
    assert await queue.end_sweep(REF, late, SweepState.FAILED, "TableMissing", "no table")
    assert (await queue.stats([REF]))[0].known
    await _later_sweeps(root, queue, now)


async def _later_sweeps(root: QueueService, queue: QueueService, now: float) -> None:
    """The rest of the worker's scenario: a superseded sweep, a retry that is due, and a sweep that halts."""
    await planned(root, 5, tick=now + 1)
    (bad,) = (await queue.claim(REF, "ann", 1, LIMITS)).jobs
    await root.open_sweep(REF, SweepRequest(tick=now + 2, plan=NEW))  # waits for the job that ann has
    await queue.settle(REF, "ann", [Settlement(bad, applied=1)], 0, LIMITS)
    await root.forget(REF)
    await planned(root, 8, tick=now + 3)
    (failed,) = (await queue.claim(REF, "ann", 1, LIMITS)).jobs
    await queue.settle(REF, "ann", [Settlement(failed, retry=(Retry((row(8),), 2, 0.0),))], 0, LIMITS)
    assert (await queue.stats([REF]))[0].ready == 1
    await root.forget(REF)
    sweep = await planned(root, 6, 7, tick=now + 4)
    bad, worse = (await queue.claim(REF, "ann", 2, LIMITS)).jobs
    full = Limits(halt_above=1)
    answer = await queue.settle(
        REF, "ann", [Settlement(bad, dead=(row(6),)), Settlement(worse, dead=(row(7),))], 0, full
    )
    assert answer.halted == (sweep,)


async def producer(root: QueueService, queue: QueueService) -> None:
    now = time.time()
    assert (await queue.open_sweep(REF, SweepRequest(tick=now - 60, plan=OLD))).sweep
    await root.forget(REF)
    await planned(root, 1, tick=now - 50)
    (claim,) = (await root.claim(REF, "ann", 1, LIMITS)).jobs
    await root.settle(REF, "ann", [Settlement(claim, dead=(row(1),))], 0, LIMITS)
    await planned(root, 2, tick=now - 40)
    assert (await queue.open_sweep(REF, SweepRequest(tick=now - 30, plan=NEW, retention=0.0))).sweep
    assert (await root.excluded(REF)).version > 0
    assert (await root.excluded(REF)).keys == frozenset()
    await root.forget(REF)
    await planned(root, 3, 4, 5, tick=now - 20)
    again, bad, _ = (await root.claim(REF, "ann", 3, LIMITS)).jobs
    failed = [Settlement(again, retry=(Retry((row(3),), 2, 60.0),)), Settlement(bad, dead=(row(4),))]
    await root.settle(REF, "ann", failed, 0, LIMITS)
    assert await root.replay(REF, keys=[("4",)]) == 1
    assert (await queue.open_sweep(REF, SweepRequest(tick=now - 10, plan=NEW))).sweep
    assert (await root.excluded(REF)).keys == {("4",)}


async def controller(root: QueueService, queue: QueueService) -> None:
    await producer(root, queue)
    await root.forget(REF)
    assert await queue.enqueue_check(REF, OLD)
    await root.claim(REF, "ann", 1, LIMITS)
    await planned(root, 1, 2, tick=time.time())
    one, two = (await root.claim(REF, "ann", 2, LIMITS)).jobs
    done = [Settlement(one, retry=(Retry((row(1),), 2, 0.0),)), Settlement(two, dead=(row(2),))]
    await root.settle(REF, "ann", done, 0, LIMITS)
    (stats,) = await queue.stats([REF])
    assert (stats.ready, stats.excluded, stats.dead) == (1, 2, 1)
    assert len(await queue.error_groups(REF)) == 1
    await queue.pause(REF, True)
    await queue.pause(REF, False)
    await queue.set_pace(REF, Pace.of(None, "5"))
    await queue.restore_baseline(REF, a_baseline())
    await root.open_sweep(REF, SweepRequest(tick=time.time() + 60, plan=OLD))
    await root.settle(REF, "ann", [Settlement(c, applied=1) for c in await taken(root, 1)], 0, LIMITS)
    (plan,) = await taken(root, 1)
    assert await root.end_sweep(REF, plan, SweepState.AWAITING_APPROVAL, "ManyRows", "approve it")
    assert await queue.approve(REF) == plan.job.sweep
    await queue.forget(REF)
    await planned(root, 1, 2, tick=time.time())
    done = [Settlement(claim, dead=(row(number),)) for number, claim in enumerate(await taken(root, 2))]
    await root.settle(REF, "ann", done, 0, LIMITS)
    assert len(await queue.dead_letters(REF)) == 2
    assert len((await queue.excluded(REF)).keys) == 2
    assert await queue.replay(REF, keys=[("1",)]) == 1
    assert await queue.purge(REF) == 2  # including the row that is retried


async def taken(queue: QueueService, want: int) -> Any:
    return (await queue.claim(REF, "ann", want, LIMITS)).jobs


async def operator(root: QueueService, queue: QueueService) -> None:
    await controller(root, queue)
    assert await queue.schedules() == (REF,)


SCENARIOS: dict[str, Scenario] = {
    "worker": worker,
    "producer": producer,
    "controller": controller,
    "operator": operator,
}
