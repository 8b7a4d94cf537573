"""Dead letters are found among thousands."""

from __future__ import annotations

import pytest

from kubesweep.queue.model import (
    FailedRow,
    Limits,
    Settlement,
)
from kubesweep.queue.redis.queue import RedisQueue
from tests.integration.one_row import KINDS
from tests.integration.redis_sweeps import REF, planned

pytestmark = KINDS


@pytest.fixture
def queue(emptied: RedisQueue) -> RedisQueue:
    return emptied


async def test_dead_letters_are_found_among_thousands(queue: RedisQueue) -> None:
    many, most = Limits(halt_above=10_000), 5000
    await planned(queue, 2)
    rare, often = (await queue.claim(REF, "ann", 2, many)).jobs
    await queue.settle(REF, "ann", [Settlement(rare, dead=rows(0, 5, "Rare"))], 0, many)
    await queue.settle(REF, "ann", [Settlement(often, dead=rows(5, 2505, "Often"))], 0, many)
    assert len(await queue.dead_letters(REF, most=most)) == 2505
    assert len(await queue.dead_letters(REF, most=1001)) == 1001
    assert {letter.error for letter in await queue.dead_letters(REF, error="Rare", most=3)} == {"Rare"}
    assert len(await queue.dead_letters(REF, error="Rare")) == 5
    assert [(group.error, group.count) for group in await queue.error_groups(REF)] == [("Often", 2500), ("Rare", 5)]
    assert await queue.replay(REF, error="Often") == 2500
    assert await queue.purge(REF) == 2505  # rows in retry are within reach too


def rows(first: int, end: int, error: str) -> tuple[FailedRow, ...]:
    return tuple(FailedRow((str(number),), error, "") for number in range(first, end))
