from __future__ import annotations

import msgspec

from kubesweep.queue.model import Claims, ExcludedRows, JobKind, Settlement, SweepState, Window
from kubesweep.queue.service import QueueService
from tests.contract.backends import Clock, Open
from tests.contract.helpers import (
    CUTOFF,
    LIMITS,
    NEWER,
    PLAN,
    REF,
    TICK,
    get_stats,
    key,
    make_dead_letters,
    one,
    open_sweep,
    retry,
    settle,
    start,
    take,
)


async def test_waiting_jobs_are_claimed_oldest_first_and_by_one_worker_only(make_queue: Open) -> None:
    ann, bob = make_queue(), make_queue()
    await start(ann, 1, 2, 3)
    first = await take(ann, 2, "ann")
    rest = await take(bob, 5, "bob")
    assert [claim.job.rows for claim in first + rest] == [1, 2, 3]
    assert {(claim.consumer, claim.delivery) for claim in first} == {("ann", 1)}
    assert not any(claim.redelivered for claim in first)
    assert await take(ann, 5) == ()


async def test_a_claim_of_nothing_takes_nothing(queue: QueueService) -> None:
    await start(queue, 1)
    assert await take(queue, 0) == ()
    assert (await get_stats(queue)).ready == 1


async def test_an_expired_lease_is_claimed_again_with_a_higher_delivery(queue: QueueService, clock: Clock) -> None:
    await start(queue, 5)
    stale = await one(queue)
    clock.advance(LIMITS.lease - 0.5)
    assert await take(queue, 1, "bob") == ()
    clock.advance(0.5)
    assert (await get_stats(queue)).running == 1
    fresh = await one(queue, "bob")
    assert (fresh.job, fresh.consumer, fresh.delivery, fresh.redelivered) == (stale.job, "bob", 2, True)


async def test_a_worker_that_was_cut_off_leaves_an_expired_lease_to_its_owner_and_takes_waiting_jobs(
    queue: QueueService, clock: Clock
) -> None:
    await start(queue, 1, 2)
    mine = await one(queue, "ann")
    clock.advance(LIMITS.lease + 1)
    sparing = msgspec.structs.replace(LIMITS, own_expired_only=True)
    assert [claim.job.rows for claim in await take(queue, 5, "bob", sparing)] == [2]
    settled = await queue.settle(REF, "bob", (), 5, sparing)
    assert settled.claims.jobs == ()
    again = await one(queue, "ann", sparing)
    assert (again.id, again.delivery) == (mine.id, 2), "the answer to its claim was lost"
    clock.advance(LIMITS.lease + 1)
    assert await queue.extend(REF, (again,), LIMITS.lease) == ()
    assert [claim.job.rows for claim in await take(queue, 5, "bob")] == [2]
    clock.advance(LIMITS.lease + 1)
    assert [claim.job.rows for claim in await take(queue, 1, "bob")] == [1]


async def test_the_order_is_expired_then_due_retries_then_waiting(queue: QueueService, clock: Clock) -> None:
    await start(queue, 1, 2, 3)
    await settle(queue, Settlement(await one(queue), retry=retry(7, delay=5)))
    crashed = await one(queue)
    clock.advance(LIMITS.lease)
    claims = await take(queue, 5, "bob")
    assert [claim.job.rows for claim in claims] == [2, 1, 3]
    assert (claims[0].job, claims[0].delivery) == (crashed.job, 2)
    assert claims[1].job.is_retry


async def test_due_retries_are_claimed_in_the_order_they_became_due(queue: QueueService, clock: Clock) -> None:
    await start(queue, 3)
    failing = (*retry(1, delay=20), *retry(2, delay=5), *retry(3, delay=10))
    settled = await settle(queue, Settlement(await one(queue), retry=failing))
    assert settled.claims.next_delayed == clock.now + 5
    clock.advance(12)
    claims = await take(queue, 5)
    assert [claim.job.keys for claim in claims] == [(key(2),), (key(3),)]
    assert (await queue.claim(REF, "ann", 1, LIMITS)).next_delayed == clock.now + 8


async def test_a_retry_that_is_not_due_is_not_claimed(queue: QueueService, clock: Clock) -> None:
    await start(queue, 1)
    await settle(queue, Settlement(await one(queue), retry=retry(1, delay=10)))
    clock.advance(9.5)
    answer = await queue.claim(REF, "ann", 5, LIMITS)
    assert (answer.jobs, answer.next_delayed) == ((), clock.now + 0.5)
    stats = await get_stats(queue)
    assert (stats.delayed, stats.ready, stats.oldest_ready) == (1, 0, None)
    clock.advance(2.5)
    stats = await get_stats(queue)
    assert (stats.delayed, stats.ready, stats.oldest_ready) == (0, 1, clock.now - 2)
    assert (await queue.claim(REF, "ann", 5, LIMITS)).next_delayed is None


async def test_a_claim_has_the_seconds_since_each_job_became_ready(queue: QueueService, clock: Clock) -> None:
    await start(queue, 1, 2, 3, 4)
    first = await one(queue)
    clock.advance(2)
    await settle(queue, Settlement(first, retry=retry(7, delay=5)))
    _expiring, released = await take(queue, 2)
    clock.advance(3)
    await queue.release(REF, (released,))
    clock.advance(35)
    answer = await queue.claim(REF, "bob", 9, LIMITS)
    waits = [seconds for jobs, seconds in answer.waits for _ in range(jobs)]
    found = [(claim.job.rows, wait) for claim, wait in zip(answer.jobs, waits, strict=True)]
    assert found == [(2, 8), (1, 33), (4, 40), (3, 35)], "since the lease ended, the retry was due, planned, released"


async def test_jobs_that_became_ready_together_share_one_wait(queue: QueueService, clock: Clock) -> None:
    await start(queue, 1, 2, 3)
    clock.advance(7)
    assert (await queue.claim(REF, "ann", 2, LIMITS)).waits == ((2, 7.0),)
    settled = await queue.settle(REF, "ann", (), 9, LIMITS)
    assert settled.claims.waits == ((1, 7.0),)
    assert (await queue.claim(REF, "ann", 9, LIMITS)).waits == ()


async def test_an_expired_planned_job_of_a_settled_sweep_is_dropped(queue: QueueService, clock: Clock) -> None:
    await start(queue, 5)
    await one(queue)
    await open_sweep(queue, TICK + 60, NEWER)
    clock.advance(LIMITS.lease)
    claims = await take(queue, 5, "bob")
    assert [claim.job.kind for claim in claims] == [JobKind.PLAN]
    stats = await get_stats(queue)
    assert (stats.running, stats.history[0].open_jobs) == (1, 0)


async def test_it_is_dropped_also_where_another_expired_job_is_all_that_was_wanted(
    queue: QueueService, clock: Clock
) -> None:
    await queue.enqueue_check(REF, PLAN)
    await one(queue)
    await start(queue, 5)
    await one(queue)
    await open_sweep(queue, TICK + 60, NEWER)
    clock.advance(LIMITS.lease + 1)
    assert (await one(queue, "bob")).job.kind is JobKind.CHECK
    stats = await get_stats(queue)
    assert (stats.running, stats.history[0].open_jobs) == (1, 0)


async def test_an_expired_retry_of_a_settled_sweep_is_claimed_again(queue: QueueService, clock: Clock) -> None:
    await make_dead_letters(queue, 1)
    assert await queue.replay(REF) == 1
    lost = await one(queue)
    clock.advance(LIMITS.lease + 1)
    again = await one(queue, "bob")
    assert (again.job, again.delivery) == (lost.job, 2)


async def test_nothing_is_claimed_while_paused(make_queue: Open, clock: Clock) -> None:
    ann, bob = make_queue(), make_queue()
    await start(ann, 5, 5)
    await one(ann)
    clock.advance(LIMITS.lease + 1)
    await bob.pause(REF, True)
    assert await ann.claim(REF, "ann", 5, LIMITS) == Claims(paused=True)
    assert (await get_stats(ann)).paused
    await bob.pause(REF, False)
    assert len(await take(ann, 5)) == 2


async def test_a_paused_queue_still_settles_and_opens(queue: QueueService) -> None:
    sweep = await start(queue, 5)
    claim = await one(queue)
    await queue.pause(REF, True)
    settled = await settle(queue, Settlement(claim, applied=5), want=3)
    assert (settled.finished, settled.claims.paused, settled.claims.jobs) == ((sweep,), True, ())
    await open_sweep(queue, TICK + 60)
    assert (await get_stats(queue)).ready == 1


async def test_a_heartbeat_keeps_a_claim(queue: QueueService, clock: Clock) -> None:
    await start(queue, 5)
    claim = await one(queue)
    clock.advance(LIMITS.lease - 1)
    assert await queue.extend(REF, [claim], 30) == ()
    clock.advance(29.5)
    assert await take(queue, 1, "bob") == ()
    clock.advance(0.5)
    assert (await one(queue, "bob")).delivery == 2


async def test_a_heartbeat_of_an_expired_claim_that_was_not_taken_renews_it(queue: QueueService, clock: Clock) -> None:
    await start(queue, 5)
    claim = await one(queue)
    clock.advance(LIMITS.lease + 5)
    assert await queue.extend(REF, [claim], 30) == ()
    assert await take(queue, 1, "bob") == ()


async def test_a_heartbeat_names_the_claims_that_were_lost(queue: QueueService, clock: Clock) -> None:
    await start(queue, 5, 5)
    stale, kept = await take(queue, 2)
    clock.advance(LIMITS.lease - 1)
    assert await queue.extend(REF, [kept], 30) == ()
    clock.advance(2)
    fresh = await one(queue, "bob")
    assert await queue.extend(REF, [stale, kept], 30) == (stale.id,)
    assert await queue.extend(REF, [fresh], 30) == ()


async def test_the_fence_is_id_consumer_and_delivery(queue: QueueService, clock: Clock) -> None:
    await start(queue, 5)
    first = await one(queue)
    clock.advance(LIMITS.lease + 1)
    second = await one(queue)
    thief = msgspec.structs.replace(second, consumer="bob")
    unknown = msgspec.structs.replace(second, id="no-such-entry")
    for stale in (first, thief, unknown):
        assert await queue.extend(REF, [stale], 30) == (stale.id,)
        assert await queue.release(REF, [stale]) == (stale.id,)
        assert (await settle(queue, Settlement(stale, applied=5))).lost == (stale.id,)
        assert not await queue.advance(REF, stale, Window(CUTOFF))
        assert not await queue.end_sweep(REF, stale, SweepState.FAILED, "x", "x")
    stats = await get_stats(queue)
    assert stats.sweep is not None
    assert (stats.running, stats.sweep.applied, stats.sweep.state) == (1, 0, SweepState.RUNNING)
    assert (await settle(queue, Settlement(second, applied=5))).finished == (stats.sweep.id,)


async def test_without_a_row_budget_nothing_waits(queue: QueueService) -> None:
    await start(queue, 10**6, 1)
    settled = await settle(queue, Settlement(await one(queue), applied=10**6), want=1)
    assert (len(settled.claims.jobs), settled.claims.wait) == (1, None)


async def test_an_unknown_schedule_is_lost_and_nothing_creates_it(queue: QueueService, clock: Clock) -> None:
    await start(queue, 5)
    claim = await one(queue)
    await queue.forget(REF)
    assert (await queue.claim(REF, "ann", 1, LIMITS)) == Claims(lost=True)
    settled = await settle(queue, Settlement(claim, applied=5), want=1)
    assert (settled.lost, settled.finished, settled.claims) == ((claim.id,), (), Claims(lost=True))
    assert await queue.extend(REF, [claim], 30) == (claim.id,)
    assert await queue.release(REF, [claim]) == (claim.id,)
    assert not await queue.advance(REF, claim, Window(CUTOFF))
    assert not await queue.end_sweep(REF, claim, SweepState.FAILED, "x", "x")
    assert await queue.approve(REF) is None
    await queue.pause(REF, True)
    assert await queue.excluded(REF) == ExcludedRows(0, frozenset())
    assert (await queue.error_groups(REF), await queue.dead_letters(REF)) == ((), ())
    assert (await queue.replay(REF), await queue.purge(REF)) == (0, 0)
    assert not (await get_stats(queue)).known
    assert await queue.schedules() == ()


async def test_a_claim_from_before_a_loss_matches_nothing_after_it(queue: QueueService) -> None:
    await start(queue, 5)
    old = await one(queue)
    await queue.forget(REF)
    await start(queue, 5)
    while (new := await one(queue)).id == old.id:  # Redis makes ids of its clock: this was all in one millisecond
        await queue.forget(REF)
        await start(queue, 5)
    assert (await settle(queue, Settlement(old, applied=5))).lost == (old.id,)
    assert (await settle(queue, Settlement(new, applied=5))).lost == ()
