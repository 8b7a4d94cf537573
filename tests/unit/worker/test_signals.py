"""Stops by SIGTERM and SIGINT."""

from __future__ import annotations

import asyncio
import dataclasses
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kubesweep.api.plan import RowLimits, Source
from kubesweep.grace_period import grace_seconds, work_seconds
from kubesweep.queue.model import Key, Limits
from kubesweep.queue.sqlite.queue import SqliteQueue
from kubesweep_worker.runtime.event_loop import _factory
from kubesweep_worker.runtime.signals import on_signal
from kubesweep_worker.settings import WorkerSettings
from kubesweep_worker.sources.base import Cuts, Predicate
from tests.kits.deadlines import scaled
from tests.kits.worker import MemorySource, ScriptedEffect, Workbench, a_plan, skip_first, with_effect

BRIEF = Source(table="rows", lock_timeout=0.01, statement_timeout=0.02)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Workbench]:
    plan = with_effect(a_plan(source=BRIEF), timeout=0.02)
    made = Workbench(tmp_path, MemorySource(100), plan=plan, effect=ScriptedEffect())
    yield made
    await made.queue.close()


async def stopped(bench: Workbench, after: asyncio.Event) -> None:
    worker = bench.worker()
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(scaled(60)):
        await after.wait()
        worker.stop()
        assert await running == 0
    assert (await bench.stats()).running == 0


async def test_an_effect_that_outlasts_its_timeout_is_cut_off_by_a_stop_and_its_job_released(
    bench: Workbench,
) -> None:
    begun = asyncio.Event()

    async def never_ends() -> None:
        begun.set()
        await asyncio.Event().wait()

    bench.effect.script = lambda delivery: never_ends()
    await bench.open()
    await stopped(bench, begun)
    assert len(bench.source.stale_keys) == 100
    bench.effect.script = lambda delivery: None
    assert (await bench.run()).sweep.applied == 100  # type: ignore[union-attr]


async def test_a_write_that_hangs_after_its_effects_is_cut_off_by_a_stop(bench: Workbench) -> None:
    bench.source.writes_allowed.clear()
    await bench.open()
    await stopped(bench, bench.source.writing)
    assert len(bench.source.stale_keys) == 100
    assert len(bench.effect.calls) == 50


async def test_a_plan_step_is_released_by_a_stop_with_an_effect_too(bench: Workbench) -> None:
    bench.plan = with_effect(a_plan(source=Source(table="rows", statement_timeout=3600.0)))
    cutting = asyncio.Event()

    class Slow(MemorySource):
        async def cut(
            self, predicate: Predicate, after: Key | None, batch: int, most: int, until: Key | None = None
        ) -> Cuts:
            cutting.set()
            await asyncio.Event().wait()
            raise AssertionError

    bench.source = Slow(100)
    await bench.open()
    await stopped(bench, cutting)
    assert (await bench.stats()).ready == 1


async def test_a_stop_while_the_rows_are_read_begins_no_effect(bench: Workbench) -> None:
    bench.settings = dataclasses.replace(bench.settings, grace=60.0)
    reading, go_on = asyncio.Event(), asyncio.Event()

    class Slow(MemorySource):
        async def stale(self, *given: Any) -> Any:
            reading.set()
            await go_on.wait()
            return await super().stale(*given)

    bench.source = Slow(100)
    await bench.open()
    worker = bench.worker()
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(scaled(60)):
        await reading.wait()
        worker.stop()
        go_on.set()
        await running
    assert bench.effect.calls == []


@pytest.mark.parametrize("effect", [False, True])
def test_the_grace_of_a_pod_is_longer_than_all_that_its_worker_waits_for_after_sigterm(effect: bool) -> None:
    plan, settings = a_plan(), WorkerSettings()
    plan = with_effect(plan, timeout=7.0) if effect else plan
    assert work_seconds(plan) == 30.3 + 7.0 * effect
    assert work_seconds(plan) + settings.patience + settings.closing + 1 < grace_seconds(plan)


@pytest.mark.parametrize("loop_factory", [None, _factory()], ids=["asyncio", "uvloop"])
def test_a_signal_is_heeded_at_once_and_wakes_the_loop(loop_factory: Any) -> None:
    reported: list[str] = []

    async def main() -> None:
        woken = asyncio.Event()

        def react() -> None:
            reported.append("react")
            woken.set()

        on_signal(signal.SIGTERM, lambda: reported.append("hold"), react)
        signal.raise_signal(signal.SIGTERM)
        reported.append("during a step of the loop")
        async with asyncio.timeout(scaled(60)):
            await woken.wait()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())
    assert reported == ["hold", "during a step of the loop", "react"]


async def test_a_job_whose_part_is_being_settled_when_the_worker_stops_at_once_is_released(bench: Workbench) -> None:
    """A settlement is a round trip: left without its answer, the job would wait for its lease to run out."""
    asked, answering = asyncio.Event(), asyncio.Event()

    class Slow(SqliteQueue):
        async def settle(self, ref: Any, consumer: str, settlements: Any, want: int, limits: Limits) -> Any:
            answer = await super().settle(ref, consumer, settlements, want, limits)
            if any(each.rest is not None for each in settlements):
                asked.set()
                await answering.wait()
            return answer

    bench.plan = with_effect(a_plan(limits=RowLimits(batch_rows=100)))
    bench.effect = ScriptedEffect(skip_first)
    await bench.open()
    bench.connect = lambda: Slow(str(bench.folder / "queue.db"))  # type: ignore[method-assign]
    worker = bench.worker()
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(scaled(60)):
        await asked.wait()
        worker.stop()
        worker.stop(now=True)
        asyncio.get_running_loop().call_soon(answering.set)
        assert await running == 0
    stats = await bench.stats()
    assert (stats.running, stats.ready) == (0, 1)
    sweep = (await bench.run()).sweep
    assert sweep is not None
    assert (sweep.applied, sweep.skipped) == (99, 1)
    assert max(Counter(call.key for call in bench.effect.calls).values()) == 1
