"""Finished jobs are sent to the queue while another call is under way, and no slot is given out twice meanwhile."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from kubesweep.api.plan import RowLimits
from kubesweep.errors import Outage
from kubesweep.queue.model import Claim, Limits, ScheduleRef, Settlement
from kubesweep.queue.service import Settled
from kubesweep.queue.sqlite.queue import SqliteQueue
from kubesweep_worker.runtime.loop import CLAIM_SIZE, MORE_CALLS
from kubesweep_worker.sources.base import Predicate, Scope, Written
from tests.kits.deadlines import scaled
from tests.kits.worker import MemorySource, Workbench, a_plan, key

SLOTS = 4 * CLAIM_SIZE
JOBS = 8 * SLOTS


class Crowd(MemorySource):
    """Each write takes some turns of the event loop, so that jobs finish while calls are under way. ``most`` ran at once."""

    def __init__(self) -> None:
        super().__init__(JOBS)
        self.running = self.most = 0

    async def write(self, scope: Scope, predicate: Predicate, *, skip_locked: bool = False) -> Written:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            for _ in range(3):
                await asyncio.sleep(0)
            return await super().write(scope, predicate, skip_locked=skip_locked)
        finally:
            self.running -= 1


class OneWaits(MemorySource):
    """The write of the first row waits for ``others``."""

    def __init__(self, rows: int) -> None:
        super().__init__(rows)
        self.others = asyncio.Event()

    async def write(self, scope: Scope, predicate: Predicate, *, skip_locked: bool = False) -> Written:
        if key(0) in self._in(scope, ()):
            await self.others.wait()
        return await super().write(scope, predicate, skip_locked=skip_locked)

    def release_after(self, queue: SlowQueue) -> None:
        """Let it end when the queue has answered the settlement of every other row."""
        rows = len(self.stale_keys)
        queue.on_answer = lambda settled: self.others.set() if settled == rows - 1 else None


class SlowQueue(SqliteQueue):
    """Each settlement holds its answer back for some turns of the event loop. Where ``fails``, one that begins beside another fails."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.under_way = self.most = self.released = 0
        self.fails, self.failed = False, asyncio.Event()
        self.is_reachable: Callable[[], bool] = lambda: True
        self.on_answer: Callable[[int], None] = lambda settled: None
        self.sizes: list[int] = []  # settlements of each call

    async def settle(
        self, ref: ScheduleRef, consumer: str, settlements: Sequence[Settlement], want: int, limits: Limits
    ) -> Settled:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        self.sizes.append(len(settlements))
        try:
            if not self.is_reachable():
                raise Outage("QueueUnreachable", "not yet")
            if self.fails and self.under_way > 1 and not self.failed.is_set():
                self.failed.set()
                raise Outage("QueueUnreachable", "a lost connection")
            answer = await super().settle(ref, consumer, settlements, want, limits)
            for _ in range(20):
                await asyncio.sleep(0)
            self.on_answer(sum(self.sizes))
            return answer
        finally:
            self.under_way -= 1

    async def release(self, ref: ScheduleRef, claims: Sequence[Claim]) -> tuple[str, ...]:
        self.released += len(claims)
        return await super().release(ref, claims)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Workbench]:
    made = Workbench(tmp_path, Crowd(), a_plan(limits=RowLimits(batch_rows=1)))
    yield made
    await made.queue.close()


async def sweep(bench: Workbench, prepare: Callable[[SlowQueue], None] = lambda queue: None) -> SlowQueue:
    await bench.open()
    worker, rows = bench.worker(concurrency=SLOTS, idle_wait=3600.0), len(bench.source.stale_keys)
    queue = worker._context.queue = SlowQueue(str(bench.folder / "queue.db"))
    prepare(queue)
    async with asyncio.timeout(scaled(60)):
        await worker.run(until_settled=True)
    stats = await bench.stats()
    assert stats.sweep is not None
    assert (stats.sweep.applied, stats.running, stats.ready) == (rows, 0, 0)
    return queue


async def test_calls_overlap_and_give_no_slot_to_two_jobs(bench: Workbench) -> None:
    queue = await sweep(bench)
    assert 2 <= queue.most <= 1 + MORE_CALLS
    assert (bench.source.most <= SLOTS, queue.released) == (True, 0)


async def test_a_call_that_fails_beside_another_is_repeated(bench: Workbench, caplog: pytest.LogCaptureFixture) -> None:
    def fail(queue: SlowQueue) -> None:
        queue.fails = True

    queue = await sweep(bench, fail)
    gc.collect()  # asyncio logs an error that nobody handled when it deletes its task
    assert queue.failed.is_set()
    assert len(bench.source.writes) == JOBS
    assert [each for each in caplog.records if each.name == "asyncio"] == []


async def test_calls_are_small_while_a_job_waits(bench: Workbench) -> None:
    source = bench.source = OneWaits(JOBS)
    queue = await sweep(bench, source.release_after)
    assert max(queue.sizes) <= CLAIM_SIZE


async def test_calls_are_large_where_no_job_waits(bench: Workbench) -> None:
    source = bench.source = MemorySource(JOBS)

    def keep(queue: SlowQueue) -> None:
        """Until more jobs have ended than a small call settles. How many end during a call depends on the machine."""
        queue.is_reachable = lambda: len(source.writes) > CLAIM_SIZE

    queue = await sweep(bench, keep)
    assert max(queue.sizes) > CLAIM_SIZE
