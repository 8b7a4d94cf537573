"""The pace: a rate that operators write and every claim respects."""

from __future__ import annotations

import pytest

from kubesweep.errors import SpecError
from kubesweep.queue.model import Budget, Limits, Pace
from kubesweep.queue.service import QueueService
from tests.contract.backends import Clock
from tests.contract.helpers import REF, TICK, get_stats, start

ROWS = 10
FAST = Limits(rows_per_second=100.0)


async def claimed(queue: QueueService, limits: Limits) -> int:
    return len((await queue.claim(REF, "ann", 100, limits)).jobs)


async def test_there_is_none_until_it_is_set_and_not_for_an_unknown_schedule(queue: QueueService) -> None:
    await queue.set_pace(REF, Pace.of(5.0))
    assert (await queue.pace(REF), (await get_stats(queue)).pace) == (None, None)
    await start(queue, ROWS)
    assert (await queue.pace(REF), (await get_stats(queue)).pace) == (None, None)
    assert not (await get_stats(queue)).paced
    pace = Pace.of(5.0, "pause", 1.5)
    await queue.set_pace(REF, pace)
    assert (await get_stats(queue)).paced
    assert (await queue.pace(REF), (await get_stats(queue)).pace) == (pace, pace)
    assert (await queue.claim(REF, "ann", 0, Limits())).pace == pace


@pytest.mark.parametrize("limits", [Limits(), FAST, Limits(rows_per_second=100.0, burst=50.0)])
async def test_a_caller_that_asks_for_more_gets_the_rate_of_the_pace(
    queue: QueueService, clock: Clock, limits: Limits
) -> None:
    await start(queue, *[ROWS] * 50)
    await queue.set_pace(REF, Pace.of(20.0))
    first = await claimed(queue, limits)
    assert ROWS * (first - 1) <= 20
    clock.advance(10)
    assert ROWS * (first + await claimed(queue, limits) - 2) <= 20 + 10 * 20
    clock.advance(0.001)
    assert await claimed(queue, limits) == 0


async def test_a_caller_without_a_rate_may_spend_what_the_pace_saves_up(queue: QueueService) -> None:
    await start(queue, *[ROWS] * 50)
    await queue.set_pace(REF, Pace.of(20.0))
    assert await claimed(queue, Limits()) == 3


async def test_a_lower_rate_of_the_caller_holds(queue: QueueService) -> None:
    await start(queue, *[ROWS] * 50)
    await queue.set_pace(REF, Pace.of(1000.0))
    assert await claimed(queue, Limits(rows_per_second=20.0)) == 3


@pytest.mark.parametrize(
    ("rate", "limits", "saved"),
    [
        (20.0, Limits(rows_per_second=20.0, burst=50.0), 50.0),
        (20.0, Limits(rows_per_second=100.0, burst=1.0), 1.0),
        (20.0, Limits(rows_per_second=100.0, burst=50.0), 20.0),
        (1.0, Limits(rows_per_second=100.0), 1.0),
        (0.0, Limits(rows_per_second=100.0), 100.0),
    ],
)
async def test_a_rate_that_is_lower_than_the_callers_bounds_what_is_saved_up(
    queue: QueueService, rate: float, limits: Limits, saved: float
) -> None:
    await start(queue, ROWS)
    await queue.set_pace(REF, Pace.of(None, f"{rate:g}" if rate else "pause"))
    assert (await queue.claim(REF, "ann", 0, limits)).budget == Budget(saved, TICK)


async def test_without_a_rate_the_caller_decides(queue: QueueService) -> None:
    await start(queue, *[ROWS] * 50)
    await queue.set_pace(REF, Pace.of(5.0, "off"))
    assert await claimed(queue, Limits()) == 50


async def test_a_higher_rate_ends_the_wait_of_a_worker(queue: QueueService) -> None:
    await start(queue, *[ROWS] * 50)
    await queue.set_pace(REF, Pace.of(0.01))
    assert await claimed(queue, Limits()) == 1
    assert (await queue.claim(REF, "ann", 1, Limits())).wait
    await queue.set_pace(REF, Pace.of(None))
    claims = await queue.claim_next(REF, "ann", 100, Limits(), timeout=60.0)
    assert len(claims.jobs) == 49


async def test_a_reservation_follows_the_pace(queue: QueueService) -> None:
    await start(queue, ROWS)
    await queue.set_pace(REF, Pace.of(2.0))
    await queue.reserve(REF, 4, FAST)
    budget = await queue.reserve(REF, 1, FAST)
    assert budget.rows == pytest.approx(-2.0)


async def test_without_any_rate_a_reservation_debits_nothing(queue: QueueService) -> None:
    await start(queue, *[ROWS] * 50)
    assert await queue.reserve(REF, 1000, Limits()) == Budget()
    assert await queue.reserve(REF, -1000, Limits()) == Budget()
    assert await claimed(queue, Limits()) == 50


@pytest.mark.parametrize("word", ["fast", "-1", "0", "1e3", "1000001", "5/s", "nan", "inf", " 5"])
def test_a_throttle_is_a_rate_or_one_of_two_words(word: str) -> None:
    with pytest.raises(SpecError, match="the throttle is"):
        Pace.of(5.0, word)


def test_the_rate_that_results() -> None:
    assert [Pace.of(5.0, word).rate for word in ("", "250", "0.5", "pause", "off")] == [5.0, 250.0, 0.5, 0.0, None]
