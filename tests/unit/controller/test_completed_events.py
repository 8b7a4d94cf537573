"""The Event of a completed sweep, on a real queue that runs real sweeps."""

from __future__ import annotations

import pytest

from kubesweep.queue.model import Job, JobKind, Settlement, Window
from tests.kits.controller import ScheduleSimulation, failed, retry
from tests.unit.controller.test_event_rules import logged, summaries


@pytest.fixture
async def served(sim: ScheduleSimulation) -> ScheduleSimulation:
    await sim.ready()
    await sim.reconcile()
    return sim


async def test_a_completed_sweep_is_one_event_with_its_rows_and_its_duration(served: ScheduleSimulation) -> None:
    claim = await served.start(1204)
    await served.reconcile()
    served.wait(75)
    done = Settlement(claim, applied=1200, skipped=1, retry=retry("7"), dead=failed("8", "9"))
    await served.settle(done)
    completed, _ = await logged(served)
    assert completed.note == (
        "the sweep of 2027-01-15T08:00:00Z completed in 1 min 15 s: 1,204 rows, 1,200 applied, 1 skipped, 1 retrying, 2 dead"
    )
    served.wait(60)
    await served.settle(Settlement(await served.claim(), applied=1))
    assert await summaries(served) == [], "the outcome of its retries"
    served.wait(300)
    await served.sweep()
    (another,) = await logged(served)
    assert (another.reason, another.error != completed.error) == ("Completed", True), "an object of its own"


async def test_a_dry_run_and_a_capped_sweep_say_so(served: ScheduleSimulation) -> None:
    sweep = (await served.tick(mode="DryRun")).sweep
    window = Window("cutoff", (), planned=40_000, capped=True)
    assert await served.queue.advance(served.ref, await served.claim(), window)
    (event,) = await logged(served)
    assert (event.occurrence, event.note.partition(": ")[2]) == (
        f"{sweep}/Completed",
        "40,000 rows would be swept (DryRun)",
    )
    served.wait(300)
    sweep = (await served.tick()).sweep
    job = Job(JobKind.RANGE, served.plan.version, sweep, "cutoff", low=("0",), high=("9",), rows=2)
    window = Window("cutoff", (job,), planned=2, capped=True)
    assert await served.queue.advance(served.ref, await served.claim(), window)
    await served.settle(Settlement(await served.claim(), applied=2))
    (event,) = await logged(served)
    assert event.note.endswith(": 2 rows, 2 applied, the other rows wait for the next tick")


async def test_a_sweep_that_found_nothing_is_no_event(served: ScheduleSimulation) -> None:
    await served.tick()
    assert await served.queue.advance(served.ref, await served.claim(), Window("cutoff"))
    assert (await served.reconcile())["lastSweep"]["state"] == "Completed"
    served.body["status"].pop("lastSweep")
    assert await summaries(served) == []


async def test_sweeps_that_come_every_few_seconds_are_no_events(served: ScheduleSimulation) -> None:
    served.edit(schedule=None, every="30s")
    await served.reconcile()
    served.wait(30)
    await served.sweep()
    assert await summaries(served) == []
