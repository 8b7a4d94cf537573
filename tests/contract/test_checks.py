"""Check jobs: once for each plan, and again on request."""

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


async def test_a_check_is_enqueued_once_per_plan_hash_and_may_create_the_schedule(make_queue: Open) -> None:
    ann, bob = make_queue(), make_queue()
    assert await ann.enqueue_check(REF, PLAN)
    assert not await bob.enqueue_check(REF, PlanVersion(7, PLAN.hash))
    assert await bob.enqueue_check(REF, NEWER)
    stats = await get_stats(ann)
    assert (stats.known, stats.ready, stats.sweep) == (True, 2, None)
    claim = await one(ann)
    assert claim.job == Job(JobKind.CHECK, PLAN)
    settled = await settle(ann, Settlement(claim), want=1)
    assert (settled.lost, settled.finished) == ((), ())
    assert settled.claims.jobs[0].job == Job(JobKind.CHECK, NEWER)
    assert not await ann.enqueue_check(REF, PLAN)


async def test_a_check_is_enqueued_again_only_where_none_of_its_plan_waits_or_runs(make_queue: Open) -> None:
    ann, bob = make_queue(), make_queue()
    assert await ann.enqueue_check(REF, PLAN, again=True)
    assert not await bob.enqueue_check(REF, PLAN, again=True)
    claim = await one(ann)
    assert not await bob.enqueue_check(REF, PLAN, again=True)
    assert await bob.enqueue_check(REF, NEWER, again=True)
    await settle(ann, Settlement(claim))
    assert not await bob.enqueue_check(REF, PLAN)
    assert await bob.enqueue_check(REF, PLAN, again=True)
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
