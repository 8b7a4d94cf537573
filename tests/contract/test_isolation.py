"""Two schedules in one queue: an operation on one takes, counts and changes nothing of the other."""

from __future__ import annotations

import msgspec
import pytest

from kubesweep.queue.model import Claim, JobKind, Settlement, SweepState, Window
from kubesweep.queue.service import QueueService
from tests.contract.backends import Clock
from tests.contract.helpers import (
    CUTOFF,
    LIMITS,
    NEWER,
    OTHER,
    PLAN,
    REF,
    TICK,
    failed,
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


async def others(queue: QueueService, *rows: int) -> tuple[Claim, ...]:
    """The claims, by "olga", of a planned sweep of the other schedule."""
    await start(queue, *rows, ref=OTHER)
    return await take(queue, len(rows), "olga", ref=OTHER)


@pytest.mark.parametrize(
    "other",
    [
        {"install": "inst0002"},
        {"namespace": "shop"},
        {"name": "carts"},
        {"uid": "00000000-1111-4000-8000-000000000000"},
    ],
    ids=str,
)
async def test_schedules_that_differ_in_one_part_of_their_names_are_two(
    queue: QueueService, other: dict[str, str]
) -> None:
    ref = msgspec.structs.replace(REF, **other)
    await start(queue, 5)
    assert not (await get_stats(queue, ref)).known
    await open_sweep(queue, plan=NEWER, ref=ref)
    stats, mine = await get_stats(queue), await get_stats(queue, ref)
    assert (stats.ready, stats.sweep and stats.sweep.plan) == (1, PLAN)
    assert (mine.ready, mine.sweep and mine.sweep.plan) == (1, NEWER)
    await queue.forget(ref)
    assert (await get_stats(queue)).ready == 1


async def test_a_claim_takes_no_job_of_another_schedule_whatever_its_state(queue: QueueService, clock: Clock) -> None:
    expiring, failing, released = await others(queue, 11, 12, 13)
    await queue.settle(OTHER, "olga", [Settlement(failing, retry=retry(12, delay=1))], 0, LIMITS)
    await queue.release(OTHER, [released])
    await start(queue, 1)
    clock.advance(LIMITS.lease + 1)
    assert [claim.job.rows for claim in await take(queue, 9)] == [1]
    stats = await get_stats(queue, OTHER)
    assert (stats.running, stats.ready) == (1, 2)
    assert {claim.id for claim in await take(queue, 9, "olga", ref=OTHER)} > {expiring.id}


async def test_a_claim_drops_and_shortens_no_lease_of_another_schedule(queue: QueueService, clock: Clock) -> None:
    await start(queue, 1)
    await others(queue, 11)
    await open_sweep(queue, TICK + 60, NEWER, ref=OTHER)
    clock.advance(LIMITS.lease)
    await queue.enqueue_check(OTHER, NEWER)
    patient = msgspec.structs.replace(LIMITS, lease=100 * LIMITS.lease)
    await take(queue, 1)
    assert (await get_stats(queue, OTHER)).running == 1
    (check,) = [claim for claim in await take(queue, 9, "olga", patient, OTHER) if claim.job.kind is JobKind.CHECK]
    await take(queue, 1)
    clock.advance(LIMITS.lease)
    assert check.id not in {claim.id for claim in await take(queue, 9, "oscar", patient, OTHER)}


async def test_a_claim_of_another_schedule_proves_nothing(queue: QueueService) -> None:
    await start(queue, 5)
    await one(queue)
    (foreign,) = await others(queue, 7)
    assert await queue.extend(REF, [foreign], 30) == (foreign.id,)
    assert await queue.release(REF, [foreign]) == (foreign.id,)
    assert (await settle(queue, Settlement(foreign, applied=7))).lost == (foreign.id,)
    assert not await queue.advance(REF, foreign, Window(CUTOFF))
    assert not await queue.end_sweep(REF, foreign, SweepState.FAILED, "x", "x")
    assert (await get_stats(queue, OTHER)).running == 1


async def test_a_claim_after_the_clock_was_set_back_shortens_no_lease_of_another_schedule(
    queue: QueueService, clock: Clock
) -> None:
    await others(queue, 7)
    await start(queue, 5)
    clock.advance(-3600)
    await take(queue, 1, limits=msgspec.structs.replace(LIMITS, lease=1))
    clock.advance(2)
    assert await take(queue, 1, "olga", ref=OTHER) == ()


async def test_a_retry_that_ends_its_sweep_is_the_only_job_that_is_postponed(queue: QueueService, clock: Clock) -> None:
    await start(queue, 1)
    await settle(queue, Settlement(await one(queue), retry=retry(1, delay=1)))
    (claim,) = await others(queue, 7)
    clock.advance(1)
    await queue.end_sweep(REF, await one(queue), SweepState.FAILED, "TableMissing", "")
    assert (await get_stats(queue)).delayed == 1
    assert (await get_stats(queue, OTHER)).running == 1
    assert (await queue.settle(OTHER, "olga", [Settlement(claim, applied=7)], 0, LIMITS)).lost == ()


async def test_a_claim_drops_no_job_of_another_schedule(queue: QueueService, clock: Clock) -> None:
    await others(queue, 7)
    await open_sweep(queue, TICK + 60, NEWER, ref=OTHER)
    await start(queue, 5)
    clock.advance(LIMITS.lease + 1)
    await take(queue, 1)
    stats = await get_stats(queue, OTHER)
    assert (stats.running, stats.history[0].open_jobs) == (1, 1)


async def test_a_tick_forgets_no_sweep_of_another_schedule(queue: QueueService) -> None:
    await others(queue, 7)
    for tick in range(15):
        await start(queue, tick=TICK + tick)
    stats = await get_stats(queue, OTHER)
    assert stats.sweep is not None
    assert (stats.sweep.planned, stats.sweep.open_jobs) == (7, 1)


async def test_rows_that_fail_are_excluded_in_their_schedule_only(queue: QueueService) -> None:
    (claim,) = await others(queue, 2)
    await queue.settle(OTHER, "olga", [Settlement(claim, dead=failed(1, 2, error="Foreign"))], 0, LIMITS)
    await make_dead_letters(queue, 1, 3, error="Own")
    assert (await queue.excluded(REF)).keys == {key(1), key(3)}
    assert (await queue.excluded(OTHER)).keys == {key(1), key(2)}
    assert {letter.error for letter in await queue.dead_letters(REF)} == {"Own"}
    assert [(group.error, group.count) for group in await queue.error_groups(REF)] == [("Own", 2)]
    few = msgspec.structs.replace(LIMITS, halt_above=3)
    await start(queue, 1, tick=TICK + 60)
    settled = await settle(queue, Settlement(await one(queue), dead=failed(5)), limits=few)
    assert settled.halted == (), "the rows of the other schedule do not count"
    assert await queue.purge(REF) == 3
    stats = await get_stats(queue, OTHER)
    assert (stats.excluded, stats.dead) == (2, 2)
    assert await queue.replay(OTHER) == 2
    assert (await get_stats(queue)).ready == 0


async def test_a_tick_of_another_schedule_is_not_counted(queue: QueueService) -> None:
    await open_sweep(queue)
    before = await get_stats(queue)
    await open_sweep(queue, TICK + 60, ref=OTHER)
    after = await get_stats(queue)
    assert (after.last_tick, after.ticks) == (before.last_tick, before.ticks)


async def test_dead_letters_of_another_schedule_are_not_purged_by_age(queue: QueueService, clock: Clock) -> None:
    (claim,) = await others(queue, 1)
    await queue.settle(OTHER, "olga", [Settlement(claim, dead=failed(1))], 0, LIMITS)
    clock.advance(8 * 86400.0)
    await open_sweep(queue, clock.now)
    assert (await get_stats(queue, OTHER)).dead == 1
