"""Which worker measures, and what it reports, on a real queue."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
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
YIELDS = HealthLimits(lock_waits=10.0, yields=True)


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
    """And no smaller than otherwise where another signal slows it down by as much."""
    monkeypatch.setattr(context, "SMALL", 20)
    ann = yielding(bench, clock)
    sizes = []
    for sessions, waits in ((0, 0), (8, 0), (0, 0), (0, 0), (0, 0), (0, 9.5), (1, 9.5)):
        await used_by(ann, sessions, waits)
        sizes.append((ann.context.health.factor, ann.context.batch_size.most))
        clock.now += 1
    assert sizes == [(1.0, 100), (0.1, 20), (0.25, 20), (0.5, 20), (1.0, 100), (0.1, 100), (0.1, 20)]


def yielding(bench: Workbench, clock: Clock) -> Monitored:
    ann = Monitored(bench, clock, "ann")
    ann.context.apply_pace(Pace(health=YIELDS))
    return ann


async def used_by(ann: Monitored, sessions: float, waits: float = 0.0) -> None:
    """One second in which this many other sessions use the database."""
    ann.source.signals = {"lockWaits": waits, "activeSessions": sessions}
    await ann.monitor.step(YIELDS)


async def test_what_others_did_before_a_time_without_writes_is_no_reason_to_be_slow_after_it(
    bench: Workbench, clock: Clock
) -> None:
    ann = yielding(bench, clock)
    await used_by(ann, 8.0)
    assert ann.context.health.factor == 0.1
    ann.source.signals = {"lockWaits": 0.0, "activeSessions": 0.0}
    running = asyncio.create_task(ann.monitor.run())

    async def idle() -> bool:
        return ann.context.health.decision is None

    async def reported() -> bool:
        return len(bench.said) > 1

    clock.now += 31
    await polling.until(idle)
    ann.context.health.wanted.set()
    await polling.until(reported)
    running.cancel()
    assert bench.said == [("Throttle", False, "ActiveSessions"), ("Throttle", True, "")]


async def test_an_application_that_comes_and_goes_does_not_fill_the_log(
    bench: Workbench, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    ann = yielding(bench, clock)
    caplog.set_level(logging.INFO, "kubesweep.worker")
    for second in range(60):
        await used_by(ann, float(second % 3 == 0))
        clock.now += 1
    assert caplog.messages == ["slowed to 10%: 1 other session uses the database"]
    await used_by(ann, 1.0, waits=20.0)
    assert caplog.messages[1:] == ["paused: sessions that wait for locks: 20 > 10"]


async def test_a_report_that_the_queue_refuses_is_logged_once_and_repeated_until_it_responds(
    bench: Workbench, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    ann = yielding(bench, clock)
    caplog.set_level(logging.INFO, "kubesweep.worker")
    report, reported = ann.context.findings.report_throttle, list[str]()

    async def refuse(decision: Decision, signals: tuple[Signal, ...] = ()) -> None:
        reported.append(decision.reason)
        raise Outage("QueueUnreachable", "no route")

    ann.context.findings.report_throttle = refuse  # type: ignore[method-assign]
    for _ in range(10):
        await used_by(ann, 0.0, waits=10.0)
        clock.now += 1
    assert reported == ["LockWaits"] * 10
    assert caplog.messages == ["paused: sessions that wait for locks: 10, the limit is 10"]
    ann.context.findings.report_throttle = report  # type: ignore[method-assign]
    await used_by(ann, 0.0, waits=10.0)
    assert bench.said == [("Throttle", False, "LockWaits")]
