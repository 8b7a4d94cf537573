"""The exact bounds of a claim: how many jobs, which of them, and at which moment and row."""

from __future__ import annotations

import msgspec
import pytest

from kubesweep.queue.model import LONGEST_LEASE, Claim, Limits, Settlement
from kubesweep.queue.service import QueueService
from tests.contract.backends import Clock
from tests.contract.helpers import (
    LIMITS,
    NEWER,
    REF,
    TICK,
    get_stats,
    make_dead_letters,
    one,
    open_sweep,
    retry,
    settle,
    start,
    take,
)

SLOW = Limits(rows_per_second=100)
SPARING = msgspec.structs.replace(LIMITS, own_expired_only=True)


def rows_of(claims: tuple[Claim, ...]) -> list[int]:
    return [claim.job.rows for claim in claims]


async def test_a_claim_takes_no_more_than_it_wants_of_each_kind_and_the_oldest(
    queue: QueueService, clock: Clock
) -> None:
    await start(queue, 11, 12, 13, 14, 15, 16)
    await one(queue)
    clock.advance(1)
    _, failing = await take(queue, 2)
    later = (*retry(1, 2, delay=5), *retry(3, delay=3), *retry(4, 5, 6, delay=4))
    await settle(queue, Settlement(failing, retry=later))
    clock.advance(LIMITS.lease)
    claimed = [rows_of(await take(queue, want, "bob")) for want in (1, 2, 3, 9)]
    assert claimed == [[11], [12, 1], [3, 2, 14], [15, 16]]


async def test_a_retry_is_claimed_at_the_moment_when_it_is_due(queue: QueueService, clock: Clock) -> None:
    await start(queue, 1)
    await settle(queue, Settlement(await one(queue), retry=retry(1, delay=10)))
    clock.advance(10)
    assert (await one(queue)).job.is_retry


async def test_a_claim_of_nothing_drops_nothing(queue: QueueService, clock: Clock) -> None:
    await start(queue, 5)
    await one(queue)
    await open_sweep(queue, TICK + 60, NEWER)
    clock.advance(LIMITS.lease)
    assert await take(queue, 0, "bob") == ()
    assert (await get_stats(queue)).running == 1


async def test_a_job_of_an_ended_sweep_is_its_owners_until_the_lease_ends(queue: QueueService, clock: Clock) -> None:
    await start(queue, 5)
    claim = await one(queue)
    await open_sweep(queue, TICK + 60, NEWER)
    clock.advance(LIMITS.lease - 1)
    assert await take(queue, 5, "bob") == ()
    assert (await settle(queue, Settlement(claim, applied=5))).lost == ()


async def test_a_waiting_job_of_an_ended_sweep_is_dropped(queue: QueueService) -> None:
    await start(queue, 5, 5)
    newer = await open_sweep(queue, TICK + 60, NEWER)
    assert {claim.job.sweep for claim in await take(queue, 5)} == {newer.sweep}
    assert (await get_stats(queue)).history[0].open_jobs == 0


async def test_an_owner_finds_its_expired_leases_among_many_of_others(queue: QueueService, clock: Clock) -> None:
    await start(queue, *[1] * 70, 7, *[1] * 70, 8)
    for want, who in ((70, "dead"), (1, "ann"), (70, "dead"), (1, "ann")):
        await take(queue, want, who)
        clock.advance(1)
    clock.advance(LIMITS.lease)
    assert [rows_of(await take(queue, 1, limits=SPARING)) for _ in range(3)] == [[7], [8], []]


async def test_a_worker_that_was_cut_off_leaves_the_expired_retries_of_others_too(
    queue: QueueService, clock: Clock
) -> None:
    await make_dead_letters(queue, 1)
    await queue.replay(REF)
    await one(queue)
    clock.advance(LIMITS.lease)
    assert await take(queue, 5, "bob", SPARING) == ()
    assert (await one(queue, limits=SPARING)).delivery == 2


async def test_a_lease_is_shortened_only_where_it_is_longer_than_the_longest(queue: QueueService, clock: Clock) -> None:
    await start(queue, 5)
    await one(queue)
    clock.advance(-(LONGEST_LEASE - 1) * LIMITS.lease)
    assert await take(queue, 1, "bob") == ()
    clock.advance(LONGEST_LEASE * LIMITS.lease - 1)
    assert await take(queue, 1, "bob") == ()
    clock.advance(1)
    assert (await one(queue, "bob")).delivery == 2


async def test_only_a_debt_waits(queue: QueueService) -> None:
    await start(queue, 40, 60, 30, 10)
    assert rows_of(await take(queue, 2, limits=SLOW)) == [40, 60]
    answer = await queue.claim(REF, "bob", 2, SLOW)
    assert (rows_of(answer.jobs), answer.wait) == ([30], None), "nothing is left, and nothing is owed"


async def test_a_claim_that_spends_the_budget_exactly_takes_one_job_more(queue: QueueService) -> None:
    await start(queue, 40, 60, 30, 10)
    assert rows_of(await take(queue, 4, limits=SLOW)) == [40, 60, 30]


async def test_a_clock_that_was_set_back_forgives_a_debt_and_gives_nothing(queue: QueueService, clock: Clock) -> None:
    await start(queue, 40, 110)
    await one(queue, limits=SLOW)
    clock.advance(-86_400)
    budgets = [(await queue.claim(REF, "bob", 1, SLOW)).budget]
    clock.advance(-86_400)
    budgets.append((await queue.claim(REF, "bob", 1, SLOW)).budget)
    assert [budget and budget.rows for budget in budgets] == [60.0, 0.0]


async def test_a_single_row_is_refunded(queue: QueueService) -> None:
    await start(queue, 101)
    await settle(queue, Settlement(await one(queue, limits=SLOW), applied=100, skipped=1), limits=SLOW)
    assert (await queue.reserve(REF, 0, SLOW)).rows == 0.0


async def test_a_reservation_is_refused_beyond_the_rows_of_a_second_not_at_them(queue: QueueService) -> None:
    await start(queue, 10)
    await queue.reserve(REF, 200, SLOW)
    found = [(await queue.reserve(REF, rows, SLOW)).rows for rows in (1, 1, 0)]
    assert found == [pytest.approx(-100.0), pytest.approx(-101.0), pytest.approx(-101.0)]
