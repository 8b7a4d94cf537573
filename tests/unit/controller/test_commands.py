"""Commands by annotations: executed once, written to ``status.handled``, and harmless if a crash executes them twice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kubesweep.errors import Outage
from kubesweep.queue.model import Settlement, SweepState, Window
from kubesweep.queue.sqlite.queue import SqliteQueue
from kubesweep_controller.reconcile.execute_commands import execute
from kubesweep_controller.status.commands import CommandResult, pending_commands
from tests.kits.controller import ScheduleSimulation, failed


async def carry_out(sim: ScheduleSimulation, *, echo: bool = True) -> list[CommandResult]:
    """One reconcile; without ``echo`` the controller crashes before it writes the status."""
    observation = await sim.observation()
    results = [await execute(sim.queue, observation, command) for command in pending_commands(observation)]
    if echo:
        await sim.reconcile(*results)
    return results


async def text(sim: ScheduleSimulation, *, echo: bool = True) -> list[tuple[str, str]]:
    return [(str(each.reason), each.message) for each in await carry_out(sim, echo=echo)]


async def test_a_trigger_starts_one_sweep_however_often_it_is_seen(sim: ScheduleSimulation) -> None:
    sim.annotate("trigger", "1800000000")
    ((reason, sentence),) = await text(sim)
    (stats,) = await sim.queue.stats([sim.ref])
    assert stats.sweep is not None
    assert (reason, sentence) == ("Triggered", f"sweep {stats.sweep.id} has started")
    assert sim.body["status"]["handled"] == {"trigger": "1800000000"}
    assert await text(sim) == []


async def test_a_controller_that_died_before_it_echoed_a_trigger_starts_no_second_sweep(
    sim: ScheduleSimulation,
) -> None:
    sim.annotate("trigger", "please")
    initial = await text(sim, echo=False)
    await sim.queue.advance(sim.ref, await sim.claim(), Window("cutoff"))
    sim.wait(3600)
    assert await text(sim) == initial
    (stats,) = await sim.queue.stats([sim.ref])
    assert (stats.ticks.enqueued, stats.history) == (1, ())


async def test_a_trigger_during_a_sweep_is_refused_and_handled(sim: ScheduleSimulation) -> None:
    claim = await sim.start(1)
    sim.annotate("trigger", "a")
    assert [reason for reason, _ in await text(sim)] == ["CommandRefused"]
    await sim.settle(Settlement(claim, applied=1))
    assert await text(sim) == []
    sim.annotate("trigger", "b")
    assert [reason for reason, _ in await text(sim)] == ["Triggered"]


async def test_a_trigger_of_a_suspended_schedule_is_refused(sim: ScheduleSimulation) -> None:
    sim.edit(suspend=True)
    sim.annotate("trigger", "a")
    assert await text(sim) == [("CommandRefused", "not triggered: the schedule is suspended")]


async def test_a_trigger_waits_until_the_spec_is_valid_and_the_others_do_not(sim: ScheduleSimulation) -> None:
    await sim.dead_letter("1")
    observation = await sim.observation()
    sim.annotate("trigger", "a")
    sim.annotate("purge-dead-letters", "a")
    observation = await sim.observation()
    assert [command.kind for command in pending_commands(observation)] == ["purge-dead-letters", "trigger"]
    assert [command.kind for command in pending_commands(replace(observation, plan=None))] == ["purge-dead-letters"]


async def test_an_approval_continues_the_sweep(sim: ScheduleSimulation) -> None:
    await sim.end(SweepState.AWAITING_APPROVAL, "AboveApprovalLimit", "too many")
    status = await sim.reconcile()
    sim.annotate("approve", "1")
    sentence = f"sweep {status['lastSweep']['id']} continues with its original cutoff"
    assert await text(sim) == [("Approved", sentence)]
    assert sim.body["status"]["lastSweep"]["state"] == "Planning"


async def test_an_approval_executed_twice_does_not_approve_an_unseen_sweep(sim: ScheduleSimulation) -> None:
    """The controller crashed after it executed the approval. Meanwhile that sweep ended, and the next one awaits approval."""
    await sim.end(SweepState.AWAITING_APPROVAL, "AboveApprovalLimit", "too many")
    await sim.reconcile()
    sim.annotate("approve", "1")
    assert [reason for reason, _ in await text(sim, echo=False)] == ["Approved"]
    await sim.queue.advance(sim.ref, await sim.claim(), Window("cutoff"))
    sim.wait(300)
    await sim.end(SweepState.AWAITING_APPROVAL, "AboveApprovalLimit", "too many again")
    assert [reason for reason, _ in await text(sim)] == ["CommandRefused"]
    (stats,) = await sim.queue.stats([sim.ref])
    assert stats.sweep is not None
    assert stats.sweep.state == "AwaitingApproval"


async def test_an_approval_of_nothing_is_reported(sim: ScheduleSimulation) -> None:
    sim.annotate("approve", "1")
    assert await text(sim) == [("CommandRefused", "nothing to approve: no sweep is AwaitingApproval")]


async def test_a_retry_tries_all_dead_letters_again_and_twice_is_once(sim: ScheduleSimulation) -> None:
    await sim.dead_letter("1", "2")
    sim.annotate("retry-dead-letters", "1")
    assert await text(sim, echo=False) == [("DeadLettersRetried", "2 rows are being retried")]
    retried = "no dead letter is left to retry; 2 rows are being retried already"
    assert await text(sim) == [("DeadLettersRetried", retried)]
    claim = await sim.claim()
    await sim.settle(Settlement(claim, applied=1, dead=failed("2")))
    assert await text(sim) == []
    sim.annotate("retry-dead-letters", "2")
    assert await text(sim) == [("DeadLettersRetried", "1 row is being retried")]


async def test_a_purge_forgets_all_dead_letters(sim: ScheduleSimulation) -> None:
    await sim.dead_letter("1", "2")
    sim.annotate("purge-dead-letters", "1")
    assert await text(sim) == [
        ("DeadLettersPurged", "2 rows are forgotten; a later sweep finds those that are still stale")
    ]
    assert (await sim.queue.excluded(sim.ref))[1] == frozenset()
    assert sim.body["status"]["handled"] == {"purgeDeadLetters": "1"}


async def test_a_command_stays_pending_while_the_queue_is_down(sim: ScheduleSimulation) -> None:
    sim.annotate("retry-dead-letters", "1")
    observation = await sim.observation()
    (command,) = pending_commands(observation)
    closed = SqliteQueue("closed.db")
    await closed.close()
    with pytest.raises(Outage):
        await execute(closed, observation, command)
    assert pending_commands(await sim.observation()) == (command,)


async def test_an_annotation_that_was_removed_and_restored_is_no_new_command(sim: ScheduleSimulation) -> None:
    sim.annotate("trigger", "1")
    await text(sim)
    del sim.body["metadata"]["annotations"]["kubesweep.dev/trigger"]
    await sim.reconcile()
    sim.annotate("trigger", "1")
    assert await text(sim) == []


async def test_a_throttle_reports_the_rate_once_for_each_value_and_refuses_what_is_none(
    sim: ScheduleSimulation,
) -> None:
    sim.annotate("throttle", "250")
    assert await text(sim) == [
        ("Throttled", "the rate is 250 rows per second, until the annotation changes or is removed")
    ]
    assert await text(sim) == []
    sim.annotate("throttle", "pause")
    assert await text(sim) == [
        ("Throttled", "the rate is 0: no row is started, until the annotation changes or is removed")
    ]
    sim.annotate("throttle", "slow")
    ((reason, sentence),) = await text(sim)
    assert reason == "CommandRefused"
    assert sentence.startswith("the rate is unchanged: the throttle is 'slow': write rows per second")
    assert (await sim.observation()).pace == sim.plan.pace
