"""Rows that a write leaves unchanged without an error: each one fails alone, and many of them fail the sweep."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kubesweep.api.plan import RetryPolicy, RowLimits
from kubesweep.queue.model import Job, JobKind, SweepState
from kubesweep_worker.jobs.rows.refused_writes import RefusedWrites
from kubesweep_worker.jobs.rows.settlement import RowResults
from kubesweep_worker.sources.base import Written
from tests.kits.worker import MemorySource, ScriptedEffect, Workbench, a_plan, key, with_effect

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
    assert stats.sweep.message.endswith("none was. Reason for each: a trigger keeps it")
    assert (stats.excluded, stats.dead, set(bench.source.writes)) == (0, 0, {()})


async def test_a_sweep_without_an_effect_reaches_the_free_rows_behind_refused_ones(bench: Workbench) -> None:
    bench.source.refused = {key(number) for number in range(200)}
    bench.plan = a_plan(limits=RowLimits(batch_rows=20), halt_above=5)
    stats = await bench.sweep()
    assert stats.sweep is not None
    assert (stats.sweep.applied, bench.source.stale_keys) == (100, bench.source.refused)
    assert (stats.sweep.state, stats.sweep.reason, stats.excluded) == (SweepState.HALTED, "TooManyFailedRows", 5)


async def test_the_sweep_after_a_capped_one_that_failed_at_its_end_continues_behind_it(bench: Workbench) -> None:
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


def refused_rows(number: int, *, still_stale: bool = False) -> RowResults:
    results = RowResults()
    keys = tuple(key(each) for each in range(number))
    results.add(Written(0, still_stale=number if still_stale else 0, refused=keys, why="a trigger keeps it"))
    return results


async def test_rows_that_another_worker_applied_keep_the_sweep_going() -> None:
    applied = 1

    async def ask() -> int:
        return applied

    refused_writes, all_refused = RefusedWrites(ask), refused_rows(50)
    assert await refused_writes.sweep_failure(JOB, all_refused) is None
    applied = 0
    assert await refused_writes.sweep_failure(JOB, refused_rows(1)) is not None
    assert await refused_writes.sweep_failure(JOB, RowResults(applied=1)) is None
    assert await refused_writes.sweep_failure(JOB, all_refused) is None


async def test_each_sweep_counts_its_own_refused_rows_and_its_retries_count_for_none() -> None:
    questions = 0

    async def ask() -> int:
        nonlocal questions
        questions += 1
        return 0

    refused_writes, retry = RefusedWrites(ask), Job(kind=JobKind.KEYS, sweep="s", is_retry=True)
    assert await refused_writes.sweep_failure(JOB, refused_rows(49)) is None
    assert await refused_writes.sweep_failure(retry, refused_rows(50)) is None
    assert await refused_writes.sweep_failure(retry, RowResults(applied=1)) is None
    assert questions == 0
    assert await refused_writes.sweep_failure(JOB, refused_rows(1)) is not None
    assert await refused_writes.sweep_failure(JOB, RowResults(skipped=1)) is None
    assert questions == 1, "without a refused row the queue is not asked"
    other = Job(kind=JobKind.KEYS, sweep="t")
    assert await refused_writes.sweep_failure(other, refused_rows(49)) is None
    assert await refused_writes.sweep_failure(other, RowResults(applied=1)) is None
    assert await refused_writes.sweep_failure(Job(kind=JobKind.KEYS, sweep="u"), refused_rows(50)) is not None


@pytest.mark.parametrize(("rows", "reason"), [(49, None), (50, "NeverEnds")])
async def test_rows_that_match_after_their_own_write_fail_the_sweep_only_where_they_are_many_and_none_was_applied(
    rows: int, reason: str | None
) -> None:
    async def none() -> int:
        return 0

    results = refused_rows(rows, still_stale=True)
    failure = await RefusedWrites(none).sweep_failure(JOB, results)
    assert (failure.reason if failure else None) == reason
    assert {failed.error for failed in results.failed} == {"StillStale"}


@pytest.mark.parametrize("effect", [False, True])
async def test_one_row_that_its_write_leaves_as_it_was_stops_no_other_and_is_reported_once(
    bench: Workbench, effect: bool
) -> None:
    bench.source.unchanged = {key(0)}
    bench.plan = a_plan(limits=RowLimits(batch_rows=1), retry=RetryPolicy(max_attempts=2, backoff=0.1, max_backoff=0.1))
    if effect:
        bench.plan, bench.effect = with_effect(bench.plan), ScriptedEffect()
    stats = await bench.sweep(retries=True)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied, stats.dead) == (SweepState.COMPLETED, 299, 1)
    assert [letter.error for letter in await bench.dead()] == ["StillStale"]
    if effect:
        assert Counter(call.key for call in bench.effect.calls)[key(0)] == 1
