"""Check jobs: one of each plan at a time."""

from __future__ import annotations

from kubesweep.queue.model import Job, JobKind, PlanVersion, Settlement, SweepState
from kubesweep.queue.service import QueueService
from tests.contract.backends import Clock, Open
from tests.contract.helpers import (
    LIMITS,
    NEWER,
    PLAN,
    REF,
    get_stats,
    one,
    settle,
    take,
)


async def test_a_check_is_enqueued_unless_one_of_its_plan_waits_or_runs_and_may_create_the_schedule(
    make_queue: Open,
) -> None:
    ann, bob = make_queue(), make_queue()
    assert await ann.enqueue_check(REF, PLAN)
    assert not await bob.enqueue_check(REF, PlanVersion(7, PLAN.hash))
    claim = await one(ann)
    assert claim.job == Job(JobKind.CHECK, PLAN)
    assert not await bob.enqueue_check(REF, PLAN)
    assert await bob.enqueue_check(REF, NEWER)
    stats = await get_stats(ann)
    assert (stats.known, stats.ready, stats.running, stats.sweep) == (True, 1, 1, None)
    settled = await settle(ann, Settlement(claim))
    assert (settled.lost, settled.finished) == ((), ())
    assert await bob.enqueue_check(REF, PLAN)
    assert [claim.job.plan for claim in await take(ann, 9)] == [NEWER, PLAN]


async def test_a_check_that_was_lost_or_released_is_done_again(queue: QueueService, clock: Clock) -> None:
    await queue.enqueue_check(REF, PLAN)
    await one(queue)
    clock.advance(LIMITS.lease + 1)
    claim = await one(queue, "bob")
    assert claim.delivery == 2
    assert await queue.release(REF, [claim]) == ()
    claim = await one(queue)
    assert not await queue.end_sweep(REF, claim, SweepState.FAILED, "x", "x")
    assert (await get_stats(queue)).running == 0
