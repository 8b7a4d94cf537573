"""The row budget (rowsPerSecond): a claim debits the rows of its jobs, a settlement and a claim that goes back credit what was
not tried."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from kubesweep.queue.model import Budget, Claim, Claims, FailedRow, Limits, Retry, Settlement
from kubesweep.queue.service import QueueService
from tests.contract.backends import Clock, Open
from tests.contract.helpers import REF, get_stats, one, range_job, settle, start, take
from tests.kits.deadlines import scaled

SLOW = Limits(rows_per_second=100)
THRIFTY = Limits(rows_per_second=100, burst=10)


async def waits(queue: QueueService, limits: Limits = SLOW) -> float:
    """Seconds until a claim may find something again."""
    return (await queue.claim(REF, "asks", 0, limits)).wait or 0.0


def rows_of(budget: Budget | None) -> float:
    assert budget is not None
    return budget.rows


async def test_a_job_larger_than_the_budget_is_claimed_and_leads_into_debt(queue: QueueService, clock: Clock) -> None:
    await start(queue, 350, 10)
    first = await queue.claim(REF, "ann", 1, SLOW)
    assert ([claim.job.rows for claim in first.jobs], rows_of(first.budget), first.wait) == ([350], 100.0, None)
    answer = await queue.claim(REF, "bob", 1, SLOW)
    assert (answer.jobs, answer.wait) == ((), pytest.approx(2.5))
    clock.advance(2.4)
    assert await waits(queue) == pytest.approx(0.1)
    clock.advance(0.11)
    answer = await queue.claim(REF, "bob", 1, SLOW)
    assert (len(answer.jobs), answer.wait) == (1, None)
    settled = await settle(queue, Settlement(first.jobs[0], applied=350), want=1, limits=SLOW)
    assert settled.claims.wait == pytest.approx(0.09)


async def test_the_job_that_leads_into_debt_is_the_last_of_its_claim(queue: QueueService) -> None:
    await start(queue, 40, 50, 30, 30)
    assert [claim.job.rows for claim in await take(queue, 4, limits=SLOW)] == [40, 50, 30]
    assert await waits(queue) == pytest.approx(0.2)


async def test_jobs_of_a_lost_lease_and_due_retries_are_debited_too(queue: QueueService, clock: Clock) -> None:
    await start(queue, 150, 150)
    first = await one(queue, limits=SLOW)
    clock.advance(1)
    row = FailedRow(("7",), "E", "m")
    settled = await settle(queue, Settlement(first, applied=149, retry=(Retry((row,), 2, 1.0),)), want=1, limits=SLOW)
    assert len(settled.claims.jobs) == 1
    assert await waits(queue) == pytest.approx(1.0)
    clock.advance(31)
    again = await queue.claim(REF, "bob", 1, SLOW)
    assert ([(claim.delivery, claim.job.rows) for claim in again.jobs], rows_of(again.budget)) == ([(2, 150)], 100.0)
    assert await waits(queue) == pytest.approx(0.5)
    clock.advance(1)
    retry = await queue.claim(REF, "bob", 1, SLOW)
    assert ([(claim.job.is_retry, claim.job.rows) for claim in retry.jobs], rows_of(retry.budget)) == (
        [(True, 1)],
        50.0,
    )


async def test_what_is_left_of_a_job_whose_lease_was_lost_is_debited_not_the_whole(
    queue: QueueService, clock: Clock
) -> None:
    await start(queue, 300)
    claim = await one(queue, limits=SLOW)
    rest = msgspec.structs.replace(claim.job, rows=120)
    await settle(queue, Settlement(claim, applied=180, rest=rest), limits=SLOW)
    clock.advance(3600)
    await take(queue, 1, limits=SLOW)
    assert await waits(queue) == pytest.approx(0.2)


async def test_a_settlement_refunds_what_was_not_tried(queue: QueueService) -> None:
    await start(queue, 500)
    claim = await one(queue, limits=SLOW)
    assert await waits(queue) == pytest.approx(4.0)
    rest = msgspec.structs.replace(claim.job, rows=300)
    await settle(queue, Settlement(claim, applied=50, skipped=150, rest=rest), limits=SLOW)
    assert await waits(queue) == pytest.approx(2.5)
    claim = msgspec.structs.replace(claim, job=rest)
    await settle(queue, Settlement(claim, skipped=300), limits=SLOW)
    assert await waits(queue) == 0.0


async def test_rows_whose_slot_passed_unused_are_not_refunded(queue: QueueService) -> None:
    await start(queue, 500)
    claim = await one(queue, limits=SLOW)
    await settle(queue, Settlement(claim, skipped=500, spent=350), limits=SLOW)
    assert await waits(queue) == pytest.approx(2.5)


async def test_rows_that_the_plan_had_not_counted_are_debited_when_they_are_settled(queue: QueueService) -> None:
    await start(queue, 100, 10)
    claim = await one(queue, limits=SLOW)
    await settle(queue, Settlement(claim, applied=130, extra=30), limits=SLOW)
    assert await waits(queue) == pytest.approx(0.3)


async def test_a_released_claim_refunds_its_rows_except_those_that_were_tried(queue: QueueService) -> None:
    await start(queue, 500)
    claim = await one(queue, limits=SLOW)
    await queue.release(REF, [msgspec.structs.replace(claim, spent=150)])
    assert await waits(queue) == pytest.approx(0.5)
    await queue.forget(REF)
    await start(queue, 500)
    claim = await one(queue, limits=SLOW)
    await queue.release(REF, [claim])
    assert await waits(queue) == 0.0


async def test_only_the_owner_of_a_claim_refunds_its_rows(queue: QueueService, clock: Clock) -> None:
    await start(queue, 500)
    old = await one(queue, limits=SLOW)
    rest = msgspec.structs.replace(old.job, rows=200)
    await settle(queue, Settlement(old, skipped=300, rest=rest), limits=SLOW)
    assert await waits(queue) == pytest.approx(1.0)
    clock.advance(31)
    await one(queue, who="bob", limits=SLOW)
    assert await waits(queue) == pytest.approx(1.0)
    await settle(queue, Settlement(msgspec.structs.replace(old, job=rest), skipped=200), limits=SLOW)
    await queue.release(REF, [old])
    assert await waits(queue) == pytest.approx(1.0)


async def waiting(queue: QueueService, limits: Limits) -> asyncio.Task[Claims]:
    """A worker that waits for the end of the debt."""
    task = asyncio.create_task(queue.claim_next(REF, "bob", 1, limits, 3600.0))
    await get_stats(queue)  # a round trip of the same object: the waiter had its turn
    assert not task.done()
    return task


async def test_a_refund_wakes_a_worker_that_waits_for_the_end_of_the_debt(make_queue: Open) -> None:
    ann, bob = make_queue(), make_queue()
    await start(ann, 10**6, 10)
    claim: Claim = await one(ann, limits=SLOW)
    bobs = await waiting(bob, SLOW)
    await ann.release(REF, [claim])
    assert len((await bobs).jobs) == 1


@pytest.mark.parametrize(("rows", "rate"), [(10**6, 100), (1, 0.001)])
async def test_refunded_slots_wake_a_worker_that_waits_for_the_end_of_the_debt(
    make_queue: Open, rows: int, rate: float
) -> None:
    ann, bob = make_queue(), make_queue()
    slow = Limits(rows_per_second=rate)
    await start(ann, rows, 10)
    await one(ann, limits=slow)
    bobs = await waiting(bob, slow)
    await ann.reserve(REF, -rows, slow)
    async with asyncio.timeout(scaled(60)):
        assert len((await bobs).jobs) == 1


async def test_a_reservation_debits_and_says_what_was_there(queue: QueueService, clock: Clock) -> None:
    await start(queue, 10)
    assert await queue.reserve(REF, 130, SLOW) == Budget(100.0, clock())
    assert (await queue.reserve(REF, 20, SLOW)).rows == pytest.approx(-30.0)
    assert await waits(queue) == pytest.approx(0.5)
    assert (await queue.reserve(REF, 60, SLOW)).rows == pytest.approx(-50.0)
    assert (await queue.reserve(REF, 1, SLOW)).rows == pytest.approx(-110.0), "more than a second's rows are owed"
    assert (await queue.reserve(REF, -60, SLOW)).rows == pytest.approx(-110.0), (
        "nothing was reserved, so much is refunded"
    )
    assert await waits(queue) == pytest.approx(0.5)
    clock.advance(0.5)
    assert await waits(queue) == 0.0
    await queue.reserve(REF, -500, SLOW)
    assert (await queue.reserve(REF, 0, SLOW)).rows == SLOW.saved, "no more than the burst"
    await queue.forget(REF)
    assert (await queue.reserve(REF, 5, SLOW)).rows == 0.0
    assert not (await queue.claim(REF, "ann", 1, SLOW)).jobs


async def test_no_more_than_the_burst_is_saved_up(queue: QueueService, clock: Clock) -> None:
    await start(queue, 60, 60)
    clock.advance(3600)
    first = await queue.claim(REF, "ann", 2, THRIFTY)
    assert (len(first.jobs), rows_of(first.budget)) == (1, 10.0)
    await settle(queue, Settlement(first.jobs[0], skipped=60), limits=THRIFTY)
    assert rows_of((await queue.claim(REF, "ann", 1, THRIFTY)).budget) == 10.0


async def test_a_clock_that_was_set_back_does_not_keep_the_row_budget_in_debt(
    queue: QueueService, clock: Clock
) -> None:
    await start(queue, 350, 10)
    await one(queue, limits=SLOW)
    clock.advance(-86_400)
    answer = await queue.claim(REF, "bob", 1, SLOW)
    assert (len(answer.jobs), answer.wait) == (1, None)


async def test_without_a_row_budget_nothing_is_debited(queue: QueueService) -> None:
    sweep = await start(queue, 10**6, 1)
    claim = await one(queue)
    assert (await queue.claim(REF, "bob", 0, Limits())).budget is None
    settled = await settle(queue, Settlement(claim, applied=10**6), want=1)
    assert (len(settled.claims.jobs), settled.claims.wait) == (1, None)
    assert settled.claims.jobs[0].job == range_job(sweep, 1, 1000)
