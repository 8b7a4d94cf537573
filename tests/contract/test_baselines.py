"""The baseline of a schedule is kept with the windows that its sweeps plan, and can be restored after a loss."""

from __future__ import annotations

from kubesweep.queue.model import LONGEST_DATABASE, PlanVersion, StaleRows, SweepState, Window
from kubesweep.queue.service import QueueService
from tests.contract.helpers import (
    CUTOFF,
    OTHER,
    PLAN,
    REF,
    TICK,
    a_baseline,
    get_stats,
    key,
    latest,
    one,
    open_sweep,
    plan_job,
    range_job,
    start,
)

OLDER, NEWER = a_baseline("7291/shop/16384"), a_baseline("8100/shop/16384", None, match="cccc")


async def test_it_is_kept_with_a_window_and_not_changed_by_one_without(queue: QueueService) -> None:
    assert (await get_stats(queue)).baseline is None
    await open_sweep(queue)
    claim = await one(queue)
    following = plan_job(claim.job.sweep)
    assert await queue.advance(REF, claim, Window(CUTOFF, next=following, baseline=OLDER))
    assert (await get_stats(queue)).baseline == OLDER
    assert await queue.advance(REF, await one(queue), Window(CUTOFF))
    assert (await get_stats(queue)).baseline == OLDER
    await open_sweep(queue, TICK + 60)
    assert await queue.advance(REF, await one(queue), Window(CUTOFF, baseline=NEWER))
    assert (await get_stats(queue)).baseline == NEWER


async def test_a_window_that_comes_too_late_changes_nothing(queue: QueueService) -> None:
    await open_sweep(queue)
    claim = await one(queue)
    await queue.end_sweep(REF, claim, SweepState.FAILED, "Reason", "")
    assert not await queue.advance(REF, claim, Window(CUTOFF, baseline=OLDER))
    assert (await get_stats(queue)).baseline is None


async def test_a_window_of_a_sweep_that_was_superseded_meanwhile_changes_nothing(queue: QueueService) -> None:
    sweep = (await open_sweep(queue)).sweep
    claim = await one(queue)
    await open_sweep(queue, TICK + 60, PlanVersion(2, "bbbb"))
    window = Window(CUTOFF, (range_job(sweep, 5),), planned=5, origin="here", baseline=OLDER)
    assert not await queue.advance(REF, claim, window)
    stats = await get_stats(queue)
    assert (stats.running, stats.ready, stats.delayed, stats.baseline, stats.origin) == (0, 1, 0, None, "")
    assert (stats.history[0].planned, stats.history[0].open_jobs) == (0, 0)


async def test_a_sweep_that_awaits_approval_leaves_the_baseline_of_the_one_before(queue: QueueService) -> None:
    await open_sweep(queue)
    await queue.advance(REF, await one(queue), Window(CUTOFF, baseline=OLDER))
    await open_sweep(queue, TICK + 60)
    await queue.end_sweep(REF, await one(queue), SweepState.AWAITING_APPROVAL, "PredicateChanged", "match differs")
    assert (await get_stats(queue)).baseline == OLDER
    await queue.approve(REF)
    await queue.advance(REF, await one(queue), Window(CUTOFF, baseline=NEWER))
    assert (await get_stats(queue)).baseline == NEWER


async def test_it_is_restored_only_where_there_is_none(queue: QueueService) -> None:
    await queue.restore_baseline(REF, OLDER)
    assert not (await get_stats(queue)).known
    await queue.enqueue_check(REF, PLAN)
    await queue.restore_baseline(REF, OLDER)
    await queue.restore_baseline(REF, NEWER)
    assert (await get_stats(queue)).baseline == OLDER
    assert (await get_stats(queue, OTHER)).baseline is None


async def test_the_longest_name_of_a_database_is_kept(queue: QueueService) -> None:
    await queue.enqueue_check(REF, PLAN)
    long = a_baseline("/" + "x" * (LONGEST_DATABASE - 1))
    await queue.restore_baseline(REF, long)
    assert (await get_stats(queue)).baseline == long


async def test_forgetting_a_schedule_forgets_it(queue: QueueService) -> None:
    await queue.enqueue_check(REF, PLAN)
    await queue.restore_baseline(REF, OLDER)
    await queue.forget(REF)
    await queue.enqueue_check(REF, PLAN)
    assert (await get_stats(queue)).baseline is None


async def test_the_newest_row_and_the_samples_stay_when_a_later_step_finds_none(queue: QueueService) -> None:
    sweep = await start(queue, 10)
    await queue.record_stale(REF, sweep, StaleRows(12, TICK - 60.5, newest=TICK - 1.25, samples=(key(1), ("eu", "2"))))
    found = await latest(queue)
    assert (found.newest, found.samples) == (TICK - 1.25, (key(1), ("eu", "2")))
    await queue.record_stale(REF, sweep, StaleRows(None, TICK - 30))
    found = await latest(queue)
    assert (found.stale, found.oldest, found.newest) == (12, TICK - 30, TICK - 1.25)
    assert found.samples == (key(1), ("eu", "2"))
