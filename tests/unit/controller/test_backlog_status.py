"""``status.backlog`` and the condition KeepingUp, from sweeps on a real queue."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from kubesweep.errors import Outage
from kubesweep.queue.model import Job, JobKind, Settlement, StaleRows, Window
from kubesweep_controller.status.build_status import build_status
from kubesweep_controller.status.conditions.result import find_condition
from kubesweep_controller.status.event_rules import events_of
from kubesweep_controller.status.formatting import time_text
from tests.kits.controller import START, ScheduleSimulation

HOUR = 3600.0
YEARLY = "0 0 1 1 *"  # so that no tick is missed


async def begin(sim: ScheduleSimulation, rows: int, *, capped: bool = False, stale: int | None = None) -> Any:
    """A sweep of so many rows in one job; ``stale``: what its plan step found. Returns the claimed job."""
    sweep = (await sim.tick()).sweep
    cutoff = datetime.fromtimestamp(sim.clock.now, UTC).isoformat(sep=" ")
    jobs = (Job(JobKind.RANGE, sim.plan.version, sweep, cutoff, low=("0",), high=("9",), rows=rows),) if rows else ()
    assert await sim.queue.advance(sim.ref, await sim.claim(), Window(cutoff, jobs, planned=rows, capped=capped))
    if stale is not None:
        await sim.queue.record_stale(sim.ref, sweep, StaleRows(stale, sim.clock.now - HOUR))
    return await sim.claim() if rows else None


async def hourly(sim: ScheduleSimulation, rows: int, **planned: Any) -> None:
    """One sweep that takes ten seconds, and the rest of an hour."""
    claim = await begin(sim, rows, **planned)
    sim.wait(10)
    await sim.settle(Settlement(claim, applied=rows))
    await sim.reconcile()
    sim.wait(HOUR - 10)


async def falling_behind(sim: ScheduleSimulation) -> None:
    for stale in (300, 400, 500):
        await hourly(sim, 100, capped=True, stale=stale)


async def test_a_schedule_that_keeps_up(sim: ScheduleSimulation) -> None:
    await sim.ready()
    assert await sim.condition("KeepingUp") == ("Unknown", "NotEnoughSweeps")
    assert "backlog" not in sim.body["status"]
    for _ in range(3):
        await hourly(sim, 120)
    assert await sim.condition("KeepingUp") == ("True", "KeepingUp")
    ended = time_text(START + 2 * HOUR + 10)
    assert sim.body["status"]["backlog"] == {
        "rows": 0, "inflowPerHour": 120, "outflowPerHour": 43_000, "emptyTime": ended, "observedTime": ended,
    }  # fmt: skip


async def test_a_schedule_that_never_empties_its_backlog_says_so_once(sim: ScheduleSimulation) -> None:
    await sim.ready()
    await falling_behind(sim)
    assert await sim.condition("KeepingUp") == ("False", "FallingBehind")
    backlog = sim.body["status"]["backlog"]
    assert (backlog["rows"], backlog["inflowPerHour"], backlog["outflowPerHour"]) == (400, 200, 100)
    assert backlog["oldestTime"] == time_text(START + HOUR)
    assert "emptyTime" not in backlog
    assert "limits.maxRowsPerSweep" in sim.message("KeepingUp")


async def test_each_capped_sweep_keeps_how_many_rows_were_stale_also_without_the_queue(sim: ScheduleSimulation) -> None:
    await sim.ready()
    await falling_behind(sim)
    for _ in range(2):
        status = await sim.reconcile()
        sweeps = [status["lastSweep"], *status["history"]]
        assert [(each["planned"], each["stale"]) for each in sweeps] == [(100, 500), (100, 400), (100, 300)]
        await sim.flush()


async def test_a_sweep_that_planned_every_stale_row_says_so_once(sim: ScheduleSimulation) -> None:
    await sim.ready()
    await hourly(sim, 120, stale=120)
    assert "stale" not in (await sim.reconcile())["lastSweep"]
    await begin(sim, 50, capped=True, stale=120)
    sim.wait(15)
    assert "stale" not in (await sim.reconcile())["lastSweep"], "it has not ended"


async def test_falling_behind_and_the_end_of_it_are_events(sim: ScheduleSimulation) -> None:
    await sim.ready()
    posted = []
    for rows, capped, stale in (
        (100, True, 300),
        (100, True, 400),
        (100, True, 500),
        (600, False, 600),
        (100, False, 100),
    ):
        claim = await begin(sim, rows, capped=capped, stale=stale)
        sim.wait(10)
        await sim.settle(Settlement(claim, applied=rows))
        for _ in range(2):
            observation = await sim.observation()
            posted += [each.reason for each in events_of(observation, build_status(observation))]
            await sim.reconcile()
        sim.wait(HOUR - 10)
    assert [reason for reason in posted if reason in ("FallingBehind", "KeepingUp")] == ["FallingBehind", "KeepingUp"]


async def test_nothing_is_written_while_no_sweep_runs(sim: ScheduleSimulation) -> None:
    """A capped sweep left rows, and the next tick is an hour away."""
    sim.edit(schedule=YEARLY)
    await sim.ready()
    await falling_behind(sim)
    await sim.reconcile()
    writes = sim.writes
    for _ in range(200):
        sim.wait(17)
        await sim.reconcile()
    assert sim.writes == writes


async def test_numbers_of_a_running_sweep_are_written_every_15_seconds(sim: ScheduleSimulation) -> None:
    sim.edit(schedule=YEARLY)
    await sim.ready()
    for _ in range(3):
        await hourly(sim, 120)
    claim = await begin(sim, 10_000, stale=10_000)
    await sim.reconcile()
    writes = sim.writes
    for _ in range(60):
        sim.wait(1)
        await sim.settle(Settlement(claim, applied=10, rest=claim.job))
        await sim.reconcile()
    assert sim.writes == writes + 4  # the first outcome at once, after one second, and then every 15
    assert sim.body["status"]["backlog"]["rows"] == 10_000 - 10 * 46


async def test_a_sweep_that_stands_still_is_written_ever_more_rarely(sim: ScheduleSimulation) -> None:
    sim.edit(schedule=YEARLY)
    await sim.ready()
    for _ in range(3):
        await hourly(sim, 120)
    await begin(sim, 10_000, stale=10_000)
    sim.wait(3600)
    await sim.reconcile()
    writes = [sim.writes]
    for _ in range(24):
        for _ in range(60):
            sim.wait(60)
            await sim.reconcile()
        writes.append(sim.writes)
    assert writes[3] - writes[0] < 120  # while it may still seem to keep up, emptyTime changes too
    assert writes[24] - writes[3] < 100


async def test_during_an_outage_the_numbers_and_the_condition_stay(sim: ScheduleSimulation) -> None:
    await sim.ready()
    await falling_behind(sim)
    before = dict(sim.body["status"]["backlog"])
    sim.outage = Outage("QueueTimeout", "did not answer in time")
    assert await sim.condition("KeepingUp") == ("False", "FallingBehind")
    assert sim.body["status"]["backlog"] == before


async def test_a_restarted_controller_writes_the_same(sim: ScheduleSimulation) -> None:
    await sim.ready()
    await falling_behind(sim)
    await sim.reconcile()
    observation = await sim.observation()
    assert build_status(observation) == observation.body["status"]


async def test_an_edit_of_the_plan_starts_the_rates_again(sim: ScheduleSimulation) -> None:
    await sim.ready()
    await falling_behind(sim)
    sim.edit(match=[{"column": "status", "in": ["open"]}])
    await sim.ready()
    await hourly(sim, 100)
    assert await sim.condition("KeepingUp") == ("Unknown", "NotEnoughSweeps")


async def test_a_large_sweep_is_running_once_its_first_rows_are_planned(sim: ScheduleSimulation) -> None:
    await sim.ready()
    sweep = (await sim.tick()).sweep
    assert (await sim.reconcile())["lastSweep"]["state"] == "Planning"
    job = Job(JobKind.RANGE, sim.plan.version, sweep, "cutoff", low=("0",), high=("9",), rows=10)
    step = Job(JobKind.PLAN, sim.plan.version, sweep, "cutoff", low=("9",), planned=10)
    assert await sim.queue.advance(sim.ref, await sim.claim(), Window("cutoff", (job,), step, planned=10))
    sim.wait(15)
    assert (await sim.reconcile())["lastSweep"]["state"] == "Running"
    condition = find_condition(sim.body["status"], "KeepingUp")
    assert condition is not None
    assert condition["status"] == "Unknown"


async def test_a_waiting_check_is_not_queued(sim: ScheduleSimulation) -> None:
    await sim.queue.enqueue_check(sim.ref, sim.plan.version)
    status = await sim.reconcile()
    assert status["queue"]["ready"] == 0
    assert "oldestReadyTime" not in status
    await sim.tick()
    sim.wait(15)
    status = await sim.reconcile()
    assert status["queue"]["ready"] == 1
    assert "oldestReadyTime" in status
