"""Writes wait while the health of the database is bad or unknown, and go slower before."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from kubesweep.errors import LeaseLost, Outage
from kubesweep.queue.model import HealthLimits, Pace
from kubesweep_worker.flow_control.health_level import UNKNOWN, Decision
from kubesweep_worker.flow_control.write_admission import LONGEST_PAUSE, SLEEP, SMALL, TooLarge, WriteAdmission
from kubesweep_worker.phases import WRITE
from kubesweep_worker.settings import WorkerSettings
from tests.unit.worker.test_rate_limiter import Clock, a_run

LAG, AUTO = HealthLimits(replay_lag=2.0), HealthLimits(replay_lag=2.0, lock_waits=5.0, yields=True)
TENTH = Decision(0.1, "ActiveSessions", yields=True)
FULL, HALF, PAUSED = Decision(1.0), Decision(0.5, "ReplayLag"), Decision(0.0, "ReplayLag")


class Bench:
    """An admission whose sleeps call ``then`` in turn, each at the time when the sleep ends."""

    def __init__(self, limits: HealthLimits | None = LAG) -> None:
        self.clock, self.probes, self.sleeps = Clock(), 0, 0
        self.then: list[Callable[[], object]] = []
        self.instead: Callable[[], Awaitable[None]] | None = None  # of a sleep
        self.broken: Outage | None = None
        self.where, self.while_it_is_read = "carts(id) #here", list[Callable[[], object]]()
        settings = WorkerSettings(monotonic=self.clock, sleep=self.sleep)
        self.admission = WriteAdmission(Pace(health=limits), settings, self)
        self.run = a_run(1)

    async def sleep(self, seconds: float) -> None:
        self.sleeps += 1
        if self.instead is not None:
            await self.instead()
            return
        await self.clock.sleep(seconds)
        if self.then:
            self.then.pop(0)()

    async def probe(self) -> None:
        self.probes += 1
        if self.broken is not None:
            raise self.broken

    async def origin(self) -> str:
        if self.while_it_is_read:
            self.while_it_is_read.pop(0)()
        return self.where

    async def write(self, seconds: float = 0.0) -> float:
        """One write that takes this long; returns how long it waited before."""
        began = self.clock.now
        async with self.admission.admitted(self.run):
            waited = self.clock.now - began
            self.clock.now += seconds
        return waited


async def test_without_limits_nothing_waits() -> None:
    bench = Bench(None)
    assert await bench.write(9.0) == 0
    assert (bench.sleeps, bench.admission.factor) == (0, 1.0)


async def test_the_first_write_waits_for_a_sample() -> None:
    bench = Bench()
    bench.then = [lambda: None, lambda: bench.admission.decide(FULL)]
    assert await bench.write() == 2 * SLEEP
    assert bench.admission.wanted.is_set()
    assert await bench.write() == 0


async def test_a_pause_lasts_until_the_decision_changes_and_is_not_idle() -> None:
    bench, idle = Bench(), set[bool]()
    bench.admission.decide(PAUSED)
    bench.then = [*[lambda: idle.add(bench.admission.idle)] * 9, lambda: bench.admission.decide(FULL)]
    assert await bench.write() == 10 * SLEEP
    assert (bench.probes, idle) == (0, {False})


@pytest.mark.parametrize("decision", [None, Decision(0.0, UNKNOWN)])
async def test_while_it_is_unknown_a_database_that_fails_ends_the_wait(decision: Decision | None) -> None:
    bench = Bench()
    bench.admission.decide(decision)
    bench.then = [lambda: None, lambda: setattr(bench, "broken", Outage("Unreachable", "gone"))]
    with pytest.raises(Outage, match="gone"):
        await bench.write()
    assert bench.probes == 2


async def test_a_factor_is_the_share_of_time_that_writes_take() -> None:
    bench = Bench()
    bench.admission.decide(FULL)
    assert await bench.write(0.2) == 0
    bench.admission.decide(HALF)
    assert await bench.write(3.0) == pytest.approx(0.2)
    assert await bench.write(100.0) == pytest.approx(3.0)
    bench.admission.decide(Decision(0.25, "ReplayLag"))
    assert await bench.write() == LONGEST_PAUSE


@pytest.mark.parametrize("decision", [Decision(0.25, "ReplayLag"), TENTH])
async def test_only_a_sweep_that_yields_does_one_write_at_a_time(decision: Decision) -> None:
    bench = Bench(AUTO)
    bench.admission.decide(decision)
    async with bench.admission.admitted(bench.run):
        bench.clock.now += 0.1
        second = asyncio.create_task(bench.write())
        for _ in range(5):
            await asyncio.sleep(0)
        assert second.done() != decision.yields
    assert (await second > 0.0) == decision.yields


async def test_a_write_that_waits_for_another_ones_end_waits_no_longer_once_nobody_uses_the_database() -> None:
    bench = Bench(AUTO)
    bench.admission.decide(TENTH)
    async with bench.admission.admitted(bench.run):
        second = asyncio.create_task(bench.write())
        await asyncio.sleep(0)
        bench.admission.decide(Decision(0.1, "ReplayLag"))
        for _ in range(5):
            await asyncio.sleep(0)
        assert second.done()


async def test_a_write_that_became_too_large_while_it_waited_does_not_start() -> None:
    bench = Bench(AUTO)
    bench.then = [lambda: bench.admission.decide(TENTH)]
    with pytest.raises(TooLarge) as raised:
        async with bench.admission.admitted(bench.run, SMALL + 1):
            raise AssertionError
    assert raised.value.most == SMALL
    bench.clock.now += 31
    assert bench.admission.idle
    async with bench.admission.admitted(bench.run, SMALL):
        pass
    bench.admission.decide(HALF)
    async with bench.admission.admitted(bench.run, SMALL + 1):
        pass


async def test_a_rate_that_was_multiplied_needs_no_further_wait() -> None:
    bench = Bench()
    bench.admission.use(Pace(rate=5.0, health=LAG))
    bench.admission.decide(HALF)
    assert [await bench.write(3.0), await bench.write(3.0)] == [0, 0]


async def test_a_sweep_that_yields_pauses_with_a_rate_too() -> None:
    """A tenth of a rate that the sweep does not reach would be no limit at all."""
    bench = Bench(AUTO)
    bench.admission.use(Pace(rate=1_000_000.0, health=AUTO))
    bench.admission.decide(TENTH)
    assert [await bench.write(0.2), await bench.write()] == [0, pytest.approx(1.8)]


async def test_a_pause_that_begins_during_a_wait_holds() -> None:
    bench = Bench()
    bench.admission.decide(HALF)
    await bench.write(8.0)
    bench.then = [lambda: bench.admission.decide(PAUSED), lambda: None, lambda: bench.admission.decide(FULL)]
    assert await bench.write() == pytest.approx(3 * SLEEP)


async def test_new_limits_wait_for_a_new_sample_and_none_end_the_wait() -> None:
    bench = Bench()
    bench.admission.decide(FULL)
    bench.admission.use(Pace(health=HealthLimits(lock_waits=5.0)))
    assert bench.admission.decision is None
    bench.then = [lambda: bench.admission.use(Pace())]
    assert await bench.write() == SLEEP


def of_the_table(bench: Bench) -> None:
    job = msgspec.structs.replace(bench.run.claim.job, origin="carts(id) #here")
    bench.run.claim = msgspec.structs.replace(bench.run.claim, job=job)


async def test_after_a_pause_the_url_must_lead_to_the_same_database() -> None:
    bench = Bench()
    of_the_table(bench)
    bench.admission.decide(PAUSED)
    bench.then = [lambda: bench.admission.decide(FULL)]
    assert await bench.write() == SLEEP
    bench.where = "carts(id) #elsewhere"
    assert await bench.write() == 0, "without a pause the origin of the claim is recent enough"
    bench.admission.decide(PAUSED)
    bench.then = [lambda: bench.admission.decide(FULL)]
    with pytest.raises(Outage, match="another database"):
        await bench.write()


async def test_a_pause_that_begins_while_the_origin_is_read_holds() -> None:
    bench = Bench()
    of_the_table(bench)
    bench.admission.decide(PAUSED)
    bench.then = [lambda: bench.admission.decide(FULL), lambda: None, lambda: bench.admission.decide(FULL)]
    bench.while_it_is_read = [lambda: bench.admission.decide(PAUSED)]
    assert await bench.write() == 3 * SLEEP


async def test_a_decision_ends_a_sleep_that_has_begun_and_needs_no_probe() -> None:
    bench = Bench()
    bench.admission.decide(PAUSED)

    async def decide_and_sleep_on() -> None:
        bench.admission.decide([None, FULL][bench.sleeps - 1])
        await asyncio.Event().wait()

    bench.instead = decide_and_sleep_on
    assert (await bench.write(), bench.sleeps, bench.probes) == (0, 2, 0)


async def test_the_end_of_a_write_is_what_the_next_one_of_a_sweep_that_yields_waits_for() -> None:
    bench = Bench(AUTO)
    bench.admission.decide(Decision(0.5, "ActiveSessions", yields=True))
    began = asyncio.Event()

    async def sleep_on() -> None:
        began.set()
        await asyncio.Event().wait()

    bench.instead = sleep_on
    async with bench.admission.admitted(bench.run):
        bench.clock.now += 1.0
        second = asyncio.create_task(bench.write())
        await began.wait()
        bench.instead = None
    assert await second == pytest.approx(1.0)


@pytest.mark.parametrize("busy", [3.0, 100.0])
async def test_a_lease_that_is_lost_during_a_long_wait_ends_it_and_starts_no_write(busy: float) -> None:
    bench = Bench()
    bench.admission.decide(HALF)
    await bench.write(busy)
    bench.then = [lambda: setattr(bench.run, "lost", True)]
    with pytest.raises(LeaseLost):
        await bench.write()
    assert bench.sleeps == 1


async def test_a_write_that_waited_continues_in_the_phase_in_which_it_began() -> None:
    bench = Bench()
    bench.admission.decide(FULL)
    bench.run.enter(WRITE)
    async with bench.admission.admitted(bench.run):
        assert bench.run.phase == WRITE


async def test_a_lost_lease_ends_the_wait() -> None:
    bench = Bench()
    bench.admission.decide(PAUSED)
    bench.then = [lambda: setattr(bench.run, "lost", True)]
    with pytest.raises(LeaseLost):
        await bench.write()


async def test_a_wait_is_progress_and_can_be_cancelled() -> None:
    bench = Bench()
    bench.admission.decide(PAUSED)
    bench.run.last_progress = -1.0
    task = asyncio.create_task(bench.write())
    bench.then = [lambda: None, task.cancel]
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.run.last_progress >= 0.0


async def test_without_writes_it_is_idle() -> None:
    bench = Bench()
    bench.admission.decide(FULL)
    await bench.write()
    assert not bench.admission.idle
    bench.clock.now += 31
    assert bench.admission.idle


async def test_a_write_that_takes_long_is_not_idle() -> None:
    bench = Bench()
    bench.admission.decide(FULL)
    async with bench.admission.admitted(bench.run):
        bench.clock.now += 31
        assert not bench.admission.idle
    assert not bench.admission.idle


async def test_limits_that_are_added_during_a_write_are_measured_at_once() -> None:
    bench = Bench(None)
    async with bench.admission.admitted(bench.run):
        bench.clock.now += 31
        bench.admission.use(Pace(health=LAG))
        assert bench.admission.wanted.is_set()
        assert not bench.admission.idle


async def test_what_waits_for_the_health_also_waits_for_a_person_who_paused_the_sweep() -> None:
    bench = Bench()
    bench.admission.decide(PAUSED)
    bench.admission.use(Pace(rate=0.0, health=LAG))
    bench.then = [lambda: bench.admission.decide(FULL), lambda: None, lambda: bench.admission.use(Pace(health=LAG))]
    assert await bench.write() == 3 * SLEEP
