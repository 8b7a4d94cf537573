"""Which asyncio tasks run the jobs of a worker: one for a job that waits, and few for many that do not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextvars import ContextVar
from pathlib import Path

import pytest

from kubesweep.api.plan import RowLimits
from kubesweep_worker.sources.base import Predicate, Scope, Written
from tests.kits.deadlines import scaled
from tests.kits.worker import MemorySource, Workbench, a_plan

JOBS = 12
mark: ContextVar[int] = ContextVar("mark", default=0)


class Observed(MemorySource):
    """Records the task of each write. Where ``waits``, each write is suspended once. The barrier opens when ``parties`` wait."""

    def __init__(self, waits: bool = False, parties: int = 0) -> None:
        super().__init__(JOBS)
        self.waits, self.barrier = waits, asyncio.Barrier(parties) if parties else None
        self.tasks: list[asyncio.Task[object] | None] = []
        self.marks: list[int] = []

    async def write(self, scope: Scope, predicate: Predicate, *, skip_locked: bool = False) -> Written:
        self.tasks.append(asyncio.current_task())
        self.marks.append(mark.get())
        mark.set(len(self.marks))
        if self.waits:
            await asyncio.sleep(0)
        if self.barrier is not None:
            await self.barrier.wait()
        return await super().write(scope, predicate, skip_locked=skip_locked)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Workbench]:
    made = Workbench(tmp_path, None, a_plan(limits=RowLimits(batch_rows=1)))
    yield made
    await made.queue.close()


async def sweep(bench: Workbench, source: Observed, concurrency: int) -> None:
    bench.source = source
    await bench.open()
    async with asyncio.timeout(scaled(60)):
        await bench.worker(concurrency=concurrency).run(until_settled=True)
    assert source.stale_keys == set()
    assert len(source.tasks) == JOBS


async def test_jobs_that_never_wait_share_a_task(bench: Workbench) -> None:
    source = Observed()
    await sweep(bench, source, concurrency=JOBS)
    assert len(set(source.tasks)) <= 3  # the first job may wait for the queue


async def test_jobs_that_wait_run_at_the_same_time(bench: Workbench) -> None:
    await sweep(bench, Observed(parties=JOBS), concurrency=JOBS)


@pytest.mark.parametrize("concurrency", [1, 2, JOBS])
async def test_a_job_that_waited_shares_its_task_and_its_context_with_no_other(
    bench: Workbench, concurrency: int
) -> None:
    source = Observed(waits=True)
    await sweep(bench, source, concurrency)
    assert len({id(task) for task in source.tasks}) == JOBS
    assert source.marks == [0] * JOBS
