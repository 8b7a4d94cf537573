"""One worker of a namespace measures a database, and the others read its sample."""

from __future__ import annotations

import msgspec

from kubesweep.queue.model import TURN, Sample, SharedSample
from kubesweep.queue.service import QueueService
from tests.contract.backends import Clock
from tests.contract.helpers import OTHER, REF, get_stats, start

DATABASE = "7291/shop/"
SAMPLE = Sample({"replayLag": 0.25, "oldestXmin": None}, (16384,), "this user may not see it")


async def test_the_first_that_asks_has_the_turn_and_the_others_get_its_sample(queue: QueueService) -> None:
    first = await queue.share_sample(REF, DATABASE, "ann")
    assert (first.sample, first.measure) == (None, True)
    assert (await queue.share_sample(REF, DATABASE, "bob")).measure is False
    stored = await queue.share_sample(REF, DATABASE, "ann", SAMPLE)
    assert (stored.sample, stored.age, stored.measure) == (SAMPLE, 0.0, True)
    assert await queue.share_sample(OTHER, DATABASE, "bob") == SharedSample(SAMPLE, 0.0, False)


async def test_a_sample_gets_older_and_the_turn_passes_on(queue: QueueService, clock: Clock) -> None:
    await queue.share_sample(REF, DATABASE, "ann", SAMPLE)
    clock.advance(TURN - 0.5)
    assert await queue.share_sample(REF, DATABASE, "bob") == SharedSample(SAMPLE, TURN - 0.5, False)
    clock.advance(0.5)
    assert await queue.share_sample(REF, DATABASE, "bob") == SharedSample(SAMPLE, TURN, True)
    assert (await queue.share_sample(REF, DATABASE, "ann")).measure is False


async def test_who_keeps_asking_keeps_the_turn(queue: QueueService, clock: Clock) -> None:
    for _ in range(5):
        assert (await queue.share_sample(REF, DATABASE, "ann")).measure is True
        clock.advance(TURN - 0.5)
        assert (await queue.share_sample(REF, DATABASE, "bob")).measure is False


async def test_a_clock_that_is_set_back_ends_the_turn(queue: QueueService, clock: Clock) -> None:
    await queue.share_sample(REF, DATABASE, "ann", SAMPLE)
    clock.advance(-3600)
    shared = await queue.share_sample(REF, DATABASE, "bob")
    assert (shared.age, shared.measure) == (0.0, True)


async def test_databases_and_namespaces_are_apart(queue: QueueService) -> None:
    await queue.share_sample(REF, DATABASE, "ann", SAMPLE)
    elsewhere = msgspec.structs.replace(REF, namespace="other")
    for ref, database in ((REF, "7291/crm/"), (elsewhere, DATABASE)):
        shared = await queue.share_sample(ref, database, "bob")
        assert (shared.sample, shared.measure) == (None, True)


async def test_a_sample_is_no_schedule(queue: QueueService) -> None:
    await queue.share_sample(REF, DATABASE, "ann", SAMPLE)
    assert await queue.schedules() == ()
    assert (await get_stats(queue)).known is False
    await start(queue, 1)
    assert await queue.schedules() == (REF,)
    await queue.forget(REF)
    assert (await queue.share_sample(REF, DATABASE, "ann")).sample == SAMPLE
