"""Which worker measures, and what it reports, on a real queue."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kubesweep.errors import Outage, SweepFailure
from kubesweep.queue.model import TURN, HealthLimits, Pace, Sample, Signal
from kubesweep_worker.flow_control.health_level import MAX_AGE, Decision
from kubesweep_worker.jobs import context
from kubesweep_worker.jobs.context import JobContext
from kubesweep_worker.runtime import health_monitor
from kubesweep_worker.runtime.health_monitor import HealthMonitor
from tests.kits import polling
from tests.kits.deadlines import scaled
from tests.kits.worker import MemorySource, Workbench
from tests.unit.worker.test_rate_limiter import Clock

LIMITS = HealthLimits(lock_waits=10.0)


class Monitored:
    """A monitor of one worker with its own source, all on one clock."""

    def __init__(self, bench: Workbench, clock: Clock, name: str) -> None:
        self.source = MemorySource(1)
        settings = dataclasses.replace(bench.settings, monotonic=clock, sleep=clock.sleep)
        self.context = JobContext(bench.plan, bench.queue, self.source, None, settings, consumer=name)
        self.context.health.use(Pace(health=LIMITS))
        self.monitor = HealthMonitor(self.context)

    async def step(self) -> str:
        """One second of the monitor; the reason of its decision."""
        await self.monitor.step(LIMITS)
        decision = self.context.health.decision
        return "" if decision is None else decision.reason


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def bench(tmp_path: Path, clock: Clock) -> AsyncIterator[Workbench]:
    made = Workbench(tmp_path, MemorySource(1), clock=clock)
    yield made
    await made.queue.close()


def refused(_: str) -> None:
    raise SweepFailure("AuthenticationFailed", "wrong password")


def unreachable(_: str) -> None:
    raise Outage("Unreachable", "refused")


async def test_a_worker_that_cannot_measure_leaves_it_to_another_one(bench: Workbench, clock: Clock) -> None:
    ann, bob = Monitored(bench, clock, "ann"), Monitored(bench, clock, "bob")
    ann.source.signals = bob.source.signals = {"lockWaits": 0.0}
    assert [await ann.step(), await bob.step()] == ["", ""]
    ann.source.down = refused
    bob.source.signals = {"lockWaits": 10.0}
    found = []
    for _ in range(round(3 * TURN)):
        clock.now += 1
        found.append((await ann.step(), await bob.step()))
    assert ("LockWaits", "LockWaits") in found
    assert not any("Unknown" in each for each in found)


async def test_a_worker_alone_measures_again_once_the_database_answers(bench: Workbench, clock: Clock) -> None:
    ann = Monitored(bench, clock, "ann")
    ann.source.signals, ann.source.down = {"lockWaits": 0.0}, unreachable
    assert await ann.step() == "Unknown"
    ann.source.down = lambda _: None
    for _ in range(5):
        clock.now += 1
        last = await ann.step()
    assert last == ""


async def test_a_worker_without_work_reports_no_recovery(bench: Workbench, clock: Clock) -> None:
    ann = Monitored(bench, clock, "ann")
    ann.source.signals = {"lockWaits": 10.0}
    running = asyncio.create_task(ann.monitor.run())
    ann.context.health.wanted.set()

    async def idle() -> bool:
        return bool(bench.said) and ann.context.health.decision is None

    async def recovered() -> bool:
        return ("Throttle", True, "") in bench.said

    await polling.until(idle)
    assert {each for each in bench.said if each[0] == "Throttle"} == {("Throttle", False, "LockWaits")}
    ann.context.health.use(Pace())
    await polling.until(recovered)
    running.cancel()


async def test_a_report_that_fails_does_not_end_the_measurements(bench: Workbench, clock: Clock) -> None:
    ann = Monitored(bench, clock, "ann")
    ann.source.signals = {"lockWaits": 10.0}

    async def fail(decision: Decision, signals: tuple[Signal, ...] = ()) -> None:
        raise ValueError("a defect")

    ann.context.findings.report_throttle = fail  # type: ignore[method-assign]
    assert await ann.step() == "LockWaits"


async def test_a_measurement_that_hangs_leaves_the_health_unknown_after_five_seconds(
    bench: Workbench, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = Monitored(bench, clock, "ann")
    ann.source.signals = {"lockWaits": 0.0}
    assert await ann.step() == ""
    answer, measure = asyncio.Event(), ann.source.measure

    async def hang(query: str) -> Sample:
        await answer.wait()
        return await measure(query)

    monkeypatch.setattr(ann.source, "measure", hang)
    monkeypatch.setattr(health_monitor, "PATIENCE", 0.01)
    clock.now += MAX_AGE + 1
    async with asyncio.timeout(scaled(20)):
        assert await ann.step() == "Unknown"
        answer.set()
        monkeypatch.undo()
        assert await ann.step() == ""


async def test_signals_are_reported_again_also_at_full_speed(bench: Workbench, clock: Clock) -> None:
    """Otherwise nobody could see what they are at. A person looks at the page before it is too late."""
    ann = Monitored(bench, clock, "ann")
    ann.source.signals = {"lockWaits": 1.0}
    await bench.open()
    for expected in (1, 1, 2):
        await ann.step()
        assert len([each for each in bench.said if each[0] == "Throttle"]) == expected
        clock.now += health_monitor.REPEAT / 2
    (stats,) = await bench.queue.stats([bench.plan.ref])
    finding = stats.measured(clock.now)
    assert finding is not None
    assert finding.ok
    assert stats.throttled(clock.now) is None
    (signal,) = finding.signals
    assert (signal.name, signal.value, signal.limit, signal.factor) == ("lockWaits", "1", "10", 1.0)
    assert signal.seconds == health_monitor.REPEAT


async def test_transactions_are_small_while_the_sweep_yields(
    bench: Workbench, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "SMALL", 20)
    ann, limits = Monitored(bench, clock, "ann"), HealthLimits(lock_waits=10.0, yields=True)
    ann.context.apply_pace(Pace(health=limits))
    sizes = []
    for sessions in (0.0, 8.0, 0.0, 0.0, 0.0):
        ann.source.signals = {"lockWaits": 0.0, "activeSessions": sessions}
        await ann.monitor.step(limits)
        sizes.append((ann.context.health.factor, ann.context.batch_size.most))
        clock.now += 1
    assert sizes == [(1.0, 100), (0.1, 20), (0.25, 20), (0.5, 20), (1.0, 100)]
