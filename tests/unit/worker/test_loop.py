"""The worker's loop: results while the queue is unavailable, stops, and jobs that run alone."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kubesweep.errors import Outage
from kubesweep.queue.model import Limits, SweepState
from kubesweep.queue.sqlite.queue import SqliteQueue
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.jobs.context import JobContext
from kubesweep_worker.jobs.plan_job import run_plan
from kubesweep_worker.settings import WorkerSettings
from tests.kits.deadlines import scaled
from tests.kits.worker import MemorySource, ScriptedEffect, Workbench, a_plan, key, with_effect


class Moody(SqliteQueue):
    """A queue that is unavailable for a while, once a job was claimed."""

    away = 0
    only: tuple[str, ...] = ("settle", "claim", "advance", "wait", "stats", "excluded")

    def __getattribute__(self, name: str) -> Any:
        if name in Moody.only and Moody.away > 0:
            Moody.away -= 1

            async def refuse(*_: object) -> None:
                raise Outage("QueueBusy", "locked")

            return refuse
        return super().__getattribute__(name)


async def test_results_are_kept_while_the_queue_is_unavailable(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "connect", lambda: Moody(str(bench.folder / "queue.db")))
    bench.settings = WorkerSettings(backoff=0.001, max_backoff=0.01)
    await bench.open()
    write = bench.source.write

    async def write_then_lose_the_queue(*args: Any, **options: Any) -> Any:
        written = await write(*args, **options)
        if len(bench.source.writes) in (1, 5):
            Moody.away = 12
        return written

    bench.source.write = write_then_lose_the_queue
    stats = await bench.run()
    assert Moody.away == 0
    assert stats.sweep is not None
    assert (stats.sweep.applied, stats.sweep.unconfirmed, stats.sweep.skipped) == (1000, 0, 0)


async def test_stopping_cancels_a_write_and_gives_its_job_back_as_maybe(bench: Workbench) -> None:
    await bench.open()
    bench.source.writes_allowed.clear()
    worker = bench.worker(concurrency=1)
    running = asyncio.create_task(worker.run())
    await bench.source.writing.wait()
    worker.stop()
    assert await running == 0
    stats = await bench.stats()
    assert (stats.running, stats.ready, bench.source.writes) == (0, 10, [])
    bench.source.writes_allowed.set()
    stats = await bench.run()
    assert stats.sweep is not None
    assert (stats.sweep.applied, stats.sweep.state) == (1000, SweepState.COMPLETED)


async def test_stopping_in_the_middle_of_bisection_keeps_what_was_applied(bench: Workbench) -> None:
    bench.source.poison = {key(i) for i in range(0, 100, 7)}
    await bench.open()
    worker = bench.worker(concurrency=1)
    write, seen = bench.source.write, 0

    async def stop_at_the_tenth(*args: Any, **options: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen == 10:
            worker.stop()
            await asyncio.Event().wait()
        return await write(*args, **options)

    bench.source.write = stop_at_the_tenth
    await worker.run()
    part = (await bench.stats()).sweep
    assert part is not None
    assert part.applied == 1000 - len(bench.source.stale_keys) > 0
    bench.source.write = write
    done = (await bench.run()).sweep
    assert done is not None
    assert (done.applied, done.retrying, done.unconfirmed) == (985, 15, 0)


async def test_a_job_that_crashed_twice_runs_alone(tmp_path: Path) -> None:
    now = [1000.0]
    bench = Workbench(tmp_path, MemorySource(1000), clock=lambda: now[0])
    await bench.open()
    await _plan_only(bench)
    for delivery in (1, 2):
        claims = await bench.queue.claim(bench.plan.ref, f"victim {delivery}", 3, Limits())
        assert {claim.delivery for claim in claims.jobs} == {delivery}
        now[0] += 60
    busy, most, beside, full = 0, 0, 0, asyncio.Event()
    write = bench.source.write

    async def count(scope: Any, *args: Any, **options: Any) -> Any:
        nonlocal busy, most, beside
        busy += 1
        most = max(most, busy)
        if most == 4:
            full.set()
        if scope.high <= key(299):
            beside = max(beside, busy)
            await asyncio.sleep(0.01)  # time for others to begin, if they may
            beside = max(beside, busy)
        else:
            await full.wait()
        busy -= 1
        return await write(scope, *args, **options)

    bench.source.write = count
    async with asyncio.timeout(scaled(60)):
        await bench.worker(concurrency=4).run(until_settled=True)
    stats = await bench.stats()
    await bench.queue.close()
    assert stats.sweep is not None
    assert (stats.sweep.applied, stats.sweep.state) == (1000, SweepState.COMPLETED)
    assert (beside, most) == (1, 4)


async def _plan_only(bench: Workbench) -> None:
    (claim,) = (await bench.queue.claim(bench.plan.ref, "planner", 1, Limits())).jobs
    context = JobContext(bench.plan, bench.queue, bench.source, None, bench.settings)
    await run_plan(context, JobRun(claim, lambda: 0.0))


async def test_a_job_whose_lease_was_lost_settles_nothing(bench: Workbench) -> None:
    bench.plan, bench.effect = with_effect(a_plan()), ScriptedEffect()
    worker = bench.worker(concurrency=1)

    def lose_it(delivery: object) -> None:
        for run in worker._in_flight.all():
            run.lost = True
        worker.stop()

    bench.effect.script = lose_it
    await bench.open()
    await worker.run()
    stats = await bench.stats()
    assert stats.sweep is not None
    assert (stats.sweep.applied, stats.running) == (0, 1)


async def test_a_paused_queue_is_left_alone_and_resumed(bench: Workbench) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) >= 3:  # an alarm may be cancelled half-way, so more than one says it
            await bench.queue.pause(bench.plan.ref, False)
        await asyncio.sleep(0)

    await bench.open()
    await bench.queue.pause(bench.plan.ref, True)
    now = [0.0]

    async def tick(seconds: float) -> None:
        await sleep(seconds)
        now[0] += seconds

    bench.settings = WorkerSettings(monotonic=lambda: now[0], sleep=tick, deadline=1e9)
    stats = await bench.run()
    assert stats.sweep is not None
    assert stats.sweep.applied == 1000


async def test_a_worker_without_anything_to_do_returns_once_it_knows_that_the_sweep_is_settled(
    bench: Workbench,
) -> None:
    async with asyncio.timeout(scaled(60)):
        assert await bench.worker().run(until_settled=True) == 0
