"""When a cron tick counts as missed."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from kubesweep.queue.model import Settlement
from kubesweep_controller.status.missed_ticks import missed, previous_tick
from tests.kits.controller import START, ScheduleSimulation


async def lost_tick(sim: ScheduleSimulation) -> str | None:
    at = missed(await sim.observation())
    return None if at is None else datetime.fromtimestamp(at, ZoneInfo("UTC")).strftime("%H:%M")


async def test_a_tick_is_missed_when_it_had_time_to_arrive_and_did_not(sim: ScheduleSimulation) -> None:
    sim.wait(300 + 119)
    assert await lost_tick(sim) is None
    sim.wait(1)
    assert await lost_tick(sim) == "08:05"
    assert await sim.condition("Degraded") == ("True", "MissedSchedule")
    assert "kubectl describe cronjob close-idle-tick -n support" in sim.message("Degraded")


async def test_a_miss_is_over_when_a_sweep_completed_and_not_when_it_began(sim: ScheduleSimulation) -> None:
    await sim.sweep(1, START)
    sim.wait(420)
    assert await sim.condition("Degraded") == ("True", "MissedSchedule")
    claim = await sim.start(1, START + 300)
    assert await lost_tick(sim) is None
    assert await sim.condition("Degraded") == ("True", "MissedSchedule")
    await sim.settle(Settlement(claim, applied=1))
    assert await sim.condition("Degraded") == ("False", "AsExpected")


async def test_the_deadline_of_the_spec_is_the_time_that_a_tick_has(sim: ScheduleSimulation) -> None:
    sim.edit(startingDeadlineSeconds=600)
    sim.wait(300 + 599)
    assert await lost_tick(sim) is None
    sim.wait(1)
    assert await lost_tick(sim) == "08:05"


async def test_a_new_or_changed_cronjob_has_missed_nothing_before_it_was_there(sim: ScheduleSimulation) -> None:
    sim.child(cron_since=START + 301)
    sim.wait(420)
    assert await lost_tick(sim) is None
    sim.wait(300)
    assert await lost_tick(sim) == "08:10"


async def test_a_suspended_schedule_misses_nothing_nor_does_it_when_it_resumes(sim: ScheduleSimulation) -> None:
    sim.edit(suspend=True)
    sim.wait(3000)
    assert await lost_tick(sim) is None
    await sim.reconcile()
    sim.edit(suspend=False)
    assert await lost_tick(sim) is None


async def test_a_queue_that_forgot_its_ticks_does_not_make_them_missed(sim: ScheduleSimulation) -> None:
    await sim.sweep(1, START)
    await sim.reconcile()
    await sim.flush()
    sim.child(cron_since=START - 3600)
    sim.wait(200)
    assert await lost_tick(sim) is None


async def test_where_the_cluster_reads_the_expression_otherwise_no_alarm_is_raised(sim: ScheduleSimulation) -> None:
    sim.wait(420)
    sim.child(cron_last=START + 240)  # 08:04 is no tick of */5
    assert await lost_tick(sim) is None
    sim.child(cron_last=START + 300)
    assert await lost_tick(sim) == "08:05"


async def test_a_tick_is_counted_in_the_zone_of_the_spec(sim: ScheduleSimulation) -> None:
    sim.edit(schedule="10 5 * * *", timeZone="America/Sao_Paulo")
    await sim.reconcile()
    sim.wait(600 + 119)
    assert await lost_tick(sim) is None
    sim.wait(1)
    assert await lost_tick(sim) == "08:10"


async def test_the_tick_before_the_latest_counts_from_the_moment_when_the_schedule_is_active(
    sim: ScheduleSimulation,
) -> None:
    await sim.reconcile()
    sim.wait(300)
    assert previous_tick(await sim.observation()) is None
    sim.wait(300)
    assert previous_tick(await sim.observation()) == START + 300
    sim.wait(299)
    assert previous_tick(await sim.observation()) == START + 300
    sim.edit(suspend=True)
    assert previous_tick(await sim.observation()) is None
