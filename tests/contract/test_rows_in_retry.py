"""Rows in retry as people reach them: listed, tried now, forgotten."""

from __future__ import annotations

import msgspec

from kubesweep.queue.model import Job, JobKind, RowState, Settlement
from kubesweep.queue.service import QueueService
from tests.contract.backends import Clock
from tests.contract.helpers import (
    CUTOFF,
    LIMITS,
    NEWER,
    PLAN,
    REF,
    TICK,
    dead_keys,
    failed,
    get_stats,
    key,
    latest,
    make_dead_letters,
    one,
    open_sweep,
    retry,
    settle,
    start,
    take,
)

DAY = 86_400.0


async def waiting(queue: QueueService, *numbers: int, tick: float = TICK, error: str = "Http503") -> str:
    """A completed sweep whose rows are tried again in a day."""
    sweep = await start(queue, len(numbers), tick=tick)
    await settle(queue, Settlement(await one(queue), retry=retry(*numbers, delay=DAY, error=error, attempt=4)))
    return sweep


async def test_rows_in_retry_are_listed_with_their_history_and_grouped(queue: QueueService, clock: Clock) -> None:
    sweep = await waiting(queue, 1, 2)
    await make_dead_letters(queue, 3, tick=TICK + 60)
    rows = await queue.dead_letters(REF, state=RowState.RETRYING)
    assert [(row.key, row.error, row.sweep, row.at) for row in rows] == [
        (key(1), "Http503", sweep, clock.now),
        (key(2), "Http503", sweep, clock.now),
    ]
    assert len(rows[0].attempts) == 1
    assert [row.key for row in await queue.dead_letters(REF, state=RowState.RETRYING, keys=[key(2)])] == [key(2)]
    (group,) = await queue.error_groups(REF, state=RowState.RETRYING)
    assert (group.error, group.count, group.samples) == ("Http503", 2, (key(1), key(2)))
    assert [group.count for group in await queue.error_groups(REF, state=None)] == [2, 1]
    assert len(await queue.dead_letters(REF, state=None)) == 3
    assert await dead_keys(queue) == [key(3)]


async def test_a_retry_of_a_row_that_waits_is_due_at_once_with_fresh_attempts(
    queue: QueueService, clock: Clock
) -> None:
    sweep = await waiting(queue, 1, 2, 3)
    assert await queue.replay(REF, keys=[key(1), key(3), key(9)]) == 2
    stats = await get_stats(queue)
    assert (stats.excluded, stats.ready, stats.delayed) == (3, 1, 1)
    claim = await one(queue)
    assert claim.job == Job(JobKind.KEYS, None, sweep, keys=(key(1), key(3)), rows=2, is_retry=True)
    await settle(queue, Settlement(claim, applied=2))
    assert (await queue.excluded(REF)).keys == {key(2)}
    assert ((await latest(queue)).retrying, (await latest(queue)).balanced) == (1, True)
    clock.advance(DAY)
    later = await one(queue)
    expected = Job(JobKind.KEYS, PLAN, sweep, CUTOFF, keys=(key(2),), rows=1, attempt=4, is_retry=True)
    assert (later.job, later.delivery) == (expected, 1)
    await settle(queue, Settlement(later, applied=1))
    assert (await queue.excluded(REF)).keys == frozenset()


async def test_a_retry_reaches_dead_rows_and_those_that_wait(queue: QueueService) -> None:
    await waiting(queue, 1)
    await make_dead_letters(queue, 2, tick=TICK + 60)
    assert await queue.replay(REF) == 2
    assert sorted(claim.job.keys for claim in await take(queue, 5)) == [(key(1),), (key(2),)]
    assert await queue.replay(REF) == 0


async def test_a_retry_by_error_takes_only_rows_whose_last_attempt_failed_so(queue: QueueService) -> None:
    await waiting(queue, 1)
    await waiting(queue, 2, tick=TICK + 60, error="CheckViolation")
    assert await queue.replay(REF, error="CheckViolation") == 1
    assert (await one(queue)).job.keys == (key(2),)


async def test_a_retry_leaves_a_row_whose_job_is_ready_or_worked_on_as_it_is(queue: QueueService) -> None:
    await waiting(queue, 1, 2)
    assert await queue.replay(REF, keys=[key(1)]) == 1
    assert await queue.replay(REF, keys=[key(1)]) == 0
    claim = await one(queue)
    assert await queue.replay(REF, keys=[key(1)]) == 0
    assert await queue.purge(REF, keys=[key(1)]) == 0
    await settle(queue, Settlement(claim, retry=retry(1, attempt=2, delay=DAY)))
    assert await queue.replay(REF) == 2


async def test_purged_rows_in_retry_are_eligible_again_and_are_not_tried(queue: QueueService, clock: Clock) -> None:
    await waiting(queue, 1, 2, 3)
    version = (await queue.excluded(REF)).version
    assert await queue.purge(REF, keys=[key(1), key(3)]) == 2
    excluded = await queue.excluded(REF)
    assert (excluded.keys, excluded.version != version) == ({key(2)}, True)
    found = await latest(queue)
    assert (found.retrying, found.skipped, found.balanced) == (1, 2, True)
    clock.advance(DAY)
    claim = await one(queue)
    assert (claim.job.keys, claim.job.rows) == ((key(2),), 1)
    await settle(queue, Settlement(claim, dead=failed(2)))
    assert await queue.purge(REF) == 1
    stats = await get_stats(queue)
    assert (stats.excluded, stats.ready, stats.delayed, stats.running) == (0, 0, 0, 0)


async def test_a_purge_reaches_a_retry_that_was_released(queue: QueueService, clock: Clock) -> None:
    await waiting(queue, 1, 2)
    await start(queue, 7, tick=TICK + 60)
    clock.advance(DAY)
    claims = await take(queue, 2)
    assert await queue.release(REF, claims) == ()
    assert await queue.purge(REF, keys=[key(2)]) == 1
    again = await take(queue, 5)
    assert sorted((claim.job.is_retry, claim.job.keys, claim.delivery) for claim in again) == [
        (False, (), 1),
        (True, (key(1),), 1),
    ]
    await settle(queue, *(Settlement(claim, applied=claim.job.rows) for claim in again))
    stats = await get_stats(queue)
    assert (stats.excluded, stats.ready, stats.running) == (0, 0, 0)


async def test_what_is_left_of_a_retry_keeps_its_crashes(queue: QueueService, clock: Clock) -> None:
    await waiting(queue, 1, 2)
    clock.advance(DAY)
    await one(queue)
    clock.advance(LIMITS.lease)
    claim = await one(queue, "bob")
    assert claim.delivery == 2
    await queue.release(REF, [claim])
    assert await queue.purge(REF, keys=[key(1)]) == 1
    left = await one(queue)
    assert (left.job.keys, left.delivery) == ((key(2),), 2)


async def test_parts_of_a_retry_that_were_taken_apart_settle_apart(queue: QueueService, clock: Clock) -> None:
    await waiting(queue, 1, 2)
    await queue.replay(REF, keys=[key(1)])
    now, later = await one(queue), None
    clock.advance(DAY)
    (later,) = [claim for claim in await take(queue, 5, "bob") if claim.job.keys == (key(2),)]
    await queue.extend(REF, [now], LIMITS.lease)
    await settle(queue, Settlement(later, applied=1), who="bob")
    assert (await queue.excluded(REF)).keys == {key(1)}


async def test_the_bodies_of_rows_in_retry_survive_a_change_of_their_job(queue: QueueService) -> None:
    strange = ('a"b/\\\u00e4\n[x]', "\u2028")
    sweep = await start(queue, 2)
    claim = await one(queue)
    rows = tuple(
        msgspec.structs.replace(row, key=each) for row, each in zip(failed(1, 2), (strange, key(2)), strict=True)
    )
    (group,) = retry(1, delay=DAY)
    await settle(queue, Settlement(claim, retry=(msgspec.structs.replace(group, rows=rows),)))
    assert await queue.replay(REF, keys=[strange]) == 1
    again = await one(queue)
    assert (again.job.keys, again.job.sweep) == ((strange,), sweep)
    assert await queue.purge(REF) == 1
    await settle(queue, Settlement(again, applied=1))
    assert (await get_stats(queue)).excluded == 0


async def test_a_retry_for_a_newer_plan_belongs_to_whatever_plan_there_is(queue: QueueService) -> None:
    await waiting(queue, 1)
    await queue.replay(REF)
    await open_sweep(queue, TICK + 60, NEWER)
    assert (await one(queue)).job.plan is None
