"""While a sweep awaits approval no retry is claimed: a worker would write by conditions, or to a database, that nobody approved."""

from __future__ import annotations

import asyncio

import pytest

from kubesweep.queue.model import Claim, JobKind, PlanVersion, Settlement, SweepState, Window
from kubesweep.queue.service import QueueService
from tests.contract.backends import Clock, Open
from tests.contract.helpers import (
    CUTOFF,
    LIMITS,
    NEWER,
    REF,
    TICK,
    a_baseline,
    dead_keys,
    get_stats,
    key,
    make_dead_letters,
    one,
    open_sweep,
    plan_job,
    range_job,
    retry,
    settle,
    start,
    take,
)

DAY = 86_400.0


async def await_approval(queue: QueueService, tick: float = TICK + 60) -> str:
    sweep = (await open_sweep(queue, tick)).sweep
    (claim,) = [claim for claim in await take(queue, 5, "planner") if claim.job.kind is JobKind.PLAN]
    assert await queue.end_sweep(REF, claim, SweepState.AWAITING_APPROVAL, "PredicateChanged", "match differs")
    return sweep


def rows_of(claims: tuple[Claim, ...]) -> list[str]:
    return sorted(row for claim in claims if claim.job.is_retry for (row,) in claim.job.keys)


async def test_a_dead_letter_that_is_retried_meanwhile_is_claimed_after_the_approval(queue: QueueService) -> None:
    await make_dead_letters(queue, 1, 2, 3)
    sweep = await await_approval(queue)
    assert await queue.replay(REF, keys=[key(1), key(2)]) == 2
    assert await take(queue, 5) == ()
    stats = await get_stats(queue)
    assert (stats.retries_blocked, stats.ready, stats.delayed, stats.oldest_ready) == (True, 0, 1, None)
    assert (await dead_keys(queue), (await queue.excluded(REF)).keys) == ([key(3)], {key(1), key(2), key(3)})
    assert await queue.approve(REF) == sweep
    assert (await get_stats(queue)).retries_blocked is False
    again, plan = await take(queue, 5)
    assert (again.job.keys, again.delivery, plan.job.kind) == ((key(1), key(2)), 1, JobKind.PLAN)


async def test_retries_that_waited_were_delayed_or_were_claimed_before_are_blocked_too(
    queue: QueueService, clock: Clock
) -> None:
    await make_dead_letters(queue, 1, 2, 3, 4)
    await queue.replay(REF, keys=[key(4)])
    running = await one(queue, "crashes")
    await queue.replay(REF, keys=[key(3)])
    released = await one(queue)
    await queue.replay(REF, keys=[key(2)])
    worked_on = await one(queue)
    sweep = (await open_sweep(queue, TICK + 60)).sweep
    plan = await one(queue)
    assert (plan.job.kind, plan.job.sweep) == (JobKind.PLAN, sweep)
    await queue.replay(REF, keys=[key(1)])  # it waits
    await queue.end_sweep(REF, plan, SweepState.AWAITING_APPROVAL, "OtherDatabase", "")
    assert await queue.release(REF, [released]) == ()
    await settle(queue, Settlement(worked_on, retry=retry(2, delay=10)))
    assert await take(queue, 5) == ()
    clock.advance(DAY)
    claims = await queue.claim(REF, "ann", 5, LIMITS)
    assert (claims.jobs, claims.next_delayed) == ((), None)
    stats = await get_stats(queue)
    assert (stats.ready, stats.running, stats.delayed) == (0, 0, 4)
    assert (await settle(queue, Settlement(running, applied=1), who="crashes")).lost == (running.id,)
    await queue.approve(REF)
    claimed = await take(queue, 9)
    assert rows_of(claimed) == ["1", "2", "3", "4"]
    assert {claim.job.keys: claim.delivery for claim in claimed if claim.job.is_retry} == {
        (key(1),): 1, (key(2),): 1, (key(3),): 1, (key(4),): 2,
    }  # fmt: skip
    done = [Settlement(claim, applied=1) for claim in claimed if claim.job.is_retry]
    assert (await settle(queue, *done)).lost == ()


async def test_rows_in_retry_that_a_person_wants_now_wait_for_the_approval(queue: QueueService) -> None:
    await start(queue, 3)
    await settle(queue, Settlement(await one(queue), applied=1, retry=retry(1, 2, delay=DAY)))
    await await_approval(queue)
    assert await queue.replay(REF, keys=[key(1)]) == 1
    assert await take(queue, 5) == ()
    assert await queue.replay(REF, keys=[key(1)]) == 0  # it is due already
    assert await queue.purge(REF, keys=[key(2)]) == 1
    await queue.approve(REF)
    assert rows_of(await take(queue, 5)) == ["1"]


async def test_the_sweep_of_a_newer_spec_keeps_them_blocked_until_it_plans(queue: QueueService, clock: Clock) -> None:
    """Otherwise a retry would be tried by the newer spec before it is known whether that one needs an approval."""
    await make_dead_letters(queue, 1)
    await await_approval(queue)
    await queue.replay(REF)
    opened = await open_sweep(queue, TICK + 120, NEWER)
    plan = await one(queue)
    assert (plan.job.kind, plan.job.sweep) == (JobKind.PLAN, opened.sweep)
    assert await take(queue, 5) == ()
    assert await queue.advance(REF, plan, Window(CUTOFF, baseline=a_baseline()))
    assert rows_of(await take(queue, 5)) == ["1"]


@pytest.mark.parametrize("state", [SweepState.FAILED, SweepState.HALTED])
async def test_a_sweep_that_ends_before_it_plans_unblocks_nothing(queue: QueueService, state: SweepState) -> None:
    await make_dead_letters(queue, 1)
    await await_approval(queue)
    await queue.replay(REF)
    await open_sweep(queue, TICK + 120, NEWER)
    await queue.end_sweep(REF, await one(queue), state, "PermissionDenied", "")
    assert await take(queue, 5) == ()
    await open_sweep(queue, TICK + 180, NEWER)
    assert await queue.advance(REF, await one(queue), Window(CUTOFF))  # without a baseline: a dry run, or no stale row
    assert await take(queue, 5) == ()
    await open_sweep(queue, TICK + 240, NEWER)
    await queue.advance(REF, await one(queue), Window(CUTOFF, baseline=a_baseline()))
    assert rows_of(await take(queue, 5)) == ["1"]


async def test_the_plan_job_of_a_newer_sweep_is_claimed_although_it_waited_for_a_lease(
    queue: QueueService, clock: Clock
) -> None:
    await make_dead_letters(queue, 1)
    sweep = (await open_sweep(queue, TICK + 60)).sweep
    first = Window(CUTOFF, (range_job(sweep, 5),), plan_job(sweep), planned=5)
    assert await queue.advance(REF, await one(queue), first)
    _leased, plan = await take(queue, 2)
    await queue.end_sweep(REF, plan, SweepState.AWAITING_APPROVAL, "PredicateChanged", "")
    await queue.replay(REF)
    newest = await open_sweep(queue, TICK + 120, NEWER)
    claims = await queue.claim(REF, "bob", 5, LIMITS)
    assert (claims.jobs, claims.next_in) == ((), LIMITS.lease)
    assert (await get_stats(queue)).delayed == 2
    clock.advance(LIMITS.lease)
    assert (await get_stats(queue)).ready == 1
    (plan,) = await take(queue, 5)
    assert (plan.job.kind, plan.job.sweep) == (JobKind.PLAN, newest.sweep)


async def test_a_retry_whose_worker_crashed_joins_the_blocked_ones_while_a_plan_job_waits_for_a_lease(
    queue: QueueService, clock: Clock
) -> None:
    await make_dead_letters(queue, 1)
    await queue.replay(REF)
    await one(queue, "crashes")
    await await_approval(queue)
    await open_sweep(queue, TICK + 120, NEWER)
    clock.advance(1)
    assert (await one(queue, "slow")).job.kind is JobKind.PLAN
    newest = await open_sweep(queue, TICK + 180, PlanVersion(3, "cccc"))
    clock.advance(LIMITS.lease - 0.5)
    assert await take(queue, 5) == ()
    stats = await get_stats(queue)
    assert (stats.ready, stats.running, stats.delayed) == (0, 1, 2)
    clock.advance(0.5)
    (plan,) = await take(queue, 5)
    assert plan.job.sweep == newest.sweep


async def test_unblocked_retries_end_a_wait(make_queue: Open, clock: Clock) -> None:
    ann, bob = make_queue(), make_queue()
    await make_dead_letters(bob, 1)
    await await_approval(bob)
    await bob.replay(REF)
    clock.advance(DAY)
    waiting = asyncio.create_task(ann.wait(REF, 3600))
    await get_stats(ann)
    assert not waiting.done(), "a blocked retry is due, and no reason to claim"
    await bob.approve(REF)
    await waiting


async def test_an_expired_check_is_all_that_a_claim_of_one_takes_meanwhile(queue: QueueService, clock: Clock) -> None:
    await await_approval(queue)
    await queue.enqueue_check(REF, NEWER)
    await open_sweep(queue, TICK + 120, NEWER)
    assert {claim.job.kind for claim in await take(queue, 2)} == {JobKind.PLAN, JobKind.CHECK}
    await open_sweep(queue, TICK + 180, PlanVersion(3, "cccc"))
    clock.advance(LIMITS.lease)
    assert (await one(queue, "bob")).job.kind is JobKind.CHECK
    assert (await one(queue, "bob")).job.kind is JobKind.PLAN
