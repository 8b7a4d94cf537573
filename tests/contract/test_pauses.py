"""When a schedule was paused: the rates of its sweeps leave that time out."""

from __future__ import annotations

import pytest

from kubesweep.queue.model import MAX_PAUSES, Pause
from kubesweep.queue.service import QueueService
from tests.contract.backends import Clock
from tests.contract.helpers import OTHER, REF, get_stats, start

YEAR = 365 * 86_400.0


async def pauses(queue: QueueService) -> tuple[Pause, ...]:
    return (await get_stats(queue)).pauses


async def test_a_pause_is_known_with_both_ends(queue: QueueService, clock: Clock) -> None:
    await start(queue, 1)
    assert await pauses(queue) == ()
    began = clock.now
    await queue.pause(REF, True)
    stats = await get_stats(queue)
    assert (stats.paused_since, stats.resumed) == (began, None)
    clock.advance(3600.25)
    await queue.pause(REF, False)
    stats = await get_stats(queue)
    assert stats.pauses == (Pause(began, began + 3600.25),)
    assert (stats.paused_since, stats.resumed) == (None, began + 3600.25)
    clock.advance(10)
    await queue.pause(REF, True)
    stats = await get_stats(queue)
    assert (stats.paused_since, stats.resumed) == (clock.now, began + 3600.25)


async def test_to_pause_or_resume_twice_changes_nothing(queue: QueueService, clock: Clock) -> None:
    await start(queue, 1)
    began = clock.now
    for paused in (False, True, True, False, False):
        await queue.pause(REF, paused)
        clock.advance(1)
    assert await pauses(queue) == (Pause(began + 1, began + 3),)


async def test_schedules_and_later_sweeps_have_pauses_of_their_own(queue: QueueService, clock: Clock) -> None:
    await start(queue, 1)
    await queue.pause(REF, True)
    await queue.pause(OTHER, True)  # not known
    assert (await get_stats(queue, OTHER)).pauses == ()
    await queue.pause(REF, False)
    await queue.forget(REF)
    await start(queue, 1)
    assert await pauses(queue) == ()


async def test_only_the_latest_are_kept(queue: QueueService, clock: Clock) -> None:
    await start(queue, 1)
    began = clock.now
    for _ in range(MAX_PAUSES + 3):
        await queue.pause(REF, True)
        clock.advance(1)
        await queue.pause(REF, False)
        clock.advance(1)
    await queue.pause(REF, True)
    found = await pauses(queue)
    assert len(found) == MAX_PAUSES + 1
    assert found[0] == Pause(began + 6, began + 7)
    assert found[-1] == Pause(clock.now)


async def test_a_clock_that_is_set_back_takes_no_time_from_a_sweep(queue: QueueService, clock: Clock) -> None:
    await start(queue, 1)
    began = clock.now
    await queue.pause(REF, True)
    clock.advance(-100)
    await queue.pause(REF, False)
    stats = await get_stats(queue)
    assert stats.unpaused_seconds(began - 50, began + 50) == pytest.approx(100)


async def test_a_pause_that_ended_by_a_clock_that_was_ahead_covers_no_time_for_ever(
    queue: QueueService, clock: Clock
) -> None:
    await start(queue, 1)
    began = clock.now
    for paused in (True, False):
        await queue.pause(REF, paused)
        clock.advance(YEAR)
    clock.now = began + 600
    stats = await get_stats(queue)
    assert (stats.resumed, stats.unpaused_seconds(began, clock.now)) == (None, 600)
    await queue.pause(REF, True)
    clock.advance(60)
    await queue.pause(REF, False)
    stats = await get_stats(queue)
    assert (stats.resumed, stats.unpaused_seconds(began, clock.now)) == (clock.now, 600)
    clock.now = began + 3 * YEAR
    assert len(await pauses(queue)) == 2


async def test_a_pause_that_lasts_began_now_at_the_latest(queue: QueueService, clock: Clock) -> None:
    await start(queue, 1)
    clock.advance(YEAR)
    await queue.pause(REF, True)
    clock.advance(-YEAR)
    assert (await get_stats(queue)).paused_since == clock.now
