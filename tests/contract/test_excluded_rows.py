"""Rows that a settlement adds to the excluded set, or removes from it."""

from __future__ import annotations

import msgspec

from kubesweep.queue.model import (
    Job,
    JobKind,
    OpenResult,
    Settlement,
    SweepState,
)
from kubesweep.queue.service import QueueService
from tests.contract.backends import Clock
from tests.contract.helpers import (
    CUTOFF,
    LIMITS,
    PLAN,
    REF,
    TICK,
    dead_keys,
    failed,
    get_stats,
    key,
    latest,
    one,
    open_sweep,
    retry,
    settle,
    start,
    take,
)


async def test_rows_in_retry_are_excluded_and_do_not_keep_the_sweep_open(queue: QueueService, clock: Clock) -> None:
    sweep = await start(queue, 10)
    claim = await one(queue)
    settled = await settle(queue, Settlement(claim, applied=8, retry=retry(4, 9, delay=10)))
    assert settled.finished == (sweep,)
    found = await latest(queue)
    assert (found.state, found.applied, found.retrying, found.balanced) == (SweepState.COMPLETED, 8, 2, True)
    assert (await queue.excluded(REF))[1] == {key(4), key(9)}
    assert (await open_sweep(queue, TICK + 60)).answer is OpenResult.ENQUEUED
    await one(queue)
    clock.advance(10)
    again = await one(queue, "bob")
    expected = Job(JobKind.KEYS, PLAN, sweep, CUTOFF, keys=(key(4), key(9)), rows=2, attempt=2, is_retry=True)
    assert (again.job, again.delivery, again.redelivered) == (expected, 1, False)


async def test_every_outcome_of_a_row_in_retry_moves_it_to_its_counter(queue: QueueService, clock: Clock) -> None:
    await start(queue, 6)
    await settle(queue, Settlement(await one(queue), retry=retry(1, 2, 3, 4, 5, 6)))
    clock.advance(10)
    claim = await one(queue)
    outcome = Settlement(
        claim, applied=1, skipped=1, unconfirmed=1, dead=failed(4), retry=retry(5, 6, attempt=3, delay=20)
    )
    assert (await settle(queue, outcome)).finished == ()
    found = await latest(queue)
    assert (found.applied, found.skipped, found.unconfirmed) == (1, 1, 1)
    assert (found.retrying, found.dead, found.balanced) == (2, 1, True)
    assert (await queue.excluded(REF))[1] == {key(4), key(5), key(6)}
    stats = await get_stats(queue)
    assert (stats.excluded, stats.dead, stats.delayed) == (3, 1, 1)
    clock.advance(20)
    last = await one(queue)
    assert (last.job.attempt, last.job.keys) == (3, (key(5), key(6)))
    await settle(queue, Settlement(last, applied=2))
    assert (await queue.excluded(REF))[1] == {key(4)}
    assert ((await latest(queue)).retrying, (await latest(queue)).balanced) == (0, True)


async def test_a_retry_is_settled_in_parts_and_halves(queue: QueueService, clock: Clock) -> None:
    sweep = await start(queue, 4)
    await settle(queue, Settlement(await one(queue), retry=retry(1, 2, 3, 4)))
    clock.advance(10)
    claim = await one(queue)
    rest = msgspec.structs.replace(claim.job, keys=(key(2), key(3), key(4)), rows=3)
    await settle(queue, Settlement(claim, applied=1, rest=rest))
    assert (await queue.excluded(REF))[1] == {key(2), key(3), key(4)}
    halves = tuple(msgspec.structs.replace(rest, keys=part, rows=len(part)) for part in (rest.keys[1:2], rest.keys[2:]))
    await settle(queue, Settlement(claim, skipped=1, jobs=halves))
    assert (await queue.excluded(REF))[1] == {key(3), key(4)}
    found = await latest(queue)
    assert (found.applied, found.skipped, found.retrying, found.open_jobs) == (1, 1, 2, 0)
    for part in await take(queue, 5):
        await settle(queue, Settlement(part, applied=1))
    found = await latest(queue)
    assert (found.id, found.applied, found.retrying, found.balanced) == (sweep, 3, 0, True)
    assert (await queue.excluded(REF))[1] == frozenset()


async def test_the_version_of_the_excluded_set_changes_whenever_the_set_does(queue: QueueService, clock: Clock) -> None:
    await start(queue, 5, 5)
    first, second = await take(queue, 2)
    versions = [(await queue.excluded(REF))[0]]
    settled = await settle(queue, Settlement(first, applied=5))
    assert settled.claims.excluded_version == versions[0]
    settled = await settle(queue, Settlement(second, applied=4, retry=retry(1)))
    versions.append(settled.claims.excluded_version)
    assert (await queue.excluded(REF))[0] == versions[-1]
    clock.advance(10)
    await settle(queue, Settlement(await one(queue), dead=failed(1)))
    await queue.purge(REF)
    versions.append((await queue.claim(REF, "ann", 0, LIMITS)).excluded_version)
    assert len(set(versions)) == 3


async def test_the_version_changes_when_a_row_leaves_the_excluded_set(queue: QueueService, clock: Clock) -> None:
    await start(queue, 2)
    await settle(queue, Settlement(await one(queue), retry=retry(1, 2)))
    before = await queue.excluded(REF)
    clock.advance(10)
    settled = await settle(queue, Settlement(await one(queue), applied=1, dead=failed(2)))
    after = await queue.excluded(REF)
    assert (before.keys, after.keys) == ({key(1), key(2)}, {key(2)})
    assert before.version != after.version == settled.claims.excluded_version


async def test_a_row_of_another_job_is_not_excluded_twice(queue: QueueService, clock: Clock) -> None:
    sweep = await start(queue, 3, 3)
    quick, slow = await take(queue, 2)
    await settle(queue, Settlement(quick, applied=1, retry=retry(1), dead=failed(2)))
    await settle(queue, Settlement(slow, retry=retry(1, 3), dead=failed(2)))
    stats = await get_stats(queue)
    assert (stats.excluded, stats.dead, stats.delayed) == (3, 1, 2)
    assert stats.sweep is not None
    assert (stats.sweep.applied, stats.sweep.retrying, stats.sweep.dead, stats.sweep.skipped) == (1, 2, 1, 2)
    clock.advance(10)
    assert sorted(claim.job.keys for claim in await take(queue, 5)) == [(key(1),), (key(3),)]
    (letter,) = await queue.dead_letters(REF)
    assert (letter.sweep, len(letter.attempts)) == (sweep, 1)


async def test_a_retry_does_not_take_over_a_row_of_another_job(queue: QueueService, clock: Clock) -> None:
    await start(queue, 3)
    await settle(queue, Settlement(await one(queue), retry=(*retry(1), *retry(2), *retry(3))))
    clock.advance(10)
    first, second = await take(queue, 2)
    await settle(queue, Settlement(first, dead=failed(1)))
    await settle(queue, Settlement(second, retry=retry(1, 2, attempt=3, delay=20), dead=failed(3)))
    assert await dead_keys(queue) == [key(1)]
    assert sorted(claim.job.keys for claim in await take(queue, 5)) == [(key(3),)]
    clock.advance(20)
    assert [claim.job.keys for claim in await take(queue, 1)] == [(key(2),)]
    assert (await queue.excluded(REF)).keys == {key(1), key(2), key(3)}


async def test_a_row_that_left_a_job_for_a_retry_stays_excluded_when_the_job_ends(
    queue: QueueService, clock: Clock
) -> None:
    await start(queue, 3)
    await settle(queue, Settlement(await one(queue), retry=retry(1, 2, 3)))
    clock.advance(10)
    claim = await one(queue)
    rest = msgspec.structs.replace(claim.job, keys=(key(2), key(3)), rows=2)
    await settle(queue, Settlement(claim, retry=retry(1, attempt=3, delay=20), rest=rest))
    await settle(queue, Settlement(claim, applied=2))
    assert (await queue.excluded(REF)).keys == {key(1)}
    found = await latest(queue)
    assert (found.applied, found.retrying, found.balanced) == (2, 1, True)
    clock.advance(20)
    assert (await one(queue)).job.keys == (key(1),)
