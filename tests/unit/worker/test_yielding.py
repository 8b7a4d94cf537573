"""Whole sweeps beside an application: their transactions are small from the first one on, and every row is counted once."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kubesweep.api.plan import RowLimits, Source
from kubesweep.queue.model import Claim, HealthLimits, Job, JobKind, Sample, SweepState
from kubesweep_worker.flow_control.health_level import Decision
from kubesweep_worker.flow_control.write_admission import SMALL
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.jobs.context import JobContext
from kubesweep_worker.jobs.rows.bisection import write_keys
from kubesweep_worker.jobs.rows.settlement import RowResults
from kubesweep_worker.phases import THROTTLED
from tests.kits import polling
from tests.kits.deadlines import scaled
from tests.kits.worker import MemorySource, Workbench, a_plan, key

YIELDS = HealthLimits(lock_waits=5.0, yields=True)
QUIET: dict[str, float | None] = {"lockWaits": 0.0, "activeSessions": 0.0}
IN_USE: dict[str, float | None] = {"lockWaits": 0.0, "activeSessions": 1.0}


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Workbench]:
    """Two jobs of 500 rows each, on a clock that runs twenty times as fast."""
    plan = a_plan(source=Source(table="rows", health=YIELDS), limits=RowLimits(batch_rows=500))
    made = Workbench(tmp_path, MemorySource(1000), plan)
    made.source.signals = dict(IN_USE)
    made.settings = dataclasses.replace(
        made.settings, monotonic=lambda: 20 * time.monotonic(), sleep=lambda seconds: asyncio.sleep(seconds / 20)
    )
    yield made
    await made.queue.close()


async def test_the_first_transactions_are_small_too(bench: Workbench) -> None:
    """They wait for the first sample, so their size must not be chosen before it."""
    waiting = asyncio.Event()

    async def late(query: str) -> Sample:
        await waiting.wait()
        return Sample(dict(IN_USE))

    bench.source.measure = late
    worker = bench.worker()
    await bench.open()
    running = asyncio.create_task(worker.run(until_settled=True))

    async def throttled() -> bool:
        return any(run.phase == THROTTLED for run in worker._in_flight.running())

    await polling.until(throttled)
    waiting.set()
    async with asyncio.timeout(scaled(60)):
        await running
    sweep = (await bench.stats()).sweep
    assert sweep is not None
    assert (sweep.state, sweep.planned, sweep.applied) == (SweepState.COMPLETED, 1000, 1000)
    assert max(map(len, bench.source.writes)) <= SMALL


async def test_a_job_that_is_written_whole_while_the_sweep_begins_to_yield_is_not_written_again(
    bench: Workbench,
) -> None:
    source = bench.source
    source.signals = dict(QUIET)
    source.locked = {key(3)}
    source.writes_allowed.clear()
    await bench.open()
    worker = bench.worker()
    running = asyncio.create_task(worker.run(until_settled=True))
    await source.writing.wait()
    source.signals = dict(IN_USE)

    async def small() -> bool:
        return worker.snapshot().batch_rows == SMALL

    await polling.until(small)
    source.writes_allowed.set()
    async with asyncio.timeout(scaled(60)):
        await running
    sweep = (await bench.stats()).sweep
    assert sweep is not None
    assert (sweep.planned, sweep.applied, sweep.retrying) == (1000, 999, 1)
    assert len([each for each in source.writes if each]) == 2


async def test_a_part_of_a_job_that_waited_is_divided_too(bench: Workbench) -> None:
    source, settings = bench.source, bench.settings
    context = JobContext(bench.plan, bench.queue, source, None, settings)
    keys = tuple(key(n) for n in range(500))
    claim = Claim("1", "ann", 1, Job(JobKind.KEYS, keys=keys, rows=500))
    run, results = JobRun(claim, settings.monotonic), RowResults()
    writing = asyncio.create_task(write_keys(context, run, keys, "now", results))
    await asyncio.wait_for(context.health.wanted.wait(), scaled(20))
    context.apply_health(Decision(0.1, "ActiveSessions", yields=True))
    await asyncio.wait_for(writing, scaled(20))
    assert ([len(each) for each in source.writes], results.applied) == ([SMALL, SMALL, 100], 500)
