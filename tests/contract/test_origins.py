"""Excluded rows belong to a database, schema, table and key: the same key of another origin is another row."""

from __future__ import annotations

from kubesweep.queue.model import ExcludedRows, Settlement
from kubesweep.queue.service import QueueService
from tests.contract.backends import Clock
from tests.contract.helpers import (
    LIMITS,
    REF,
    TICK,
    dead_keys,
    failed,
    get_stats,
    key,
    latest,
    make_dead_letters,
    one,
    retry,
    settle,
    start,
    take,
)

OLD = "public.conversations(id) #0123456789ab"
NEW = "public.sessions(id) #ba9876543210"


async def test_a_row_of_another_origin_is_not_excluded_but_counted(queue: QueueService) -> None:
    await make_dead_letters(queue, 1, 2, origin=OLD)
    await make_dead_letters(queue, 1, tick=TICK + 60, origin=NEW)
    version = (await queue.excluded(REF)).version
    assert await queue.excluded(REF, OLD) == ExcludedRows(version, frozenset({key(1), key(2)}), other_origins=1)
    assert await queue.excluded(REF, NEW) == ExcludedRows(version, frozenset({key(1)}), other_origins=2)
    stats = await get_stats(queue)
    assert (stats.excluded, stats.dead, stats.origin) == (3, 3, NEW)


async def test_excluded_rows_without_an_origin_belong_to_each(queue: QueueService) -> None:
    await make_dead_letters(queue, 1)
    assert (await queue.excluded(REF, NEW))[1:] == (frozenset({key(1)}), 0)


async def test_the_same_key_is_excluded_dies_and_leaves_for_each_origin_separately(
    queue: QueueService, clock: Clock
) -> None:
    await start(queue, 1, origin=OLD)
    await settle(queue, Settlement(await one(queue), retry=retry(1, delay=5)))
    await start(queue, 1, tick=TICK + 60, origin=NEW)
    await settle(queue, Settlement(await one(queue), retry=retry(1, delay=10)))
    assert (await get_stats(queue)).excluded == 2
    clock.advance(5)
    older = await one(queue)
    assert older.job.origin == OLD
    await settle(queue, Settlement(older, applied=1))
    assert (await queue.excluded(REF, OLD)).keys == frozenset()
    assert (await queue.excluded(REF, NEW)).keys == {key(1)}
    clock.advance(5)
    newer = await one(queue)
    assert newer.job.origin == NEW
    await settle(queue, Settlement(newer, dead=failed(1)))
    (letter,) = await queue.dead_letters(REF)
    assert (letter.key, letter.origin) == (key(1), NEW)


async def test_dead_letters_are_grouped_by_origin_too(queue: QueueService) -> None:
    await make_dead_letters(queue, 1, 2, origin=OLD)
    await make_dead_letters(queue, 1, tick=TICK + 60, origin=NEW)
    groups = await queue.error_groups(REF)
    assert [(group.origin, group.count, set(group.samples)) for group in groups] == [
        (OLD, 2, {key(1), key(2)}),
        (NEW, 1, {key(1)}),
    ]


async def test_a_replay_takes_only_rows_of_the_origin_that_is_swept_now(queue: QueueService) -> None:
    await make_dead_letters(queue, 1, 2, origin=OLD)
    await make_dead_letters(queue, 2, tick=TICK + 60, origin=NEW)
    assert await queue.replay(REF) == 1
    claim = await one(queue)
    assert (claim.job.keys, claim.job.origin) == ((key(2),), NEW)
    await settle(queue, Settlement(claim, applied=1))
    assert await dead_keys(queue) == [key(1), key(2)]
    await start(queue, tick=TICK + 120, origin=OLD)
    assert await queue.replay(REF, keys=[key(2)]) == 1
    assert [(claim.job.keys, claim.job.origin) for claim in await take(queue, 5)] == [((key(2),), OLD)]


async def test_a_purge_by_key_takes_it_from_every_origin(queue: QueueService) -> None:
    await make_dead_letters(queue, 1, 2, origin=OLD)
    await make_dead_letters(queue, 2, tick=TICK + 60, origin=NEW)
    assert await queue.purge(REF, keys=[key(2)]) == 2
    assert await dead_keys(queue) == [key(1)]


async def test_a_retry_keeps_its_origin_through_parts_halves_and_a_crash(queue: QueueService, clock: Clock) -> None:
    await start(queue, 4, origin=OLD)
    await settle(queue, Settlement(await one(queue), retry=retry(1, 2, 3, delay=1)))
    clock.advance(1)
    await one(queue)
    clock.advance(LIMITS.lease)
    again = await one(queue, "bob")
    assert (again.job.origin, again.delivery) == (OLD, 2)
    await settle(queue, Settlement(again, skipped=1, retry=retry(2, 3, attempt=3)), who="bob")
    assert (await queue.excluded(REF, OLD)).keys == {key(2), key(3)}
    assert (await latest(queue)).retrying == 2
