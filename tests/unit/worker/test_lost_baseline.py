"""A queue that lost its data: how long a guarded sweep waits until the controller has restored what it is compared with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kubesweep.api.plan import Match, RowLimits
from kubesweep.queue.model import LOCAL, Pace, Stats, Sweep, SweepState
from kubesweep_worker.jobs.approval import PAUSE
from kubesweep_worker.settings import WorkerSettings
from tests.kits.deadlines import scaled
from tests.kits.worker import MemorySource, Workbench, a_plan

GUARDED = RowLimits(batch_rows=100, approve_above_rows=10**6)


def guarded(**changes: Any) -> Any:
    return a_plan(limits=GUARDED, **changes)


async def swept(bench: Workbench) -> Sweep:
    sweep = (await bench.sweep()).sweep
    assert sweep is not None
    return sweep


async def approved(bench: Workbench, sweep: Sweep) -> Sweep:
    assert await bench.queue.approve(bench.plan.ref, sweep.id) == sweep.id
    done = (await bench.run()).sweep
    assert done is not None
    return done


class Controller:
    """Restores what the queue lost at the n-th time that a worker looks."""

    def __init__(self, folder: Path, after: int) -> None:
        self.slept, self.after = 0, after
        plan = guarded(install="c1", match=(Match("in", "status", ("other",)),))
        settings = WorkerSettings(backoff=0.01, max_backoff=0.05, sleep=self.sleep)
        self.bench = Workbench(folder, MemorySource(10), plan, settings=settings)
        self.baseline: Any = None

    async def sleep(self, seconds: float) -> None:
        if seconds != PAUSE:  # the worker sleeps for other reasons too, such as a busy machine
            return
        self.slept += 1
        if self.slept == self.after:
            if self.baseline is not None:
                await self.bench.queue.restore_baseline(self.bench.plan.ref, self.baseline)
            await self.bench.queue.set_pace(self.bench.plan.ref, Pace.of(None))


async def baseline_of_another_sweep(folder: Path) -> Any:
    bench = Workbench(folder, MemorySource(1), guarded())
    stats: Stats = await bench.sweep()
    await bench.queue.close()
    return stats.baseline


async def test_after_a_loss_of_the_queue_a_sweep_waits_until_the_baseline_is_restored(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    controller = Controller(tmp_path, after=3)
    controller.baseline = await baseline_of_another_sweep(tmp_path / "before")
    sweep = await swept(controller.bench)
    assert (controller.slept, sweep.reason) == (3, "PredicateChanged")
    await controller.bench.queue.close()


async def test_a_new_schedule_waits_for_nothing_but_its_pace(tmp_path: Path) -> None:
    controller = Controller(tmp_path, after=1)
    sweep = await swept(controller.bench)
    assert (controller.slept, sweep.state) == (1, SweepState.COMPLETED)
    await controller.bench.queue.close()


async def test_an_approved_sweep_does_not_wait_for_the_controller(tmp_path: Path) -> None:
    controller = Controller(tmp_path, after=0)
    bench = controller.bench
    bench.settings = WorkerSettings(backoff=0.01, max_backoff=0.05, restoring=0.0, sleep=controller.sleep)
    sweep = await swept(bench)
    assert sweep.reason == "BaselineUnknown"
    assert (await approved(bench, sweep)).state is SweepState.COMPLETED
    assert controller.slept == 0
    await bench.queue.close()


class LostQueue:
    """A schedule of a controller that has not seen yet that its queue lost all data. Counts how often a worker waits for it."""

    def __init__(self, folder: Path) -> None:
        self.waits = 0
        self.then: Callable[[], None] = lambda: None
        self.time = 0.0
        self.bench = Workbench(folder, MemorySource(10), guarded(install="c1"))
        self.restore_within(3.0)

    def restore_within(self, seconds: float) -> None:
        self.bench.settings = WorkerSettings(
            backoff=0.01, max_backoff=0.05, restoring=seconds, sleep=self._sleep, monotonic=lambda: self.time
        )

    async def _sleep(self, seconds: float) -> None:
        if seconds == PAUSE:
            self.waits += 1
            self.time += seconds
            self.then()


async def test_a_lost_baseline_is_awaited_only_so_long(tmp_path: Path) -> None:
    lost = LostQueue(tmp_path)
    assert (await swept(lost.bench)).reason == "BaselineUnknown"
    assert lost.waits == 3
    await lost.bench.queue.close()


async def test_no_time_to_restore_is_no_wait(tmp_path: Path) -> None:
    lost = LostQueue(tmp_path)
    lost.restore_within(0.0)
    assert (await swept(lost.bench)).reason == "BaselineUnknown"
    assert lost.waits == 0
    await lost.bench.queue.close()


@pytest.mark.parametrize(
    "changes",
    [{"limits": RowLimits(batch_rows=100)}, {"mode": "DryRun"}, {"install": LOCAL}],
    ids=["without a bound", "a dry run", "without a controller"],
)
async def test_a_sweep_that_needs_no_baseline_waits_for_none(tmp_path: Path, changes: dict[str, Any]) -> None:
    lost = LostQueue(tmp_path)
    lost.bench.plan = msgspec.structs.replace(lost.bench.plan, **changes)
    assert (await swept(lost.bench)).state is SweepState.COMPLETED
    assert lost.waits == 0
    await lost.bench.queue.close()


async def test_an_approved_sweep_waits_for_no_baseline(tmp_path: Path) -> None:
    lost = LostQueue(tmp_path)
    sweep = await swept(lost.bench)
    await lost.bench.queue.approve(lost.bench.plan.ref, sweep.id)
    lost.restore_within(3.0)
    waited = lost.waits
    assert (await lost.bench.run()).sweep is not None
    assert lost.waits == waited
    await lost.bench.queue.close()


@pytest.mark.parametrize("how", ["begin_drain", "stop"])
async def test_a_worker_that_stops_does_not_wait_for_the_baseline(tmp_path: Path, how: str) -> None:
    lost = LostQueue(tmp_path)
    lost.restore_within(1e9)
    await lost.bench.open()
    worker = lost.bench.worker()

    def end() -> None:
        assert lost.waits == 1
        getattr(worker, how)()
        if how == "begin_drain":  # a signal handler calls it first
            asyncio.get_running_loop().call_soon(worker.stop)

    lost.then = end
    async with asyncio.timeout(scaled(60)):
        await worker.run(until_settled=True)
    sweep = (await lost.bench.stats()).sweep
    assert sweep is not None
    assert (lost.waits, sweep.state, sweep.planned) == (1, SweepState.PLANNING, 0)
    await lost.bench.queue.close()


async def test_a_baseline_that_the_queue_still_has_is_awaited_no_longer(tmp_path: Path) -> None:
    """The controller sets the pace last, which may take longer."""
    lost = LostQueue(tmp_path)
    sweep = await swept(lost.bench)
    lost.restore_within(3.0)
    waited = lost.waits
    assert (await approved(lost.bench, sweep)).state is SweepState.COMPLETED
    assert (await lost.bench.stats()).baseline is not None
    assert (await swept(lost.bench)).state is SweepState.COMPLETED
    assert lost.waits == waited
    await lost.bench.queue.close()
