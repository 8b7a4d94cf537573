"""Sweeps that the queue lost, and checks after a problem."""

from __future__ import annotations

from kubesweep.errors import Outage
from kubesweep.queue.model import OpenResult, SweepState
from kubesweep_controller.reconcile.recovery import needs_check, needs_recovery, recovery_request
from tests.kits.controller import House


async def test_a_lost_sweep_is_recovered_at_once_and_once(house: House) -> None:
    await house.start(3)
    await house.look()
    assert not needs_recovery(await house.facts())
    await house.flush()
    ours = await house.facts()
    house.wait(1)
    theirs, answers = await house.facts(), []
    for facts in (ours, theirs):
        request = recovery_request(facts)
        assert request is not None
        answers.append((await house.queue.open_sweep(house.ref, request)).answer)
        (stats,) = await house.queue.stats([house.ref])
        if stats.ready:
            claim = await house.claim()
            assert await house.queue.end_sweep(house.ref, claim, SweepState.FAILED, "TableMissing", "no table")
    assert answers == [OpenResult.ENQUEUED, OpenResult.DUPLICATE]
    assert not needs_recovery(await house.facts())
    status = await house.look()
    assert [status["lastSweep"]["state"], status["history"][0]["state"]] == ["Failed", "Lost"]


async def test_a_lost_sweep_is_recovered_even_if_the_controller_restarts_after_it_wrote_lost(house: House) -> None:
    await house.start(3)
    await house.look()
    await house.flush()
    assert (await house.look())["lastSweep"]["state"] == "Lost"
    assert needs_recovery(await house.facts())


async def test_a_suspended_schedule_is_recovered_when_it_resumes(house: House) -> None:
    await house.start(3)
    await house.look()
    await house.flush()
    house.edit(suspend=True)
    await house.look()
    assert not needs_recovery(await house.facts())
    house.edit(suspend=False)
    assert needs_recovery(await house.facts())


async def test_a_queue_that_does_not_answer_has_lost_nothing(house: House) -> None:
    await house.start(3)
    await house.look()
    house.outage = Outage("QueueUnreachable", "cannot be reached")
    assert not needs_recovery(await house.facts())
    assert (await house.look())["lastSweep"]["state"] == "Running"


async def test_a_problem_that_a_worker_reported_is_checked_again(house: House) -> None:
    await house.ready()
    assert not needs_check(await house.facts())
    await house.find(False, "TableMissing", "no table")
    assert needs_check(await house.facts())
    house.edit(source=house.body["spec"]["source"] | {"table": "chats"})
    assert not needs_check(await house.facts()), "the new plan has a check of its own"
