"""Which Events are told of what happens to a schedule, on a real queue in which real sweeps run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from kubesweep.errors import Outage, SpecError
from kubesweep.queue.model import Settlement, SweepState
from kubesweep_controller.reconcile.commands import execute, pending_commands
from kubesweep_controller.status.build_status import build_status
from kubesweep_controller.status.event_rules import EventRequest, events_of
from tests.kits.controller import House, failed


async def told(house: House) -> list[EventRequest]:
    """Look once, write the status; what was to be told of it."""
    observation = await house.observation()
    status = build_status(observation)
    events = events_of(observation, status)
    assert events_of(observation, status) == events
    await house.look()
    assert events_of(await house.observation(), await house.look()) == [], "the same was told again"
    return events


async def words(house: House) -> list[tuple[str, str, bool]]:
    return [(str(each.reason), each.error, each.warning) for each in await told(house)]


@pytest.fixture
async def served(house: House) -> House:
    await house.ready()
    await house.look()
    return house


async def test_a_schedule_that_becomes_ready_says_so_once(house: House) -> None:
    assert await words(house) == []
    await house.ready()
    assert await words(house) == [("Ready", "", False)]


async def _fail(house: House) -> None:
    await house.end(SweepState.FAILED, "TableMissing", "there is no table")


async def _hold(house: House) -> None:
    await house.end(SweepState.AWAITING_APPROVAL, "AboveApprovalLimit", "too many")


async def _lose(house: House) -> None:
    await house.start(1)
    await house.look()
    await house.flush()


async def _complain(house: House) -> None:
    await house.find(False, "AuthenticationFailed", "password authentication failed")


async def _break_effect(house: House) -> None:
    await house.find(False, "HandlerNotImportable", "cannot be imported", kind="Effect")


async def _lose_queue(house: House) -> None:
    house.outage = Outage("QueueAuth", "refused")


async def _refuse(house: House) -> None:
    house.refusal = SpecError("BadCron", "bad minute")


async def _late(house: House) -> None:
    await house.tick(house.clock.now - 60, deadline=10.0)


def _child(**fields: object) -> Callable[[House], Awaitable[None]]:
    async def change(house: House) -> None:
        house.child(**fields)

    return change


@pytest.mark.parametrize(
    ("what", "events"),
    [
        (_fail, [("LastSweepFailed", "TableMissing", True)]),
        (_hold, [("AwaitingApproval", "", True)]),
        (_lose, [("Lost", "", True)]),
        (_late, [("MissedSchedule", "", True)]),
        (_complain, [("SourceNotReady", "AuthenticationFailed", True)]),
        (_break_effect, [("EffectNotReady", "HandlerNotImportable", True)]),
        (_lose_queue, [("QueueUnavailable", "QueueAuth", True)]),
        (_refuse, [("InvalidSpec", "generation 1", True)]),
        (_child(name_taken="belongs to somebody else"), [("NameTaken", "", True)]),
        (_child(rejected="the CronJob"), [("ChildRejected", "generation 1", True)]),
        (_child(stuck="ImagePullBackOff"), [("WorkerStuck", "", True)]),
        (_child(keda=False), [("KedaMissing", "", True)]),
        (_child(scaler_problem="no connection"), [("ScalerFailed", "", True)]),
    ],
    ids=lambda value: value.__name__.lstrip("_") if callable(value) else value[0][0],
)
async def test_what_goes_wrong_is_told_once(
    served: House, what: Callable[[House], Awaitable[None]], events: list[tuple[str, str, bool]]
) -> None:
    house = served
    await house.sweep(1, house.clock.now - 300)
    await house.look()
    house.wait(30)
    await what(house)
    assert await words(house) == events


async def test_dead_letters_are_told_by_error_class_with_their_number_and_what_to_type(served: House) -> None:
    claim = await served.start(3)
    dead = (*failed("1", "2"), *failed("3", error="HTTP 422"))
    await served.settle(Settlement(claim, dead=dead))
    often, rare = await told(served)
    assert (often.error, often.count, rare.error, rare.count) == ("CheckViolation", 2, "HTTP 422", 1)
    assert often.note.startswith('CheckViolation: rows used up their attempts (such as ["')
    assert "kubectl annotate sweepschedule close-idle -n support --overwrite kubesweep.dev/retry" in often.note
    served.wait(20)
    await served.bury("4", error="HTTP 422")
    (again,) = await told(served)
    assert (again.error, again.count) == ("HTTP 422", 2)


async def test_a_row_that_dies_again_after_a_replay_is_told_again(served: House) -> None:
    await served.bury("1")
    (first,) = await told(served)
    served.wait(60)
    await served.queue.replay(served.ref)
    await served.settle(Settlement(await served.claim(), dead=failed("1")))
    (again,) = await told(served)
    assert (again.reason, again.count) == ("DeadLetters", 1)
    assert again.occurrence != first.occurrence


async def test_a_recovery_is_told_when_a_sweep_completes(served: House) -> None:
    await _fail(served)
    await told(served)
    served.wait(300)
    claim = await served.start(5)
    assert await words(served) == []
    await served.settle(Settlement(claim, applied=5))
    (event,) = await told(served)
    assert (event.reason, event.warning) == ("Recovered", False)
    assert event.note.endswith("completed, 5 rows applied")


async def test_that_the_last_dead_letter_went_is_told_as_that(served: House) -> None:
    await served.bury("1")
    await told(served)
    await served.queue.purge(served.ref)
    (event,) = await told(served)
    assert (event.reason, event.note) == ("Recovered", "DeadLetters is over: none is left")


async def test_suspending_and_resuming_are_told(served: House) -> None:
    served.edit(suspend=True)
    assert await words(served) == [("Suspended", "", False)]
    served.edit(suspend=False)
    assert await words(served) == [("Resumed", "", False)]


async def test_keda_that_arrives_is_told(house: House) -> None:
    house.child(keda=False)
    assert await words(house) == [("KedaMissing", "", True)]
    house.child(keda=True)
    assert await words(house) == [("ScaledByKeda", "", False)]


async def test_keda_that_says_nothing_is_told_once_and_so_is_its_answer(served: House) -> None:
    served.child(scaled=False)
    assert await words(served) == []
    served.wait(61)
    assert await words(served) == [("ScalerSilent", "", True)]
    served.wait(61)
    assert await words(served) == []
    served.child(scaled=True)
    assert await words(served) == [("ScaledByKeda", "", False)]


async def test_a_complaint_in_other_words_is_another_one_and_the_same_is_not(served: House) -> None:
    await _complain(served)
    assert len(await told(served)) == 1
    served.wait(60)
    await served.find(False, "AuthenticationFailed", "password authentication failed again")
    assert await told(served) == []
    await served.find(False, "DatabaseMissing", "there is no database")
    assert await words(served) == [("SourceNotReady", "DatabaseMissing", True)]


async def test_each_version_of_a_spec_that_is_refused_is_told(served: House) -> None:
    served.edit(schedule="61 * * * *")
    await _refuse(served)
    assert await words(served) == [("InvalidSpec", "generation 2", True)]
    served.edit(schedule="62 * * * *")
    assert await words(served) == [("InvalidSpec", "generation 3", True)]


async def test_warnings_of_the_check_are_told(house: House) -> None:
    await house.ready()
    await house.find(False, "no-index", "finding stale rows reads all", kind="SourceWarnings")
    assert await words(house) == [("Ready", "", False), ("SourceWarning", "", True)]


async def test_what_happened_before_the_first_look_is_not_all_told(house: House) -> None:
    for _ in range(3):
        await _fail(house)
        house.wait(300)
    assert await words(house) == [("LastSweepFailed", "TableMissing", True)]


async def test_a_controller_that_died_before_it_wrote_the_status_tells_the_same_again(served: House) -> None:
    await served.bury("1")
    served.outage = Outage("QueueAuth", "refused")
    observation = await served.observation()
    first = events_of(observation, build_status(observation))
    served.wait(3)
    observation = await served.observation()
    again = events_of(observation, build_status(observation))
    assert (
        [(each.reason, each.occurrence) for each in again] == [(each.reason, each.occurrence) for each in first] != []
    )


async def test_orders_are_told_first_and_refused_ones_are_warnings(served: House) -> None:
    served.annotate("trigger", "now")
    served.annotate("approve", "now")
    observation = await served.observation()
    results = [await execute(served.queue, observation, command) for command in pending_commands(observation)]
    observation = await served.observation()
    told = events_of(observation, build_status(observation, [each.command for each in results]), results)
    assert [(str(each.reason), each.error, each.warning) for each in told] == [
        ("RequestRefused", "approve", True),
        ("Triggered", "trigger", False),
    ]
