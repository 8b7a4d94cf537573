from __future__ import annotations

import msgspec
import pytest

from kubesweep.queue.model import (
    FLOOD,
    Limits,
    Settlement,
    SweepState,
    Window,
)
from kubesweep.queue.service import QueueService
from tests.contract.backends import Clock
from tests.contract.helpers import (
    CUTOFF,
    REF,
    TICK,
    failed,
    get_stats,
    key,
    latest,
    make_dead_letters,
    one,
    open_sweep,
    range_job,
    retry,
    settle,
    start,
    take,
)


async def test_a_sweep_halts_at_the_row_beyond_the_limit_of_excluded_rows(queue: QueueService, clock: Clock) -> None:
    few = Limits(halt_above=3)
    sweep = await start(queue, 5, 5, 5, 5)
    first, second, third = await take(queue, 3)
    failing = (*retry(1), *retry(2, 3, error="ForeignKeyViolation"))
    assert (await settle(queue, Settlement(first, applied=2, retry=failing), limits=few)).halted == ()
    settled = await settle(queue, Settlement(second, applied=3, retry=retry(4), dead=failed(5)), want=5, limits=few)
    assert (settled.halted, settled.finished, settled.claims.jobs) == ((sweep,), (), ())
    found = await latest(queue)
    assert (found.state, found.finished, found.open_jobs) == (SweepState.HALTED, clock.now, 1)
    assert (found.reason, found.message) == (
        "TooManyFailedRows",
        '3 rows are in retry or dead, most by ForeignKeyViolation, such as ["2"]: as many as deadLetters.haltAbove allows; '
        "fix the cause, then retry them, or purge them",
    )
    settled = await settle(queue, Settlement(third, applied=4, retry=retry(6)), limits=few)
    assert (settled.halted, settled.finished, settled.lost) == ((), (), ())
    found = await latest(queue)
    assert (found.applied, found.retrying, found.dead, found.skipped, found.open_jobs) == (9, 3, 0, 3, 0)
    assert (await queue.excluded(REF)).keys == {key(1), key(2), key(3)}


async def test_a_sweep_that_halts_late_has_tried_every_row_first(queue: QueueService) -> None:
    few = Limits(halt_above=3, halt_at_end=True)
    sweep = await start(queue, 5, 5)
    settled = await settle(queue, Settlement(await one(queue), dead=failed(1, 2, 3, 4, 5)), want=1, limits=few)
    assert (settled.halted, settled.finished, len(settled.claims.jobs)) == ((), (), 1)
    found = await latest(queue)
    assert (found.state, found.reason, found.dead, found.skipped) == (SweepState.RUNNING, "TooManyFailedRows", 3, 2)
    settled = await settle(queue, Settlement(settled.claims.jobs[0], applied=5), limits=few)
    assert (settled.halted, settled.finished) == ((sweep,), ())
    found = await latest(queue)
    assert (found.state, found.reason, found.applied, found.open_jobs) == (SweepState.HALTED, "TooManyFailedRows", 5, 0)


@pytest.mark.parametrize(("applied", "died"), [(0, 0), (0, FLOOD), (5, 0)])
async def test_a_sweep_fails_at_its_end_for_what_a_settlement_says_unless_a_row_was_applied(
    queue: QueueService, applied: int, died: int
) -> None:
    late = Limits(halt_at_end=True)
    sweep = await start(queue, 5, 50 + died)
    why = ("WriteRefused", "none was written")
    settled = await settle(queue, Settlement(await one(queue), skipped=5, sweep_failure=why), want=1, limits=late)
    found = await latest(queue)
    assert (settled.halted, found.state, found.reason, found.message) == ((), SweepState.RUNNING, *why)
    done = Settlement(settled.claims.jobs[0], applied=applied, skipped=50 - applied, dead=failed(*range(died)))
    settled = await settle(queue, done, limits=late)
    assert (settled.halted, settled.finished) == (((), (sweep,)) if applied else ((sweep,), ()))
    found = await latest(queue)
    assert (found.state, found.reason) == ((SweepState.COMPLETED, "") if applied else (SweepState.FAILED, why[0]))


async def test_too_many_failed_rows_outlast_what_a_settlement_says(queue: QueueService) -> None:
    few = Limits(halt_above=3, halt_at_end=True)
    await start(queue, 5, 5, 5)
    why = ("WriteRefused", "none was written")
    first, second, third = await take(queue, 3)
    await settle(queue, Settlement(first, skipped=5, sweep_failure=why), limits=few)
    await settle(queue, Settlement(second, dead=failed(1, 2, 3, 4, 5)), limits=few)
    assert (await latest(queue)).reason == "TooManyFailedRows"
    await settle(queue, Settlement(third, skipped=5, sweep_failure=why), limits=few)
    found = await latest(queue)
    assert (found.state, found.reason) == (SweepState.HALTED, "TooManyFailedRows")


@pytest.mark.parametrize("late", [True, False], ids=["at its end", "early"])
async def test_a_halted_sweep_keeps_where_it_was_capped(queue: QueueService, late: bool) -> None:
    sweep = (await open_sweep(queue)).sweep
    jobs = (range_job(sweep, 5), range_job(sweep, 5, 5))
    window = Window(CUTOFF, jobs, planned=10, capped=True, stopped='x["10"]')
    assert await queue.advance(REF, await one(queue, "planner"), window)
    few = Limits(halt_above=3, halt_at_end=late)
    settled = await settle(queue, Settlement(await one(queue), dead=failed(1, 2, 3, 4, 5)), want=1, limits=few)
    for claim in settled.claims.jobs:
        await settle(queue, Settlement(claim, dead=failed(6), applied=4), limits=few)
    assert (await latest(queue)).state is SweepState.HALTED
    await open_sweep(queue, TICK + 60)
    (past,) = (await get_stats(queue)).history
    assert (past.state, past.capped, past.stopped, past.balanced) == (SweepState.HALTED, True, 'x["10"]', late)


@pytest.mark.parametrize("applied", [0, 5])
async def test_a_flood_is_judged_at_the_end_of_a_sweep_that_halts_late(queue: QueueService, applied: int) -> None:
    late = Limits(halt_at_end=True)
    sweep = await start(queue, FLOOD, 5)
    settled = await settle(queue, Settlement(await one(queue), dead=failed(*range(FLOOD))), want=1, limits=late)
    assert (settled.halted, (await latest(queue)).reason) == ((), "Flood")
    done = Settlement(settled.claims.jobs[0], applied=applied, skipped=5 - applied)
    settled = await settle(queue, done, limits=late)
    assert (settled.halted, settled.finished) == (((), (sweep,)) if applied else ((sweep,), ()))
    found = await latest(queue)
    assert (found.state, found.reason) == ((SweepState.COMPLETED, "") if applied else (SweepState.HALTED, "Flood"))


async def test_an_excluded_row_may_fail_again_at_the_limit(queue: QueueService, clock: Clock) -> None:
    few = Limits(halt_above=2)
    await start(queue, 2, 5)
    await settle(queue, Settlement(await one(queue), retry=retry(1, 2)), limits=few)
    clock.advance(10)
    settled = await settle(queue, Settlement(await one(queue), retry=retry(1, attempt=3), dead=failed(2)), limits=few)
    assert settled.halted == ()
    stats = await get_stats(queue)
    assert (stats.excluded, stats.dead) == (2, 1)


async def test_room_is_made_by_rows_that_leave_in_the_same_call(queue: QueueService, clock: Clock) -> None:
    few = Limits(halt_above=2)
    await start(queue, 2, 5)
    await settle(queue, Settlement(await one(queue), retry=retry(1, 2)), limits=few)
    clock.advance(10)
    excluded, planned = await take(queue, 2)
    settled = await settle(
        queue, Settlement(excluded, applied=2), Settlement(planned, applied=3, retry=retry(3, 4)), limits=few
    )
    assert (settled.halted, (await queue.excluded(REF)).keys) == ((), {key(3), key(4)})


async def test_the_bound_is_one_for_each_origin(queue: QueueService) -> None:
    few = Limits(halt_above=2)
    await make_dead_letters(queue, 1, 2, origin="old(id) #1")
    sweep = await start(queue, 3, 5, tick=TICK + 60, origin="new(id) #2")
    claim = await one(queue)
    assert (await settle(queue, Settlement(claim, dead=failed(1, 2), rest=claim.job), limits=few)).halted == ()
    assert (await settle(queue, Settlement(claim, dead=failed(3)), limits=few)).halted == (sweep,)
    assert (await get_stats(queue)).dead == 4


@pytest.mark.parametrize(("before", "now"), [("", "new(id) #2"), ("old(id) #1", "")])
async def test_rows_without_an_origin_count_with_those_of_every_origin(
    queue: QueueService, before: str, now: str
) -> None:
    await make_dead_letters(queue, 1, 2, origin=before)
    sweep = await start(queue, 3, 5, tick=TICK + 60, origin=now)
    settled = await settle(queue, Settlement(await one(queue), dead=failed(3)), limits=Limits(halt_above=2))
    assert settled.halted == (sweep,)


async def test_a_sweep_none_of_whose_rows_fail_continues_despite_many_excluded_rows(queue: QueueService) -> None:
    few = Limits(halt_above=2)
    await make_dead_letters(queue, 1, 2, 3)
    sweep = await start(queue, 5, tick=TICK + 60)
    settled = await settle(queue, Settlement(await one(queue), applied=5), limits=few)
    assert (settled.halted, settled.finished) == ((), (sweep,))


@pytest.mark.parametrize(
    ("applied", "died", "halts"), [(0, FLOOD, True), (0, FLOOD - 1, False), (1, FLOOD, False), (0, FLOOD + 1, True)]
)
async def test_a_flood_of_one_error_with_none_applied_halts_the_sweep(
    queue: QueueService, applied: int, died: int, halts: bool
) -> None:
    sweep = await start(queue, died, 5)
    claim = await one(queue)
    half = died // 2
    rest = range_job(sweep, died - half)
    await settle(queue, Settlement(claim, dead=failed(*range(half)), rest=rest))
    settled = await settle(queue, Settlement(claim, applied=applied, dead=failed(*range(half, died))))
    assert settled.halted == ((sweep,) if halts else ())
    found = await latest(queue)
    assert (found.state, found.dead) == (SweepState.HALTED if halts else SweepState.RUNNING, died)


async def test_deaths_of_different_errors_are_no_flood(queue: QueueService) -> None:
    await start(queue, FLOOD, 5)
    claim = await one(queue)
    dead = failed(*range(FLOOD - 1)) + failed(FLOOD, error="NumericOutOfRange")
    assert (await settle(queue, Settlement(claim, dead=dead))).halted == ()


async def test_rows_applied_in_the_same_call_avert_the_flood(queue: QueueService) -> None:
    await start(queue, FLOOD, 5, 5)
    first, second = await take(queue, 2)
    settled = await settle(queue, Settlement(first, dead=failed(*range(FLOOD))), Settlement(second, applied=5))
    assert settled.halted == ()


@pytest.mark.parametrize("died", [FLOOD - 1, FLOOD])
async def test_a_flood_that_shows_only_after_the_retries_halts_the_completed_sweep(
    queue: QueueService, clock: Clock, died: int
) -> None:
    sweep = await start(queue, died)
    settled = await settle(queue, Settlement(await one(queue), retry=retry(*range(died))))
    assert (settled.finished, (await latest(queue)).succeeded) == ((sweep,), False)
    clock.advance(10)
    claim = await one(queue)
    half = died // 2
    left = msgspec.structs.replace(claim.job, keys=claim.job.keys[half:], rows=died - half)
    await settle(queue, Settlement(claim, dead=failed(*range(half)), rest=left))
    clock.advance(1)
    settled = await settle(queue, Settlement(claim, dead=failed(*range(half, died))))
    halts = died >= FLOOD
    assert (settled.halted, settled.finished) == ((sweep,) if halts else (), ())
    found = await latest(queue)
    assert found.state is (SweepState.HALTED if halts else SweepState.COMPLETED)
    assert (found.dead, found.retrying, found.succeeded) == (died, 0, False)
    if halts:
        assert (found.reason, found.finished) == ("Flood", clock.now)


async def test_deaths_before_a_sweep_completed_count_towards_a_flood_after_it(
    queue: QueueService, clock: Clock
) -> None:
    sweep = await start(queue, FLOOD)
    claim, half = await one(queue), FLOOD // 2
    await settle(queue, Settlement(claim, dead=failed(*range(half)), retry=retry(*range(half, FLOOD))))
    assert (await latest(queue)).state is SweepState.COMPLETED
    clock.advance(10)
    settled = await settle(queue, Settlement(await one(queue), dead=failed(*range(half, FLOOD))))
    assert settled.halted == (sweep,)


async def test_a_completed_sweep_of_which_rows_were_applied_stays_completed(queue: QueueService, clock: Clock) -> None:
    await start(queue, FLOOD + 1)
    await settle(queue, Settlement(await one(queue), applied=1, retry=retry(*range(FLOOD))))
    clock.advance(10)
    settled = await settle(queue, Settlement(await one(queue), dead=failed(*range(FLOOD))))
    assert settled.halted == ()
    assert (await latest(queue)).succeeded


async def test_many_excluded_rows_do_not_halt_a_sweep_that_is_completed(queue: QueueService, clock: Clock) -> None:
    await make_dead_letters(queue, 7, 8, 9)
    await start(queue, 2, tick=TICK + 60)
    await settle(queue, Settlement(await one(queue), applied=1, retry=retry(1)))
    clock.advance(10)
    settled = await settle(queue, Settlement(await one(queue), dead=failed(1)), limits=Limits(halt_above=2))
    assert (settled.halted, (await latest(queue)).state) == ((), SweepState.COMPLETED)
