"""What the status says about the signals of ``source.health``, and about a pause that a person set."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kubesweep.api.models.status import MAX_SIGNALS, Status
from kubesweep.errors import Outage
from kubesweep.queue.model import THROTTLE, THROTTLE_AGE, Finding, Signal, Throttle
from kubesweep.timestamps import time_text
from kubesweep_controller.metrics import Metrics
from tests.kits.controller import ScheduleSimulation
from tests.unit.controller.test_metrics import Scraped, observe

LAG = Signal("replayLag", "2.0 s", "0.1 s", 1.0, 30.0)
LOCKS = Signal("lockWaits", "5", "", 0.0)


async def report(sim: ScheduleSimulation, *signals: Signal, ok: bool = True, **fields: Any) -> None:
    finding = Finding(THROTTLE, ok, "", "", sim.plan.version, at=sim.clock.now, signals=signals, **fields)
    await sim.queue.report(sim.ref, finding)


def since(sim: ScheduleSimulation, seconds: float) -> str:
    return time_text(int(sim.clock.now - seconds))


async def test_signals_that_slow_nothing_down_are_shown_too(sim: ScheduleSimulation) -> None:
    await sim.ready()
    await sim.start(1)
    await report(sim, LAG, LOCKS)
    status = await sim.reconcile()
    assert "throttle" not in status
    assert status["signals"] == [
        {"name": "replayLag", "limit": "2.0 s", "value": "0.1 s", "percent": 100, "since": since(sim, 30)},
        {"name": "lockWaits", "limit": "5", "percent": 0, "since": since(sim, 0)},
    ]


async def test_the_earliest_report_of_the_same_speed_says_since_when(sim: ScheduleSimulation) -> None:
    """Each worker reports since when it has measured it. With another speed or another limit the time begins again."""
    await sim.ready()
    await sim.start(1)
    await report(sim, LAG)
    began = since(sim, 30)
    assert (await sim.reconcile())["signals"][0]["since"] == began
    sim.wait(20)
    await report(sim, msgspec.structs.replace(LAG, value="0.3 s", seconds=1.0))
    (found,) = (await sim.reconcile())["signals"]
    assert (found["value"], found["since"]) == ("0.3 s", began)
    await report(sim, msgspec.structs.replace(LAG, value="1.2 s", factor=0.5, seconds=0.0), ok=False)
    sim.wait(20)
    assert (await sim.reconcile())["signals"][0]["since"] == since(sim, 20)
    await report(sim, msgspec.structs.replace(LAG, limit="9.0 s", seconds=2.0))
    sim.wait(20)
    assert (await sim.reconcile())["signals"][0]["since"] == since(sim, 22)


async def test_signals_that_no_worker_measures_any_more_are_not_shown(sim: ScheduleSimulation) -> None:
    await sim.ready()
    await sim.start(1)
    await report(sim, LAG)
    shown = (await sim.reconcile())["signals"]
    sim.outage = Outage("QueueUnavailable", "refused")
    assert (await sim.reconcile())["signals"] == shown
    sim.outage = None
    sim.wait(THROTTLE_AGE + 1)
    assert "signals" not in await sim.reconcile()


async def test_whatever_a_worker_reports_fits_into_the_status(sim: ScheduleSimulation) -> None:
    """A tenant's user can write any finding of its own schedules. The API server would refuse the whole status for one field."""
    await sim.ready()
    await sim.start(1)
    odd = Signal("n" * 500, "l" * 500, "v" * 500, 1e300, -1e300)
    worse = Signal("", "", "", -3.0, 1e300)
    await report(sim, *[odd, worse] * MAX_SIGNALS, ok=False, throttle=Throttle(7.0, "x", "y"))
    status = await sim.reconcile()
    Status.model_validate(status)
    assert len(status["signals"]) == MAX_SIGNALS
    assert [each["percent"] for each in status["signals"][:2]] == [100, 0]
    assert status["throttle"]["percent"] == 100


@pytest.mark.parametrize("by", ["suspend", "throttle"])
async def test_a_pause_that_a_person_set_and_its_end_are_exported(sim: ScheduleSimulation, by: str) -> None:
    """The alert KubesweepSweepOverdue needs both."""
    metrics = Metrics()
    await sim.ready()
    await sim.start(1)
    await sim.reconcile()
    await observe(metrics, sim)
    seen = Scraped(metrics)
    assert seen.get("kubesweep_paused", schedule="close-idle") == 0
    assert seen.get("kubesweep_resumed_timestamp_seconds") is None
    sim.edit(suspend=True) if by == "suspend" else sim.annotate("throttle", "pause")
    await sim.queue.pause(sim.ref, True)
    await sim.reconcile()
    await observe(metrics, sim)
    assert Scraped(metrics).get("kubesweep_paused", schedule="close-idle") == 1
    sim.wait(3600)
    sim.edit(suspend=False) if by == "suspend" else sim.annotate("throttle", "")
    await sim.queue.pause(sim.ref, False)
    sim.wait(20)
    status = await sim.reconcile()
    assert status["resumedTime"] == since(sim, 20)
    await observe(metrics, sim)
    seen = Scraped(metrics)
    assert seen.get("kubesweep_paused", schedule="close-idle") == 0
    assert seen.get("kubesweep_resumed_timestamp_seconds", schedule="close-idle") == int(sim.clock.now - 20)
    await sim.queue.forget(sim.ref)
    sim.wait(20)
    assert (await sim.reconcile())["resumedTime"] == status["resumedTime"]
    sim.wait(-86_400)  # the clock was ahead
    assert "resumedTime" not in await sim.reconcile()


async def test_a_slow_rate_or_a_signal_is_no_pause_of_a_person(sim: ScheduleSimulation) -> None:
    metrics = Metrics()
    await sim.ready()
    await sim.start(1)
    sim.annotate("throttle", "2")
    await report(sim, LOCKS, ok=False, throttle=Throttle(0.0, "9", "5"))
    await sim.reconcile()
    await observe(metrics, sim)
    assert Scraped(metrics).get("kubesweep_paused", schedule="close-idle") == 0
