from __future__ import annotations

import msgspec

from kubesweep.queue.model import (
    ATTEMPTS,
    HISTORY,
    Attempt,
    FailedRow,
    Job,
    JobKind,
    Retry,
    RowCounts,
    Settlement,
    SweepState,
    Window,
)
from kubesweep.queue.service import QueueService
from tests.contract.backends import Clock, Open
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
    make_dead_letters,
    one,
    open_sweep,
    plan_job,
    range_job,
    retry,
    settle,
    start,
    take,
)


async def test_the_last_settlement_finishes_the_sweep_exactly_once(make_queue: Open, clock: Clock) -> None:
    ann, bob = make_queue(), make_queue()
    sweep = await start(ann, 10, 20)
    first, second = await one(ann), await one(bob, "bob")
    assert (await settle(ann, Settlement(first, applied=7, skipped=2, unconfirmed=1))).finished == ()
    clock.advance(4)
    assert (await settle(bob, Settlement(second, applied=20), who="bob")).finished == (sweep,)
    for claim in (first, second):
        again = await settle(ann, Settlement(claim, applied=9))
        assert (again.lost, again.finished) == ((claim.id,), ())
    found = await latest(ann)
    assert (found.state, found.finished, found.planned) == (SweepState.COMPLETED, clock.now, 30)
    assert (found.applied, found.skipped, found.unconfirmed, found.open_jobs) == (27, 2, 1, 0)
    assert found.balanced


async def test_a_sweep_is_not_finished_while_its_plan_job_is_open(queue: QueueService) -> None:
    sweep = (await open_sweep(queue)).sweep
    window = Window(CUTOFF, (range_job(sweep, 10),), plan_job(sweep), planned=10)
    await queue.advance(REF, await one(queue), window)
    job = await one(queue)
    assert (await settle(queue, Settlement(job, applied=10))).finished == ()
    assert (await latest(queue)).state is SweepState.PLANNING


async def test_settling_and_claiming_are_one_operation(queue: QueueService) -> None:
    await start(queue, 1, 2, 3, 4)
    first, second = await take(queue, 2)
    settled = await settle(queue, Settlement(first, applied=1), Settlement(second, applied=2), want=5)
    assert [claim.job.rows for claim in settled.claims.jobs] == [3, 4]
    assert {claim.delivery for claim in settled.claims.jobs} == {1}


async def test_the_answer_has_the_rows_that_the_call_counted(queue: QueueService, clock: Clock) -> None:
    await start(queue, 10, 10)
    first, second = await take(queue, 2)
    part = Settlement(first, applied=3, retry=retry(1, 2), rest=range_job(first.job.sweep, 5))
    whole = Settlement(second, applied=4, skipped=1, unconfirmed=2, retry=retry(11), dead=failed(12, 13))
    assert (await settle(queue, part, whole)).rows == RowCounts(7, 1, 2, 3, 2)
    assert (await settle(queue, part)).rows == RowCounts(), "a part that was settled before counts once"
    elsewhere = Settlement(first, applied=3, dead=failed(11, 14))
    assert (await settle(queue, elsewhere)).rows == RowCounts(3, 1, 0, 0, 1), "another job retries row 11"
    assert (await settle(queue, elsewhere)).rows == RowCounts(), "lost"
    clock.advance(11)
    again = [claim for claim in await take(queue, 5) if claim.job.is_retry]
    rows = [Settlement(claim, retry=retry(*(int(each) for (each,) in claim.job.keys), attempt=3)) for claim in again]
    assert (await settle(queue, *rows)).rows == RowCounts(retrying=3), "each failure counts"
    found = await latest(queue)
    assert (found.applied, found.skipped, found.unconfirmed, found.retrying, found.dead) == (10, 2, 2, 3, 3)


async def test_rows_of_a_sweep_that_the_queue_has_forgotten_are_counted_in_the_answer(
    queue: QueueService, clock: Clock
) -> None:
    await make_dead_letters(queue, 1, 2)
    for n in range(1, HISTORY + 2):
        clock.advance(60)
        await open_sweep(queue, TICK + 60 * n)
        await queue.advance(REF, await one(queue), Window(CUTOFF))
    assert await queue.replay(REF) == 2
    assert (await settle(queue, Settlement(await one(queue), applied=2))).rows == RowCounts(applied=2)


async def test_a_claim_settled_twice_in_one_call_counts_once(queue: QueueService) -> None:
    sweep = await start(queue, 5)
    claim = await one(queue)
    settled = await settle(queue, Settlement(claim, applied=5), Settlement(claim, applied=5))
    assert (settled.lost, settled.finished) == ((claim.id,), (sweep,))
    assert (await latest(queue)).applied == 5


async def test_a_lost_settlement_changes_nothing_while_the_others_count(queue: QueueService, clock: Clock) -> None:
    sweep = await start(queue, 5, 6)
    stale, kept = await take(queue, 2)
    clock.advance(LIMITS.lease - 1)
    await queue.extend(REF, [kept], 30)
    clock.advance(2)
    await one(queue, "bob")
    spoiled = Settlement(
        stale, applied=1, retry=retry(1), dead=failed(2), extra=4, jobs=(range_job(sweep, 2),), rest=range_job(sweep, 1)
    )
    settled = await settle(queue, spoiled, Settlement(kept, applied=6))
    assert settled.lost == (stale.id,)
    found = await latest(queue)
    assert (found.applied, found.retrying, found.dead, found.planned, found.open_jobs) == (6, 0, 0, 11, 1)
    stats = await get_stats(queue)
    assert (stats.excluded, stats.ready, stats.running, stats.delayed) == (0, 0, 1, 0)


async def test_rows_that_the_plan_had_not_counted_are_added_to_planned(queue: QueueService) -> None:
    await start(queue, 5)
    await settle(queue, Settlement(await one(queue), applied=8, extra=3))
    found = await latest(queue)
    assert (found.planned, found.applied, found.balanced) == (8, 8, True)


async def test_the_rest_of_a_job_stays_with_its_consumer_under_a_new_lease(queue: QueueService, clock: Clock) -> None:
    await start(queue, 150)
    claim = await one(queue)
    clock.advance(LIMITS.lease - 1)
    rest = msgspec.structs.replace(claim.job, low=key(50), rows=100)
    settled = await settle(queue, Settlement(claim, applied=49, retry=retry(7), rest=rest), want=1)
    assert (settled.lost, settled.finished, settled.claims.jobs) == ((), (), ())
    found = await latest(queue)
    assert (found.applied, found.retrying, found.open_jobs) == (49, 1, 1)
    clock.advance(LIMITS.lease - 1)
    assert [claim.job.is_retry for claim in await take(queue, 5, "bob")] == [True]
    clock.advance(1)
    again = await take(queue, 1, "bob")
    assert [(claim.job, claim.delivery) for claim in again] == [(rest, 2)]
    assert (await settle(queue, Settlement(claim, applied=100))).lost == (claim.id,)
    assert (await settle(queue, Settlement(again[0], applied=100), who="bob")).finished == (found.id,)
    assert (await latest(queue)).balanced


async def test_a_part_that_is_settled_twice_counts_once_and_keeps_the_lease(queue: QueueService, clock: Clock) -> None:
    await start(queue, 10)
    claim = await one(queue)
    rest = msgspec.structs.replace(claim.job, low=key(4), rows=6)
    part = Settlement(claim, applied=3, retry=retry(1, delay=3600), rest=rest)
    assert (await settle(queue, part)).lost == ()
    clock.advance(LIMITS.lease - 1)
    assert (await settle(queue, part)).lost == ()
    found = await latest(queue)
    assert (found.planned, found.applied, found.retrying, found.skipped, found.open_jobs) == (10, 3, 1, 0, 1)
    assert (await get_stats(queue)).delayed == 1
    clock.advance(LIMITS.lease - 1)
    assert await take(queue, 1, "bob") == ()
    claim = msgspec.structs.replace(claim, job=rest)
    assert (await settle(queue, Settlement(claim, applied=6))).finished == (found.id,)
    assert (await latest(queue)).balanced


async def test_a_part_that_leaves_the_job_as_it_was_counts(queue: QueueService) -> None:
    """Each row that it wrote had turned stale after the plan, so as many are left as before."""
    await start(queue, 10)
    claim = await one(queue)
    assert (await settle(queue, Settlement(claim, applied=3, extra=3, rest=claim.job))).lost == ()
    found = await latest(queue)
    assert (found.planned, found.applied) == (13, 3)


async def test_halves_replace_a_job_and_keep_the_sweep_open(queue: QueueService) -> None:
    sweep = await start(queue, 10)
    claim = await one(queue)
    halves = tuple(Job(JobKind.RANGE, PLAN, sweep, CUTOFF, low=key(at), rows=4, suspect=True) for at in (0, 5))
    assert (await settle(queue, Settlement(claim, applied=2, jobs=halves))).finished == ()
    claims = await take(queue, 5)
    assert [(claim.job, claim.delivery) for claim in claims] == [(half, 1) for half in halves]
    assert (await latest(queue)).open_jobs == 2
    assert (await settle(queue, *(Settlement(claim, applied=4) for claim in claims))).finished == (sweep,)
    assert (await latest(queue)).balanced


async def test_halves_of_a_settled_sweep_are_dropped_and_its_retries_kept(queue: QueueService, clock: Clock) -> None:
    sweep = await start(queue, 10, 5)
    claim, broken = await take(queue, 2)
    await queue.end_sweep(REF, broken, SweepState.FAILED, "Broken", "a sentence")
    await settle(queue, Settlement(claim, retry=retry(1, 2), jobs=(range_job(sweep, 8),)))
    stats = await get_stats(queue)
    assert stats.sweep is not None
    assert (stats.ready, stats.delayed, stats.excluded, stats.sweep.retrying) == (0, 1, 2, 2)
    assert stats.sweep.open_jobs == 0


async def test_outcomes_of_a_sweep_that_is_forgotten_change_no_other_counters(
    queue: QueueService, clock: Clock
) -> None:
    await start(queue, 2)
    await settle(queue, Settlement(await one(queue), retry=retry(1, 2, delay=1000)))
    for at in range(1, 12):
        await start(queue, tick=TICK + at)
    clock.advance(1000)
    claim = await one(queue)
    assert claim.job.is_retry
    before = await get_stats(queue)
    assert (await settle(queue, Settlement(claim, applied=1, dead=failed(2)))).lost == ()
    after = await get_stats(queue)
    assert (after.excluded, after.dead) == (1, 1)
    assert (after.sweep, after.history) == (before.sweep, before.history)


async def test_a_dead_letter_has_the_history_of_its_row(queue: QueueService, clock: Clock) -> None:
    sweep = await start(queue, 1)
    at = clock.now
    await settle(queue, Settlement(await one(queue), retry=retry(1, error="Deadlock")))
    clock.advance(10)
    await settle(queue, Settlement(await one(queue), dead=failed(1, error="CheckViolation")))
    (letter,) = await queue.dead_letters(REF)
    assert (letter.key, letter.error, letter.message) == (key(1), "CheckViolation", "row 1 was refused")
    assert (letter.at, letter.sweep) == (clock.now, sweep)
    assert letter.attempts == (
        Attempt(at, "Deadlock", "row 1 was refused"),
        Attempt(clock.now, "CheckViolation", "row 1 was refused"),
    )


async def test_a_dead_letter_shows_where_its_last_attempt_failed(queue: QueueService, clock: Clock) -> None:
    await start(queue, 1)
    first = FailedRow(key(1), "ValueError", "no", "/app/sweeps.py:7")
    await settle(queue, Settlement(await one(queue), retry=(Retry((first,), 2, 10.0),)))
    clock.advance(10)
    last = msgspec.structs.replace(first, where="/app/sweeps.py:42")
    await settle(queue, Settlement(await one(queue), dead=(last,)))
    (letter,) = await queue.dead_letters(REF)
    assert letter.attempts[-1].where == "/app/sweeps.py:42"


async def test_the_history_of_a_row_is_bounded_and_keeps_the_latest(queue: QueueService, clock: Clock) -> None:
    await start(queue, 1)
    claim = await one(queue)
    for attempt in range(ATTEMPTS + 3):
        again = Retry(failed(1, error=f"Error{attempt}"), attempt + 2, 1.0)
        await settle(queue, Settlement(claim, retry=(again,)))
        clock.advance(1)
        claim = await one(queue)
    await settle(queue, Settlement(claim, dead=failed(1, error="Last")))
    (letter,) = await queue.dead_letters(REF)
    assert len(letter.attempts) == ATTEMPTS
    assert [attempt.error for attempt in letter.attempts[-2:]] == [f"Error{ATTEMPTS + 2}", "Last"]
    assert await dead_keys(queue) == [key(1)]


async def test_the_batch_hint_of_a_settlement_is_part_of_each_later_claim(queue: QueueService) -> None:
    await start(queue, 1, 1, 1, 1)
    first, second, third = await take(queue, 3)
    answer = await settle(queue, Settlement(claim=first, applied=1, batch_hint="aaaa 125"))
    assert answer.claims.batch_hint == "aaaa 125"
    answer = await settle(queue, Settlement(claim=second, applied=1))
    assert answer.claims.batch_hint == "aaaa 125"
    assert (await queue.claim(REF, "bob", 1, LIMITS)).batch_hint == "aaaa 125"
    answer = await settle(queue, Settlement(claim=third, applied=1, batch_hint=""))
    assert answer.claims.batch_hint == ""
