"""Rows that a write leaves as they were without an error: each is its own failure, and all of them end the sweep."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kubesweep.api.plan import RetryPolicy, RowLimits
from kubesweep.queue.model import Job, JobKind, SweepState
from kubesweep_worker.outcome import Tally
from kubesweep_worker.refusals import Refusals
from kubesweep_worker.sources.base import Written
from tests.worker_kit import MemorySource, ScriptedEffect, Workbench, a_plan, key, with_effect

JOB = Job(kind=JobKind.KEYS, sweep="s", keys=(key(1),), rows=1)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Workbench]:
    made = Workbench(tmp_path, MemorySource(300))
    yield made
    await made.queue.close()


@pytest.mark.parametrize("effect", [False, True], ids=["without an effect", "with an effect"])
async def test_refused_rows_spend_attempts_and_die_while_the_others_are_applied(bench: Workbench, effect: bool) -> None:
    bench.source.refused = {key(3), key(250)}
    if effect:
        bench.plan, bench.effect = with_effect(bench.plan), ScriptedEffect()
    stats = await bench.sweep(retries=True)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied) == (SweepState.COMPLETED, 298)
    assert (stats.sweep.skipped, stats.sweep.dead) == (0, 2)
    letters = {letter.key: letter for letter in await bench.dead()}
    assert letters.keys() == {key(3), key(250)}
    assert {(one.error, one.message, len(one.attempts)) for one in letters.values()} == {
        ("WriteRefused", "a trigger keeps it", 3)
    }
    calls = len(bench.effect.calls) if effect else 0
    again = await bench.sweep()
    assert again.sweep is not None
    assert again.sweep.planned == 0
    assert (len(bench.effect.calls) if effect else 0) == calls


async def test_fifty_refused_rows_and_none_applied_fail_the_sweep(bench: Workbench) -> None:
    bench.source.refused = set(bench.source.stale_keys)
    stats = await bench.sweep()
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.reason) == (SweepState.FAILED, "WriteRefused")
    assert stats.sweep.message.endswith("none was. Of each: a trigger keeps it")
    assert (stats.held, stats.dead, set(bench.source.writes)) == (0, 0, {()})


async def test_a_sweep_without_an_effect_reaches_the_free_rows_behind_refused_ones(bench: Workbench) -> None:
    bench.source.refused = {key(number) for number in range(200)}
    bench.plan = a_plan(limits=RowLimits(batch_rows=20), halt_above=5)
    stats = await bench.sweep()
    assert stats.sweep is not None
    assert (stats.sweep.applied, bench.source.stale_keys) == (100, bench.source.refused)
    assert (stats.sweep.state, stats.sweep.reason, stats.held) == (SweepState.HALTED, "TooManyHeld", 5)


async def test_the_sweep_after_a_capped_one_that_failed_at_its_end_goes_on_behind_it(bench: Workbench) -> None:
    bench.source.refused = {key(number) for number in range(200)}
    bench.plan = a_plan(limits=RowLimits(batch_rows=100, max_rows_per_sweep=100))
    states = []
    for _ in range(3):
        sweep = (await bench.sweep()).sweep
        assert sweep is not None
        states.append((sweep.state, sweep.applied, sweep.skipped))
    assert states == [(SweepState.FAILED, 0, 100), (SweepState.FAILED, 0, 100), (SweepState.COMPLETED, 100, 0)]


async def test_fifty_refused_rows_with_an_effect_fail_the_sweep_and_are_not_notified_by_the_next(
    bench: Workbench,
) -> None:
    bench.source.refused = set(bench.source.stale_keys)
    later = RetryPolicy(backoff=3600.0, max_backoff=3600.0)  # not due before the test has looked
    bench.plan, bench.effect = with_effect(a_plan(retry=later)), ScriptedEffect()
    for _ in range(2):
        stats = await bench.sweep()
        assert stats.sweep is not None
        assert (stats.sweep.state, stats.sweep.reason) == (SweepState.FAILED, "WriteRefused")
    notified = [delivery.key for delivery in bench.effect.calls]
    assert 100 <= len(notified) == len(set(notified)) < 300


async def test_rows_that_another_worker_applied_keep_the_sweep_going() -> None:
    applied = 1

    async def ask() -> int:
        return applied

    refusals, all_refused = Refusals(ask), Tally(refused=50, why="a trigger keeps it")
    assert await refusals.of_all(JOB, all_refused) is None
    applied = 0
    assert await refusals.of_all(JOB, Tally(refused=1)) is not None
    assert await refusals.of_all(JOB, Tally(applied=1)) is None
    assert await refusals.of_all(JOB, all_refused) is None


HELD = Job(kind=JobKind.KEYS, held=True, keys=(key(1),), rows=1)


@pytest.mark.parametrize(
    ("job", "applied", "by_others", "never"),
    [(JOB, 0, 0, True), (JOB, 5, 0, False), (JOB, 0, 5, False), (HELD, 0, 0, False)],
)
async def test_a_write_that_changes_nothing_is_at_fault_only_where_no_row_of_the_sweep_was_applied(
    job: Job, applied: int, by_others: int, never: bool
) -> None:
    async def ask() -> int:
        return by_others

    tally = Tally(applied=applied)
    tally.add(Written(0, still_stale=1, refused=(key(1),)))
    assert await Refusals(ask).never_ends(job, tally) is never
    assert [failure.error for failure in tally.failed] == ([] if never else ["StillStale"])
