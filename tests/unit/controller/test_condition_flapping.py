"""Conditions do not flap during partial and short outages."""

from __future__ import annotations

from kubesweep.errors import Outage
from kubesweep.queue.model import Settlement
from tests.kits.controller import ScheduleSimulation


async def test_a_short_outage_of_the_queue_is_not_reported(sim: ScheduleSimulation) -> None:
    """A restarted server is back within seconds: three hundred schedules must not report that twice."""
    await sim.ready()
    await sim.reconcile()
    writes = sim.writes
    sim.outage, sim.outage_seconds = Outage("QueueTimeout", "did not answer in time"), 9.9
    assert await sim.condition("Ready") == ("True", "Ready")
    assert sim.writes == writes
    sim.outage_seconds = 10
    assert await sim.condition("Ready") == ("False", "QueueUnavailable")
    sim.outage_seconds = 1
    sim.edit(schedule="*/10 * * * *")
    assert (await sim.reconcile())["observedGeneration"] == 2, "an edit is always answered"


async def test_an_outage_that_spares_some_jobs_does_not_flap_while_the_sweep_runs(sim: ScheduleSimulation) -> None:
    await sim.ready()
    await sim.start(10)
    assert await sim.condition("SourceReady") == ("True", "Checked")
    await sim.find(False, "LockNotAvailable", "table conversations: it is locked")
    assert await sim.condition("SourceReady") == ("False", "LockNotAvailable")
    assert "table conversations" in sim.message("Ready")
    writes = sim.writes
    for at in range(20):
        sim.wait(2)
        await sim.find(at % 2 == 0, "Works" if at % 2 == 0 else "LockNotAvailable", "table conversations: it is locked")
        assert await sim.condition("SourceReady") == ("False", "LockNotAvailable")
    assert sim.writes - writes <= 3
    await sim.find(True, "Works", "work succeeded")
    sim.wait(14)
    assert await sim.condition("SourceReady") == ("False", "LockNotAvailable")
    sim.wait(1)
    assert await sim.condition("SourceReady") == ("True", "Checked")


async def test_an_effect_that_fails_and_works_in_turns_does_not_flap_while_the_sweep_runs(
    sim: ScheduleSimulation,
) -> None:
    await sim.ready()
    claim = await sim.start(10)
    await sim.find(False, "ReceiverUnavailable", "the receiver answers 503", kind="Effect")
    assert await sim.condition("Ready") == ("False", "EffectNotReady")
    sim.wait(2)
    await sim.find(True, "Works", "work succeeded", kind="Effect")
    assert await sim.condition("Ready") == ("False", "EffectNotReady")
    await sim.settle(Settlement(claim, applied=10))
    assert await sim.condition("Ready") == ("True", "Ready")
