"""Excluded rows and jobs of another database, table or key than the worker's."""

from __future__ import annotations

import asyncio
import itertools
import time
from pathlib import Path

from kubesweep.api.plan import RetryPolicy, Source
from kubesweep.queue.model import Claim, HealthLimits, Job, JobKind, Limits, SweepState, Window
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.jobs.context import Drop, JobContext
from kubesweep_worker.jobs.other_origin import end_other_origin
from tests.kits import polling
from tests.kits.worker import MemorySource, Workbench, a_plan, key

THERE = "sessions(id) #there"


def moved(bench: Workbench, rows: int = 1000) -> MemorySource:
    """The schedule sweeps another table from now on; the old one is returned."""
    before: MemorySource = bench.source
    bench.source = MemorySource(rows)
    bench.source.where = THERE
    return before


async def test_a_row_of_another_table_is_swept_though_one_of_its_key_is_dead(bench: Workbench) -> None:
    bench.source.poison = {key(417)}
    await bench.sweep(retries=True)
    old = moved(bench)
    stats = await bench.sweep()
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied) == (SweepState.COMPLETED, 1000)
    assert bench.source.stale_keys == set()
    (letter,) = await bench.dead()
    assert (letter.key, letter.origin) == (key(417), "rows(id) #here")

    bench.source = old
    assert (await bench.sweep()).sweep.planned == 0  # type: ignore[union-attr]
    old.poison = set()
    assert await bench.queue.replay(bench.plan.ref) == 1
    await bench.run(retries=True)
    assert (old.stale_keys, await bench.dead()) == (set(), ())


async def test_rows_in_retry_of_another_table_are_let_go_and_found_when_it_comes_back(tmp_path: Path) -> None:
    now = [1_800_000_000.0]
    later = RetryPolicy(max_attempts=3, backoff=60.0, max_backoff=60.0)
    bench = Workbench(tmp_path, MemorySource(100), a_plan(retry=later), clock=lambda: now[0])
    bench.source.poison = {key(1), key(2)}
    await bench.sweep()
    old = moved(bench, rows=0)
    now[0] += 61
    stats = await bench.sweep()
    assert (stats.excluded, stats.delayed, bench.source.writes) == (0, 0, [])
    assert old.stale_keys == {key(1), key(2)}

    bench.source, old.poison = old, set()
    stats = await bench.sweep()
    assert stats.sweep is not None
    assert (stats.sweep.applied, old.stale_keys) == (2, set())
    await bench.queue.close()


async def test_a_url_that_changes_in_a_pause_moves_no_job_to_the_other_table(tmp_path: Path) -> None:
    plan = a_plan(source=Source(table="rows", health=HealthLimits(lock_waits=5.0)))
    bench = Workbench(tmp_path, MemorySource(100), plan)
    bench.source.signals = {"lockWaits": 5.0}
    await bench.open()
    running = asyncio.create_task(bench.run())

    async def paused() -> bool:
        return ("Throttle", False, "LockWaits") in bench.said

    async def jobs() -> int:
        return (await bench.stats()).running

    await polling.until(paused)
    await polling.until(jobs)
    bench.source.where, bench.source.signals = THERE, {"lockWaits": 0.0}
    stats = await running
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied) == (SweepState.COMPLETED, 100)
    assert [(each.reason, each.applied) for each in stats.history] == [("SourceChanged", 0)]
    await bench.queue.close()


async def test_a_replay_that_meets_another_table_becomes_a_dead_letter_again(bench: Workbench) -> None:
    bench.source.poison = {key(3)}
    await bench.sweep(retries=True)
    assert await bench.queue.replay(bench.plan.ref) == 1
    old = moved(bench, rows=10)
    await bench.run(retries=True)
    (letter,) = await bench.dead()
    assert (letter.key, letter.origin, letter.error) == (key(3), "rows(id) #here", "OtherTable")
    assert "rows(id) #here" in letter.message
    assert (key(3) in old.stale_keys, bench.source.writes) == (True, [])


async def planned_elsewhere(bench: Workbench) -> Claim:
    """The first job of a new sweep, which was planned in another table."""
    ref, sweep = bench.plan.ref, await bench.open()
    (step,) = (await bench.queue.claim(ref, "ann", 1, Limits())).jobs
    jobs = (Job(JobKind.RANGE, bench.plan.version, sweep, "2026-01-01", high=key(9), rows=9, origin=THERE),)
    assert await bench.queue.advance(ref, step, Window("2026-01-01", jobs, origin=THERE, planned=9))
    (claim,) = (await bench.queue.claim(ref, "ann", 1, Limits())).jobs
    return claim


async def test_a_sweep_that_was_planned_in_another_table_is_planned_again(bench: Workbench) -> None:
    claim = await planned_elsewhere(bench)
    await bench.queue.release(bench.plan.ref, [claim])
    stats = await bench.run()
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.planned, stats.sweep.applied) == (SweepState.COMPLETED, 1000, 1000)
    (before,) = stats.history
    assert (before.state, before.reason) == (SweepState.SUPERSEDED, "SourceChanged")
    assert "rows(id) #here" in before.message


async def test_workers_that_disagree_do_not_replace_each_others_sweeps_for_ever(bench: Workbench) -> None:
    bench.ticks = itertools.count(int(time.time()) + 60)
    context = JobContext(bench.plan, bench.queue, bench.source, None, bench.settings)
    ended = []
    for _ in range(2):
        claim = await planned_elsewhere(bench)
        assert await end_other_origin(context, JobRun(claim, time.monotonic, alone=False)) == Drop()
        (stats,) = await bench.queue.stats([bench.plan.ref])
        ended.append({sweep.id: sweep.state for sweep in (*stats.history, stats.sweep) if sweep}[claim.job.sweep])
        await bench.run()
    assert ended == [SweepState.SUPERSEDED, SweepState.FAILED]
