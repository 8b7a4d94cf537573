"""When the loop claims, and how many jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from kubesweep.api.plan import RowLimits
from kubesweep.errors import Outage
from kubesweep.queue.model import Claim, Job, JobKind, Limits, SweepState
from kubesweep.queue.sqlite.queue import SqliteQueue
from kubesweep_worker.jobs.context import JobContext
from kubesweep_worker.runtime.worker import Worker
from kubesweep_worker.settings import WorkerSettings
from kubesweep_worker.sources.base import Predicate
from tests.kits.deadlines import scaled
from tests.kits.worker import MemorySource, Workbench, a_plan, key

T = TypeVar("T")


async def test_the_row_budget_is_respected_and_the_sweep_still_finishes(tmp_path: Path) -> None:
    now = [1000.0]

    async def sleep(seconds: float) -> None:
        now[0] += seconds
        await asyncio.sleep(0)

    plan = a_plan(limits=RowLimits(batch_rows=50, rows_per_second=100.0))
    settings = WorkerSettings(monotonic=lambda: now[0], sleep=sleep, deadline=1e9)
    bench = Workbench(tmp_path, MemorySource(1000), plan, settings=settings, clock=lambda: now[0])
    stats = await bench.sweep()
    await bench.queue.close()
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied) == (SweepState.COMPLETED, 1000)
    assert now[0] - 1000.0 >= (1000 - 200) / 100.0


class Counting(SqliteQueue):
    """Remembers which moves were asked for, and how many jobs each claim wanted."""

    asked: list[str]
    wanted: list[int]

    async def excluded(self, *given: Any) -> Any:
        self.asked.append("excluded")
        return await super().excluded(*given)

    async def report(self, *given: Any) -> None:
        self.asked.append("report")
        await super().report(*given)

    async def claim(self, ref: Any, consumer: str, want: int, limits: Limits) -> Any:
        self.wanted.append(want)
        return await super().claim(ref, consumer, want, limits)

    async def settle(self, ref: Any, consumer: str, settlements: Any, want: int, limits: Limits) -> Any:
        self.wanted.append(want)
        return await super().settle(ref, consumer, settlements, want, limits)


async def test_many_slots_are_filled_by_halves(tmp_path: Path) -> None:
    slots = 60
    bench = Workbench(tmp_path, MemorySource(100 * slots))
    bench.plan = a_plan(max_replicas=slots, jobs_per_replica=1)
    Counting.asked, Counting.wanted = [], []
    bench.connect = lambda: Counting(str(tmp_path / "queue.db"))  # type: ignore[method-assign]
    bench.source.writes_allowed.clear()
    all_in_flight, writes = asyncio.Event(), 0
    write = bench.source.write

    async def count_then_write(*args: Any, **options: Any) -> Any:
        nonlocal writes
        writes += 1
        if writes == slots:
            all_in_flight.set()
        return await write(*args, **options)

    bench.source.write = count_then_write
    await bench.open()
    async with asyncio.timeout(scaled(60)):
        running = asyncio.create_task(bench.worker(concurrency=slots).run(until_settled=True))
        await all_in_flight.wait()
        assert max(Counting.wanted) == slots // 2
        bench.source.writes_allowed.set()
        await running
    stats = await bench.stats()
    assert stats.sweep is not None
    assert stats.sweep.applied == 100 * slots
    await bench.queue.close()


async def test_jobs_that_start_together_ask_the_queue_and_report_once(tmp_path: Path) -> None:
    queue, plan = Counting(str(tmp_path / "queue.db")), a_plan()
    Counting.asked = []
    context = JobContext(plan, queue, MemorySource(0), None, WorkerSettings())
    job = Job(JobKind.RANGE, plan.version)
    assert await asyncio.gather(*(context.predicate(job, "now") for _ in range(50))) == [Predicate("now")] * 50
    await asyncio.gather(*(context.findings.report_success("SourceReady") for _ in range(50)))
    assert sorted(Counting.asked) == ["excluded", "report"]
    context.set_excluded_version(7)
    await asyncio.gather(*(context.predicate(job, "now") for _ in range(50)))
    assert sorted(Counting.asked) == ["excluded", "excluded", "report"]
    await queue.close()


class OneClaimAtATime(SqliteQueue):
    """Fails where a second claim is made while one is outstanding, and records released claims."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.under_way = 0
        self.loop: asyncio.Task[int] | None = None  # whose claims are the loop's own, not those of claim_next
        self.waits = asyncio.Event()
        self.back: list[str] = []

    async def _alone(self, claim: Awaitable[T]) -> T:
        assert self.under_way == 0
        self.under_way += 1
        try:
            return await claim
        finally:
            self.under_way -= 1

    async def claim_next(self, ref: Any, consumer: str, want: int, limits: Limits, timeout: float) -> Any:
        self.waits.set()
        return await self._alone(super().claim_next(ref, consumer, want, limits, timeout))

    async def claim(self, ref: Any, consumer: str, want: int, limits: Limits) -> Any:
        claiming = super().claim(ref, consumer, want, limits)
        return await (self._alone(claiming) if asyncio.current_task() is self.loop else claiming)

    async def settle(self, ref: Any, consumer: str, settlements: Any, want: int, limits: Limits) -> Any:
        settling = super().settle(ref, consumer, settlements, want, limits)
        return await (self._alone(settling) if want else settling)

    async def release(self, ref: Any, claims: Sequence[Claim]) -> tuple[str, ...]:
        self.back += [claim.id for claim in claims]
        return await super().release(ref, claims)


async def test_a_claim_that_waits_is_the_only_one_and_a_stop_takes_it_back(bench: Workbench) -> None:
    queue = OneClaimAtATime(str(bench.folder / "queue.db"))
    worker = Worker(bench.plan, queue, bench.source, None, bench.settings, bench.connect)
    running = queue.loop = asyncio.create_task(worker.run())
    await queue.waits.wait()
    for tick in range(3):
        bench.source.stale_keys = {key(i) for i in range(500)}
        await bench.open(tick=2000.0 + tick)
        while (sweep := (await bench.stats()).sweep) is None or not sweep.state.settled:
            assert not running.done(), running.result()
            await bench.queue.wait(bench.plan.ref, 0.01)
        assert (sweep.state, sweep.applied) == (SweepState.COMPLETED, 500)
    worker.stop()
    assert await running == 0
    assert (await bench.stats()).running == 0
    assert queue.under_way == 0


async def test_a_job_that_arrives_after_the_breaker_opened_is_released_and_done_later(bench: Workbench) -> None:
    queue = OneClaimAtATime(str(bench.folder / "queue.db"))
    worker = Worker(bench.plan, queue, bench.source, None, bench.settings, bench.connect)

    def away(_: str) -> None:
        raise Outage("Away", "the database is unavailable")

    running = asyncio.create_task(worker.run())
    await queue.waits.wait()
    bench.source.down = away
    worker._context.pause_claiming(Outage("Away", "the database is unavailable"))
    sweep = await bench.open()
    while not queue.back:
        await bench.queue.wait(bench.plan.ref, 0.01)
    bench.source.down = lambda _: None
    while (now := (await bench.stats()).sweep) is None or not now.state.settled:
        await bench.queue.wait(bench.plan.ref, 0.01)
    assert (now.id, now.state, now.applied) == (sweep, SweepState.COMPLETED, 1000)
    worker.stop()
    await running
