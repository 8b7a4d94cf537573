"""A write that times out or is locked is divided until only the rows that are the cause are left."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kubesweep.api.plan import RowLimits, Source
from kubesweep.errors import Outage, RowError, ScopeOutage
from kubesweep.queue.model import Claim, Job, JobKind, Key, SweepState
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.jobs.context import JobContext
from kubesweep_worker.jobs.rows.bisection import Interrupted, write_keys
from kubesweep_worker.jobs.rows.settlement import RowResults
from kubesweep_worker.sources.postgres.errors import classify
from tests.kits.worker import MemorySource, ScriptedEffect, Workbench, a_plan, key, with_effect

EFFECTS = pytest.mark.parametrize("effect", [False, True], ids=["plain", "effect"])


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Workbench]:
    """The clock runs as long as the statements take."""
    made = Workbench(tmp_path, MemorySource(1000), a_plan(limits=RowLimits(batch_rows=500)))
    made.settings = dataclasses.replace(made.settings, monotonic=lambda: time.monotonic() + made.source.elapsed)
    yield made
    await made.queue.close()


def give_effect(bench: Workbench) -> None:
    bench.plan, bench.effect = with_effect(bench.plan), ScriptedEffect()


@EFFECTS
async def test_a_row_that_is_locked_through_a_child_leaves_alone_and_spends_nothing(
    bench: Workbench, effect: bool
) -> None:
    if effect:
        give_effect(bench)
    bench.source.child_locked = {key(7), key(700)}
    stats = await bench.sweep()
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied, stats.sweep.retrying) == (SweepState.COMPLETED, 998, 2)
    assert bench.source.stale_keys == {key(7), key(700)}
    again = await bench.sweep()
    assert again.sweep is not None
    assert again.sweep.state is SweepState.COMPLETED
    bench.source.child_locked = set()
    stats = await bench.run(retries=True)
    assert (bench.source.stale_keys, stats.excluded, await bench.dead()) == (set(), 0, ())


@EFFECTS
async def test_a_row_that_times_out_alone_dies_and_its_neighbours_are_applied_in_the_same_sweep(
    bench: Workbench, effect: bool
) -> None:
    if effect:
        give_effect(bench)
    bench.source.slow = {key(7): 2.0}
    stats = await bench.sweep()
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied, stats.sweep.retrying) == (SweepState.COMPLETED, 999, 1)
    assert len(bench.source.timeouts) <= 5
    await bench.run(retries=True)
    (letter,) = await bench.dead()
    assert (letter.key, letter.error, len(letter.attempts)) == (key(7), "StatementTimeout", 3)
    assert "source.statementTimeout (30 s)" in letter.message
    assert "limits.batchRows" in letter.message


async def test_slow_rows_that_are_retried_together_die_together(bench: Workbench) -> None:
    bench.source.slow = {key(n): 2.0 for n in (7, 8, 9, 100, 499)}
    stats = await bench.sweep(retries=True)
    assert stats.sweep is not None
    assert (stats.sweep.applied, stats.sweep.dead) == (995, 5)
    assert {len(letter.attempts) for letter in await bench.dead()} == {3}


async def test_a_batch_that_is_too_slow_as_a_whole_is_written_in_pieces(bench: Workbench) -> None:
    bench.source.write_cost = 0.004
    stats = await bench.sweep()
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied, stats.sweep.retrying) == (SweepState.COMPLETED, 1000, 0)
    assert len(bench.source.timeouts) <= 2  # one for each job that is in flight at the first timeout


async def test_batches_of_slow_rows_shrink_to_the_aim_and_grow_back_with_quick_ones(bench: Workbench) -> None:
    bench.source.write_cost = 0.001  # 30 ms, so 6 rows take 180 ms
    await bench.sweep()
    sizes = [len(batch) for batch in bench.source.writes]
    assert (sizes[0], set(sizes[10:-10])) == (500, {6})
    bench.source.stale_keys, bench.source.write_cost = {key(n) for n in range(1000)}, 0.0
    bench.source.writes.clear()
    await bench.sweep()
    assert [len(batch) for batch in bench.source.writes][:10] == [6, 8, 10, 12, 15, 18, 22, 27, 33, 40]
    assert max(len(batch) for batch in bench.source.writes) > 100
    assert bench.source.timeouts == []


async def test_a_size_near_the_statement_timeout_is_not_tried_again(bench: Workbench) -> None:
    bench.plan = a_plan(
        source=Source(table="rows", statement_timeout=30.0), limits=RowLimits(batch_rows=100, batch_time=30.0)
    )
    bench.source.write_cost = 0.04  # 1.2 s: 25 rows time out
    await bench.sweep()
    assert (bench.source.stale_keys, len(bench.source.timeouts)) == (set(), 1)
    assert max(len(batch) for batch in bench.source.writes[1:]) <= 5  # 6 s: a fifth of the timeout


async def test_the_next_sweep_starts_at_the_size_that_was_learnt_until_the_plan_changes(bench: Workbench) -> None:
    every = set(bench.source.stale_keys)
    bench.source.write_cost = 0.004
    await bench.sweep()
    bench.source.stale_keys, bench.source.timeouts = set(every), []
    await bench.sweep()
    assert (bench.source.stale_keys, bench.source.timeouts) == (set(), [])
    bench.source.stale_keys = set(every)
    bench.plan = a_plan(limits=RowLimits(batch_rows=499))
    await bench.sweep()
    assert bench.source.timeouts[0] == 499


async def test_a_table_that_is_locked_as_a_whole_is_an_outage_with_a_bounded_number_of_waits(bench: Workbench) -> None:
    every, waits = set(bench.source.stale_keys), []
    bench.source.child_locked = every

    def probe(call: str) -> None:
        if call == "probe":
            waits.append(bench.source.lock_waits)
            bench.source.child_locked = set()

    bench.source.down = probe
    stats = await bench.sweep()
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied, stats.sweep.retrying) == (SweepState.COMPLETED, 1000, 0)
    assert waits[0] <= 2 * 60


async def test_rows_that_stay_locked_for_ever_leave_a_sweep_that_has_nothing_else(bench: Workbench) -> None:
    bench.source.child_locked = set(bench.source.stale_keys)
    stats = await bench.sweep()
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.retrying) == (SweepState.COMPLETED, 1000)


@EFFECTS
async def test_a_database_that_times_out_on_everything_costs_no_attempt(bench: Workbench, effect: bool) -> None:
    if effect:
        give_effect(bench)
    bench.source.write_cost = 2.0
    probes = 0

    def probe(call: str) -> None:
        nonlocal probes
        probes += call == "probe"
        if call == "probe" and probes < 6:
            raise ScopeOutage("StatementTimeout", "canceling statement due to statement timeout")
        if probes == 6:
            bench.source.write_cost = 0.0

    bench.source.down = probe
    stats = await bench.sweep()
    assert stats.sweep is not None
    assert (stats.sweep.applied + stats.sweep.unconfirmed, stats.sweep.retrying, stats.dead) == (1000, 0, 0)
    assert ("SourceReady", False, "StatementTimeout") in bench.said


def a_bisection(bench: Workbench, keys: tuple[Key, ...]) -> tuple[JobContext, JobRun]:
    """Of a job that nothing has shown the database to work for."""
    context = JobContext(bench.plan, bench.queue, bench.source, None, bench.settings)
    return context, JobRun(Claim("1", "me", 1, Job(JobKind.KEYS, keys=keys, rows=len(keys))), bench.settings.monotonic)


async def test_three_single_rows_that_time_out_end_the_search_and_all_rows_stay_in_the_job(bench: Workbench) -> None:
    keys = tuple(key(n) for n in range(8))
    bench.source.slow = dict.fromkeys(keys, 2.0)
    context, run = a_bisection(bench, keys)
    results = RowResults()
    with pytest.raises(Interrupted) as stopped:
        await write_keys(context, run, keys, "now", results)
    assert bench.source.timeouts.count(1) == 3
    assert sorted(stopped.value.remaining) == list(keys)
    assert (results.applied, results.failed, results.locked) == (0, [], [])


async def test_a_row_for_which_the_database_has_no_memory_stays_in_the_job(bench: Workbench) -> None:
    def down(call: str) -> None:
        if call == "write":
            raise ScopeOutage("OutOfMemory", "out of memory")

    bench.source.down = down
    context, run = a_bisection(bench, (key(1),))
    with pytest.raises(Interrupted) as stopped:
        await write_keys(context, run, (key(1),), "now", RowResults())
    assert (stopped.value.remaining, getattr(stopped.value.cause, "reason", "")) == ((key(1),), "OutOfMemory")


async def test_after_a_single_locked_row_no_other_waits_for_locks(bench: Workbench) -> None:
    keys = (key(0), key(1))
    bench.source.child_locked = set(keys)
    context, run = a_bisection(bench, keys)
    results = RowResults()
    await write_keys(context, run, keys, "now", results, failed=RowError("23505", "duplicate"))
    assert (results.locked, bench.source.lock_waits) == (list(keys), 3)


async def test_a_sweep_of_one_slow_row_ends(bench: Workbench) -> None:
    bench.source.stale_keys, bench.source.slow = {key(7)}, {key(7): 2.0}
    stats = await bench.sweep(retries=True)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.dead) == (SweepState.COMPLETED, 1)


async def test_a_sweep_of_slow_rows_only_ends(bench: Workbench) -> None:
    bench.source.stale_keys = {key(n) for n in range(10)}
    bench.source.slow = dict.fromkeys(bench.source.stale_keys, 2.0)
    stats = await bench.sweep(retries=True)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.dead) == (SweepState.COMPLETED, 10)


@EFFECTS
async def test_rows_whose_reading_times_out_are_read_in_smaller_pieces(bench: Workbench, effect: bool) -> None:
    if effect:
        give_effect(bench)
    bench.source.read_cost = 0.1
    bench.source.poison = {key(7)}  # without an effect only a failing write reads
    stats = await bench.sweep(retries=True)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied, stats.sweep.dead) == (SweepState.COMPLETED, 999, 1)


async def test_every_outage_that_gives_a_job_back_is_reported_and_a_success_clears_it(bench: Workbench) -> None:
    writes = 0

    def down(call: str) -> None:
        nonlocal writes
        writes += call == "write"
        if call == "write" and writes == 1:
            raise Outage("ConnectionLost", "the database's connection broke")

    bench.source.down = down
    stats = await bench.sweep()
    assert [each for each in bench.said if each[0] == "SourceReady"] == [
        ("SourceReady", True, "Works"),
        ("SourceReady", False, "ConnectionLost"),
        ("SourceReady", True, "Works"),
    ]
    assert stats.sweep is not None
    assert stats.sweep.applied + stats.sweep.unconfirmed == 1000


async def test_a_success_is_reported_again_after_a_while_because_another_worker_may_have_reported_otherwise(
    bench: Workbench,
) -> None:
    now = 0.0
    context = JobContext(
        bench.plan, bench.queue, bench.source, None, dataclasses.replace(bench.settings, monotonic=lambda: now)
    )
    await context.findings.report_success("SourceReady")
    await context.findings.report_success("SourceReady")
    now = 61.0
    await context.findings.report_success("SourceReady", recovered_from="Unreachable")
    assert bench.said == [("SourceReady", True, "Works")]
    await context.findings.report_success("SourceReady")
    assert bench.said == [("SourceReady", True, "Works")] * 2


@pytest.mark.parametrize("state", ["55P03", "40P01", "40001", "57014", "53200"])
def test_a_smaller_scope_may_avoid_a_lock_a_deadlock_and_a_timeout(state: str) -> None:
    assert isinstance(classify(state, "text", "Error"), ScopeOutage)
    assert not isinstance(classify(state, "text", "Error", maybe_applied=True), ScopeOutage)


@pytest.mark.parametrize("state", ["08006", "53100", "53300", "57P01", "57P03", "58030"])
def test_a_smaller_scope_does_not_help_a_database_that_is_down_or_full(state: str) -> None:
    assert type(classify(state, "text", "Error")) is Outage
