"""Annotations that act: obeyed once, echoed, and harmless where a crash makes them come twice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kubesweep.errors import Outage
from kubesweep.queue.model import Settlement, SweepState, Window
from kubesweep.queue.sqlite.queue import SqliteQueue
from kubesweep_controller.reconcile.commands import CommandResult, execute, pending_commands
from tests.kits.controller import House, failed


async def carry_out(house: House, *, echo: bool = True) -> list[CommandResult]:
    """One look of a controller; without ``echo`` it dies before it writes the status."""
    observation = await house.observation()
    results = [await execute(house.queue, observation, command) for command in pending_commands(observation)]
    if echo:
        await house.look(*(each.command for each in results))
    return results


async def said(house: House, *, echo: bool = True) -> list[tuple[str, str]]:
    return [(str(each.reason), each.sentence) for each in await carry_out(house, echo=echo)]


async def test_a_trigger_starts_one_sweep_however_often_it_is_seen(house: House) -> None:
    house.annotate("trigger", "1800000000")
    ((reason, sentence),) = await said(house)
    (stats,) = await house.queue.stats([house.ref])
    assert stats.sweep is not None
    assert (reason, sentence) == ("Triggered", f"sweep {stats.sweep.id} is started")
    assert house.body["status"]["handled"] == {"trigger": "1800000000"}
    assert await said(house) == []


async def test_a_controller_that_died_before_it_echoed_a_trigger_starts_no_second_sweep(house: House) -> None:
    house.annotate("trigger", "please")
    first = await said(house, echo=False)
    await house.queue.advance(house.ref, await house.claim(), Window("cutoff"))
    house.wait(3600)
    assert await said(house) == first
    (stats,) = await house.queue.stats([house.ref])
    assert (stats.ticks.enqueued, stats.history) == (1, ())


async def test_a_trigger_amid_a_sweep_is_refused_and_done_with(house: House) -> None:
    claim = await house.start(1)
    house.annotate("trigger", "a")
    assert [reason for reason, _ in await said(house)] == ["RequestRefused"]
    await house.settle(Settlement(claim, applied=1))
    assert await said(house) == []
    house.annotate("trigger", "b")
    assert [reason for reason, _ in await said(house)] == ["Triggered"]


async def test_a_trigger_of_a_suspended_schedule_is_refused(house: House) -> None:
    house.edit(suspend=True)
    house.annotate("trigger", "a")
    assert await said(house) == [("RequestRefused", "not triggered: the schedule is suspended")]


async def test_a_trigger_waits_until_the_spec_is_valid_and_the_others_do_not(house: House) -> None:
    await house.bury("1")
    observation = await house.observation()
    house.annotate("trigger", "a")
    house.annotate("purge-dead-letters", "a")
    observation = await house.observation()
    assert [command.kind for command in pending_commands(observation)] == ["purge-dead-letters", "trigger"]
    assert [command.kind for command in pending_commands(replace(observation, plan=None))] == ["purge-dead-letters"]


async def test_an_approval_lets_the_held_sweep_go(house: House) -> None:
    await house.end(SweepState.AWAITING_APPROVAL, "AboveApprovalLimit", "too many")
    status = await house.look()
    house.annotate("approve", "1")
    sentence = f"sweep {status['lastSweep']['id']} goes on, with the cutoff that it had"
    assert await said(house) == [("Approved", sentence)]
    assert house.body["status"]["lastSweep"]["state"] == "Planning"


async def test_an_approval_that_comes_twice_does_not_approve_what_nobody_saw(house: House) -> None:
    """The controller died after it obeyed; meanwhile the approved sweep ended, and the next one is held."""
    await house.end(SweepState.AWAITING_APPROVAL, "AboveApprovalLimit", "too many")
    await house.look()
    house.annotate("approve", "1")
    assert [reason for reason, _ in await said(house, echo=False)] == ["Approved"]
    await house.queue.advance(house.ref, await house.claim(), Window("cutoff"))
    house.wait(300)
    await house.end(SweepState.AWAITING_APPROVAL, "AboveApprovalLimit", "too many again")
    assert [reason for reason, _ in await said(house)] == ["RequestRefused"]
    (stats,) = await house.queue.stats([house.ref])
    assert stats.sweep is not None
    assert stats.sweep.state == "AwaitingApproval"


async def test_an_approval_of_nothing_is_said(house: House) -> None:
    house.annotate("approve", "1")
    assert await said(house) == [("RequestRefused", "nothing to approve: no sweep is Held")]


async def test_a_retry_tries_all_dead_letters_again_and_twice_is_once(house: House) -> None:
    await house.bury("1", "2")
    house.annotate("retry-dead-letters", "1")
    assert await said(house, echo=False) == [("DeadLettersRetried", "2 rows are tried again")]
    assert await said(house) == [("DeadLettersRetried", "0 rows are tried again")]
    claim = await house.claim()
    await house.settle(Settlement(claim, applied=1, dead=failed("2")))
    assert await said(house) == []
    house.annotate("retry-dead-letters", "2")
    assert await said(house) == [("DeadLettersRetried", "1 row is tried again")]


async def test_a_purge_forgets_all_dead_letters(house: House) -> None:
    await house.bury("1", "2")
    house.annotate("purge-dead-letters", "1")
    assert await said(house) == [
        ("DeadLettersPurged", "2 rows are forgotten; a later sweep finds those that are still stale")
    ]
    assert (await house.queue.excluded(house.ref))[1] == frozenset()
    assert house.body["status"]["handled"] == {"purgeDeadLetters": "1"}


async def test_an_order_stays_pending_while_the_queue_is_away(house: House) -> None:
    house.annotate("retry-dead-letters", "1")
    observation = await house.observation()
    (command,) = pending_commands(observation)
    closed = SqliteQueue("closed.db")
    await closed.close()
    with pytest.raises(Outage):
        await execute(closed, observation, command)
    assert pending_commands(await house.observation()) == (command,)


async def test_an_annotation_that_was_removed_and_came_back_is_no_new_order(house: House) -> None:
    house.annotate("trigger", "1")
    await said(house)
    del house.body["metadata"]["annotations"]["kubesweep.dev/trigger"]
    await house.look()
    house.annotate("trigger", "1")
    assert await said(house) == []
