"""Ticks of ``every``, recovery of lost sweeps, and the time of the next reconcile."""

from __future__ import annotations

from typing import Any

import pytest

from kubesweep.errors import Outage, SpecError
from kubesweep.queue.model import OpenResult, Settlement, SweepState
from kubesweep_controller.reconcile.interval_ticks import due_tick, next_reconcile, tick_request
from kubesweep_controller.reconcile.recovery import needs_check, recovery_request
from kubesweep_controller.status.formatting import time_text
from tests.kits.controller import START, ScheduleSimulation, failed
from tests.unit.controller.test_missed_ticks import lost_tick


@pytest.fixture
async def clockwork(sim: ScheduleSimulation) -> ScheduleSimulation:
    """A schedule with ``every``, created 3 s after a multiple of its period."""
    sim.edit(schedule=None, every="10m")
    sim.wait(3)
    await sim.reconcile()
    return sim


async def tick(sim: ScheduleSimulation) -> OpenResult | None:
    """One reconcile: open the sweep that is due."""
    observation = await sim.observation()
    due = due_tick(observation)
    return None if due is None else (await sim.queue.open_sweep(sim.ref, tick_request(observation, due))).answer


async def finish(sim: ScheduleSimulation) -> None:
    claim = await sim.claim()
    assert await sim.queue.end_sweep(sim.ref, claim, SweepState.FAILED, "TableMissing", "no table")


async def test_ticks_come_at_multiples_of_the_period_and_not_before_the_first(clockwork: ScheduleSimulation) -> None:
    assert await tick(clockwork) is None
    clockwork.wait(596.9)
    assert await tick(clockwork) is None
    clockwork.wait(0.1)
    assert await tick(clockwork) is OpenResult.ENQUEUED
    (stats,) = await clockwork.queue.stats([clockwork.ref])
    assert stats.last_tick == START + 600
    assert await tick(clockwork) is None


async def test_two_controllers_that_both_think_they_lead_open_one_sweep(clockwork: ScheduleSimulation) -> None:
    clockwork.wait(600)
    ours, theirs = await clockwork.observation(), await clockwork.observation()
    answers = []
    for observation in (ours, theirs):
        due = due_tick(observation)
        assert due is not None
        answers.append((await clockwork.queue.open_sweep(clockwork.ref, tick_request(observation, due))).answer)
    assert answers == [OpenResult.ENQUEUED, OpenResult.DUPLICATE]


async def test_after_a_pause_of_the_controller_the_latest_missed_tick_runs_once(clockwork: ScheduleSimulation) -> None:
    clockwork.wait(600)
    await tick(clockwork)
    await finish(clockwork)
    clockwork.wait(6 * 600 + 5)
    assert await tick(clockwork) is OpenResult.ENQUEUED
    (stats,) = await clockwork.queue.stats([clockwork.ref])
    assert (stats.last_tick, stats.ticks.enqueued) == (START + 7 * 600, 2)
    assert await tick(clockwork) is None


async def test_a_tick_that_is_too_late_is_missed_and_reported(clockwork: ScheduleSimulation) -> None:
    clockwork.edit(startingDeadlineSeconds=60)
    await clockwork.reconcile()
    clockwork.wait(700)
    assert await tick(clockwork) is OpenResult.LATE
    status = await clockwork.reconcile()
    assert status["lastMissedTime"] == "2027-01-15T08:10:00Z"
    assert await clockwork.condition("Degraded") == ("True", "MissedSchedule")
    clockwork.wait(510)
    assert await tick(clockwork) is OpenResult.ENQUEUED
    assert await clockwork.condition("Degraded") == ("True", "MissedSchedule"), "a start is no success"


async def test_a_suspended_schedule_does_not_tick_and_waits_for_its_next_time_when_it_resumes(
    clockwork: ScheduleSimulation,
) -> None:
    clockwork.edit(suspend=True)
    assert "activeSchedule" not in await clockwork.reconcile()
    clockwork.wait(3 * 600)
    assert await tick(clockwork) is None
    clockwork.edit(suspend=False)
    assert await tick(clockwork) is None
    await clockwork.reconcile()
    clockwork.wait(596)
    assert await tick(clockwork) is None
    clockwork.wait(1)
    assert await tick(clockwork) is OpenResult.ENQUEUED
    (stats,) = await clockwork.queue.stats([clockwork.ref])
    assert stats.last_tick == START + 4 * 600


@pytest.mark.parametrize("edit", [{"every": "1m"}, {"every": None, "schedule": "30 7 * * *"}])
async def test_a_time_that_had_passed_when_the_schedule_was_edited_does_not_fire(
    clockwork: ScheduleSimulation, edit: dict[str, Any]
) -> None:
    clockwork.wait(600)
    await tick(clockwork)
    await finish(clockwork)
    await clockwork.reconcile()
    clockwork.wait(595)
    clockwork.edit(**edit)
    assert await tick(clockwork) is None
    status = await clockwork.reconcile()
    assert status["activeSchedule"]["since"] == time_text(START + 1198)
    assert await tick(clockwork) is None
    assert await lost_tick(clockwork) is None


async def test_an_edit_of_anything_else_leaves_the_moment_since_which_a_schedule_fires(
    clockwork: ScheduleSimulation,
) -> None:
    since = clockwork.body["status"]["activeSchedule"]
    clockwork.wait(700)
    clockwork.edit(every="600s", worker={"maxReplicas": 9}, timeZone="Europe/Berlin")
    assert (await clockwork.reconcile())["activeSchedule"] == since
    assert await tick(clockwork) is OpenResult.ENQUEUED


async def test_after_an_edit_no_tick_is_missed_although_the_cronjob_of_before_is_still_in_the_cache(
    sim: ScheduleSimulation,
) -> None:
    await sim.reconcile()
    sim.wait(4 * 3600 + 60)
    sim.edit(schedule="0 2,11 * * *")
    assert await lost_tick(sim) is None
    await sim.reconcile()
    sim.wait(60)
    assert await lost_tick(sim) is None
    sim.wait(23 * 3600)
    assert await lost_tick(sim) == "11:00"


async def test_a_refused_spec_leaves_what_fires(sim: ScheduleSimulation) -> None:
    before = (await sim.reconcile())["activeSchedule"]
    sim.refusal = SpecError("BadCron", "schedule: not a cron expression")
    sim.wait(60)
    assert (await sim.reconcile())["activeSchedule"] == before


async def test_a_queue_that_forgot_the_last_tick_does_not_make_it_tick_again(clockwork: ScheduleSimulation) -> None:
    clockwork.wait(600)
    await tick(clockwork)
    await finish(clockwork)
    await clockwork.reconcile()
    await clockwork.flush()
    assert await tick(clockwork) is None


async def test_a_refused_spec_does_not_tick(clockwork: ScheduleSimulation) -> None:
    clockwork.wait(600)
    clockwork.refusal = SpecError("UnknownField", "match[0]: no such field")
    assert await tick(clockwork) is None
    clockwork.refusal, clockwork.outage = None, Outage("QueueUnreachable", "cannot be reached")
    assert await tick(clockwork) is None, "nothing is due without the queue either"


async def test_a_cronjob_decides_the_ticks_of_cron(sim: ScheduleSimulation) -> None:
    sim.wait(3600)
    assert await tick(sim) is None


# missed


async def test_the_schedule_of_the_controllers_clock_is_counted_by_the_queue(clockwork: ScheduleSimulation) -> None:
    clockwork.wait(6000)
    assert await lost_tick(clockwork) is None


# recovery


async def test_a_lost_sweep_is_recovered_at_once_and_only_once(sim: ScheduleSimulation) -> None:
    await sim.start(3)
    await sim.reconcile()
    assert recovery_request(await sim.observation()) is None
    await sim.flush()
    ours = await sim.observation()
    sim.wait(1)
    theirs, answers = await sim.observation(), []
    for observation in (ours, theirs):
        request = recovery_request(observation)
        assert request is not None
        answers.append((await sim.queue.open_sweep(sim.ref, request)).answer)
        (stats,) = await sim.queue.stats([sim.ref])
        if stats.ready:
            await finish(sim)
    assert answers == [OpenResult.ENQUEUED, OpenResult.DUPLICATE]
    assert recovery_request(await sim.observation()) is None
    status = await sim.reconcile()
    assert [status["lastSweep"]["state"], status["history"][0]["state"]] == ["Failed", "Lost"]


async def test_a_controller_that_crashed_after_it_wrote_lost_recovers_the_sweep(sim: ScheduleSimulation) -> None:
    await sim.start(3)
    await sim.reconcile()
    await sim.flush()
    assert (await sim.reconcile())["lastSweep"]["state"] == "Lost"
    assert recovery_request(await sim.observation()) is not None


async def test_a_suspended_schedule_recovers_its_sweep_when_it_resumes(sim: ScheduleSimulation) -> None:
    await sim.start(3)
    await sim.reconcile()
    await sim.flush()
    sim.edit(suspend=True)
    await sim.reconcile()
    assert recovery_request(await sim.observation()) is None
    sim.edit(suspend=False)
    assert recovery_request(await sim.observation()) is not None


async def test_a_queue_that_is_down_has_lost_nothing(sim: ScheduleSimulation) -> None:
    await sim.start(3)
    await sim.reconcile()
    sim.outage = Outage("QueueUnreachable", "cannot be reached")
    assert recovery_request(await sim.observation()) is None
    assert (await sim.reconcile())["lastSweep"]["state"] == "Running"


async def test_a_failure_that_a_worker_reported_is_checked_again(sim: ScheduleSimulation) -> None:
    await sim.ready()
    assert not needs_check(await sim.observation())
    await sim.find(False, "TableMissing", "no table")
    assert needs_check(await sim.observation())
    sim.edit(source=sim.body["spec"]["source"] | {"table": "chats"})
    assert not needs_check(await sim.observation()), "the new plan has a check of its own"


# the next reconcile


async def test_reconciles_are_frequent_while_jobs_run_and_rare_otherwise(sim: ScheduleSimulation) -> None:
    await sim.ready()
    await sim.reconcile()
    sim.wait(40)
    assert next_reconcile(await sim.observation()) == 60
    await sim.start(1)
    assert next_reconcile(await sim.observation()) == 2


async def test_the_next_reconcile_is_at_a_due_tick(clockwork: ScheduleSimulation) -> None:
    await clockwork.ready()
    await clockwork.reconcile()
    clockwork.wait(590)
    assert next_reconcile(await clockwork.observation()) == pytest.approx(7)


async def test_the_next_reconcile_is_when_a_cron_tick_should_have_arrived_and_when_it_is_missed(
    sim: ScheduleSimulation,
) -> None:
    await sim.ready()
    await sim.reconcile()
    sim.wait(290)
    assert next_reconcile(await sim.observation()) == pytest.approx(11)
    sim.wait(300 + 119 - 290)
    assert next_reconcile(await sim.observation()) == pytest.approx(1)


async def test_reconciles_are_frequent_while_the_pod_of_a_cron_tick_starts(sim: ScheduleSimulation) -> None:
    await sim.ready()
    await sim.reconcile()
    sim.wait(301)
    assert next_reconcile(await sim.observation()) == 2
    sim.wait(19)
    assert next_reconcile(await sim.observation()) == 5, "after 20 s"
    sim.wait(1)
    await sim.sweep(tick=START + 300)
    await sim.reconcile()
    sim.wait(40)
    assert next_reconcile(await sim.observation()) == 59, "it has arrived; later it would count as missed"


async def test_a_tick_that_does_not_arrive_is_not_awaited_for_long(sim: ScheduleSimulation) -> None:
    sim.edit(schedule="0 * * * *", startingDeadlineSeconds=1800)
    await sim.ready()
    await sim.reconcile()
    sim.wait(3600 + 119)
    assert next_reconcile(await sim.observation()) == pytest.approx(119 / 4)
    sim.wait(1)
    assert next_reconcile(await sim.observation()) == 60
    sim.edit(suspend=True)
    sim.wait(3600 - 60)
    assert next_reconcile(await sim.observation()) == 60


async def test_numbers_whose_write_was_delayed_are_written_later(sim: ScheduleSimulation) -> None:
    """A status that was just written may lag behind until its numbers may be written again."""
    await sim.ready()
    await sim.dead_letter("1")
    await sim.reconcile()
    sim.wait(1)
    await sim.settle(Settlement(await sim.start(1), dead=failed("2")))
    await sim.reconcile()
    sim.wait(1)
    assert next_reconcile(await sim.observation()) == 2
