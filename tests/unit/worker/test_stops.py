"""A stop during a job: what is settled and what is released."""

from __future__ import annotations

import asyncio

import pytest

from kubesweep_worker.in_flight import JobRun
from tests.kits.deadlines import scaled
from tests.kits.worker import Workbench


async def test_a_job_that_is_stopped_before_its_first_step_is_released(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.open()
    died: list[int] = []
    worker = bench.worker(exit_process=died.append)
    add = worker._loop._tasks.add

    def stopped_at_once(run: JobRun) -> None:
        add(run)
        worker.stop()

    monkeypatch.setattr(worker._loop._tasks, "add", stopped_at_once)
    async with asyncio.timeout(scaled(60)):
        await worker.run()
    stats = await bench.stats()
    assert (died, stats.running, stats.ready) == ([], 0, 1)


async def test_a_statement_that_is_on_its_way_when_the_worker_is_stopped_is_settled_and_the_rest_released(
    bench: Workbench,
) -> None:
    bench.source.writes_allowed.clear()
    await bench.open()
    worker = bench.worker(grace=3600.0)
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(scaled(60)):
        await bench.source.writing.wait()
        worker.stop()
        bench.source.writes_allowed.set()
        await running
    stats = await bench.stats()
    assert stats.sweep is not None
    assert (stats.sweep.applied, stats.running) == (1000 - len(bench.source.stale_keys), 0)
    assert stats.sweep.applied >= 100


async def test_a_statement_that_hangs_is_given_up_within_the_grace(bench: Workbench) -> None:
    bench.source.writes_allowed.clear()
    await bench.open()
    worker = bench.worker(grace=0.05)
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(scaled(60)):
        await bench.source.writing.wait()
        worker.stop()
        await running
    stats = await bench.stats()
    assert stats.sweep is not None
    assert (stats.sweep.applied, stats.running, len(bench.source.stale_keys)) == (0, 0, 1000)
