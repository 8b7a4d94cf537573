"""Which Events follow from what happens to a schedule, on a real queue that runs real sweeps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from kubesweep.errors import Outage, SpecError
from kubesweep.queue.model import THROTTLE, Finding, Pace, Settlement, SweepState, Throttle
from kubesweep_controller.reconcile.execute_commands import execute
from kubesweep_controller.status.build_status import build_status
from kubesweep_controller.status.commands import pending_commands
from kubesweep_controller.status.event_rules import EventRequest, events_of
from tests.kits.controller import ScheduleSimulation, failed


async def logged(sim: ScheduleSimulation) -> list[EventRequest]:
    """Reconcile once and write the status; the Events of that."""
    observation = await sim.observation()
    status = build_status(observation)
    events = events_of(observation, status)
    assert events_of(observation, status) == events
    await sim.reconcile()
    assert events_of(await sim.observation(), await sim.reconcile()) == [], "the same Events were posted again"
    return events


async def summaries(sim: ScheduleSimulation) -> list[tuple[str, str, bool]]:
    return [(str(each.reason), each.error, each.warning) for each in await logged(sim)]


@pytest.fixture
async def served(sim: ScheduleSimulation) -> ScheduleSimulation:
    await sim.ready()
    await sim.reconcile()
    return sim


async def test_becoming_ready_is_one_event(sim: ScheduleSimulation) -> None:
    assert await summaries(sim) == []
    await sim.ready()
    assert await summaries(sim) == [("Ready", "", False)]


async def _fail(sim: ScheduleSimulation) -> None:
    await sim.end(SweepState.FAILED, "TableMissing", "there is no table")


async def _hold(sim: ScheduleSimulation) -> None:
    await sim.end(SweepState.AWAITING_APPROVAL, "AboveApprovalLimit", "too many")


async def _lose(sim: ScheduleSimulation) -> None:
    await sim.start(1)
    await sim.reconcile()
    await sim.flush()


async def _complain(sim: ScheduleSimulation) -> None:
    await sim.find(False, "AuthenticationFailed", "password authentication failed")


async def _break_effect(sim: ScheduleSimulation) -> None:
    await sim.find(False, "HandlerNotImportable", "cannot be imported", kind="Effect")


async def _lose_queue(sim: ScheduleSimulation) -> None:
    sim.outage = Outage("QueueAuth", "refused")


async def _refuse(sim: ScheduleSimulation) -> None:
    sim.refusal = SpecError("BadCron", "bad minute")


async def _late(sim: ScheduleSimulation) -> None:
    await sim.tick(sim.clock.now - 60, deadline=10.0)


def _child(**fields: object) -> Callable[[ScheduleSimulation], Awaitable[None]]:
    async def change(sim: ScheduleSimulation) -> None:
        sim.child(**fields)

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
async def test_each_problem_is_one_event(
    served: ScheduleSimulation,
    what: Callable[[ScheduleSimulation], Awaitable[None]],
    events: list[tuple[str, str, bool]],
) -> None:
    sim = served
    await sim.sweep(1, sim.clock.now - 300)
    await sim.reconcile()
    sim.wait(30)
    await what(sim)
    assert await summaries(sim) == events


@pytest.mark.parametrize("reason", ["NaiveTimeZone", "EpochUnit"])
async def test_the_event_of_a_sweep_that_awaits_approval_has_its_reason(
    served: ScheduleSimulation, reason: str
) -> None:
    await served.end(SweepState.AWAITING_APPROVAL, reason, 'column "at" has no time zone: nothing was touched')
    (event,) = await logged(served)
    assert event.reason == "AwaitingApproval"
    assert f'({reason}: column "at" has no time zone: nothing was touched). To approve it: kubectl' in event.note
    assert "approveAbove" not in event.note


async def test_dead_letters_are_reported_by_error_class_with_count_and_command(
    served: ScheduleSimulation,
) -> None:
    claim = await served.start(3)
    dead = (*failed("1", "2"), *failed("3", error="HTTP 422"))
    await served.settle(Settlement(claim, dead=dead))
    _, often, rare = await logged(served)
    assert (often.error, often.count, rare.error, rare.count) == ("CheckViolation", 2, "HTTP 422", 1)
    assert often.note.startswith('CheckViolation: rows used up their attempts (such as ["')
    assert "kubectl annotate sweepschedule close-idle -n support --overwrite kubesweep.dev/retry" in often.note
    served.wait(20)
    await served.dead_letter("4", error="HTTP 422")
    _, again = await logged(served)
    assert (again.error, again.count) == ("HTTP 422", 2)


async def test_a_row_that_dies_again_after_a_replay_is_reported_again(served: ScheduleSimulation) -> None:
    await served.dead_letter("1")
    _, initial = await logged(served)
    served.wait(60)
    await served.queue.replay(served.ref)
    await served.settle(Settlement(await served.claim(), dead=failed("1")))
    (again,) = await logged(served)
    assert (again.reason, again.count) == ("DeadLetters", 1)
    assert again.occurrence != initial.occurrence


async def test_a_recovery_is_reported_when_a_sweep_completes(served: ScheduleSimulation) -> None:
    await _fail(served)
    await logged(served)
    served.wait(300)
    claim = await served.start(5)
    assert await summaries(served) == []
    await served.settle(Settlement(claim, applied=5))
    completed, event = await logged(served)
    assert (completed.reason, completed.warning) == ("Completed", False)
    assert (event.reason, event.warning) == ("Recovered", False)
    assert event.note.endswith("completed, 5 rows applied")


async def test_the_last_dead_letter_leaving_is_reported(served: ScheduleSimulation) -> None:
    await served.dead_letter("1")
    await logged(served)
    await served.queue.purge(served.ref)
    (event,) = await logged(served)
    assert (event.reason, event.note) == ("Recovered", "DeadLetters is over: none is left")


async def test_suspending_and_resuming_are_events(served: ScheduleSimulation) -> None:
    served.edit(suspend=True)
    assert await summaries(served) == [("Suspended", "", False)]
    served.edit(suspend=False)
    assert await summaries(served) == [("Resumed", "", False)]


async def test_installing_keda_is_an_event(sim: ScheduleSimulation) -> None:
    sim.child(keda=False)
    assert await summaries(sim) == [("KedaMissing", "", True)]
    sim.child(keda=True)
    assert await summaries(sim) == [("ScaledByKeda", "", False)]


async def test_silence_of_keda_is_one_event_and_so_is_its_report(served: ScheduleSimulation) -> None:
    served.child(scaled=False)
    assert await summaries(served) == []
    served.wait(61)
    assert await summaries(served) == [("ScalerSilent", "", True)]
    served.wait(61)
    assert await summaries(served) == []
    served.child(scaled=True)
    assert await summaries(served) == [("ScaledByKeda", "", False)]


async def test_another_error_code_is_another_event_and_another_wording_is_not(served: ScheduleSimulation) -> None:
    await _complain(served)
    assert len(await logged(served)) == 1
    served.wait(60)
    await served.find(False, "AuthenticationFailed", "password authentication failed again")
    assert await logged(served) == []
    await served.find(False, "DatabaseMissing", "there is no database")
    assert await summaries(served) == [("SourceNotReady", "DatabaseMissing", True)]


async def test_each_version_of_an_invalid_spec_is_an_event(served: ScheduleSimulation) -> None:
    served.edit(schedule="61 * * * *")
    await _refuse(served)
    assert await summaries(served) == [("InvalidSpec", "generation 2", True)]
    served.edit(schedule="62 * * * *")
    assert await summaries(served) == [("InvalidSpec", "generation 3", True)]


async def test_warnings_of_the_check_are_events(sim: ScheduleSimulation) -> None:
    await sim.ready()
    await sim.find(False, "no-index", "finding stale rows reads all", kind="SourceWarnings")
    assert await summaries(sim) == [("Ready", "", False), ("SourceWarning", "", True)]


async def test_sweeps_before_the_first_reconcile_are_not_all_reported(sim: ScheduleSimulation) -> None:
    for _ in range(3):
        await _fail(sim)
        sim.wait(300)
    assert await summaries(sim) == [("LastSweepFailed", "TableMissing", True)]


async def test_a_controller_that_crashed_before_it_wrote_the_status_repeats_the_same_events(
    served: ScheduleSimulation,
) -> None:
    await served.dead_letter("1")
    served.outage = Outage("QueueAuth", "refused")
    observation = await served.observation()
    initial = events_of(observation, build_status(observation))
    served.wait(3)
    observation = await served.observation()
    again = events_of(observation, build_status(observation))
    assert (
        [(each.reason, each.occurrence) for each in again] == [(each.reason, each.occurrence) for each in initial] != []
    )


async def test_commands_are_reported_first_and_refused_ones_are_warnings(served: ScheduleSimulation) -> None:
    served.annotate("trigger", "now")
    served.annotate("approve", "now")
    observation = await served.observation()
    results = [await execute(served.queue, observation, command) for command in pending_commands(observation)]
    observation = await served.observation()
    logged = events_of(observation, build_status(observation, results), results)
    assert [(str(each.reason), each.error, each.warning) for each in logged] == [
        ("CommandRefused", "approve", True),
        ("Triggered", "trigger", False),
    ]


async def test_a_pause_by_a_signal_and_its_end_are_events(served: ScheduleSimulation) -> None:
    await served.start(1)

    async def report(factor: float, reason: str = "ReplayLag") -> list[tuple[str, str, bool]]:
        served.wait(20)
        throttle = Throttle(factor, "4.1 s", "2.0 s")
        message = f"{factor:g} of the speed"
        finding = Finding(THROTTLE, factor == 1, reason, message, served.plan.version, throttle=throttle)
        await served.queue.report(served.ref, finding)
        return await summaries(served)

    assert await report(0.5) == []
    assert await report(0.0) == [("Throttled", "ReplayLag", True)]
    assert await report(0.0) == []
    assert await report(0.0, "LockWaits") == [("Throttled", "LockWaits", True)]
    assert await report(0.5, "LockWaits") == [("Recovered", "LockWaits", False)]
    assert await report(1.0) == []


@pytest.mark.parametrize(("throttle", "events"), [("pause", []), ("off", [("Recovered", "ReplayLag", False)])])
async def test_a_person_who_pauses_a_paused_sweep_does_not_end_the_pause(
    served: ScheduleSimulation, throttle: str, events: list[tuple[str, str, bool]]
) -> None:
    await served.start(1)
    message, paused = "paused: replay lag 4.1 s > 2.0 s", Throttle(0.0, "4.1 s", "2.0 s")
    finding = Finding(THROTTLE, False, "ReplayLag", message, served.plan.version, throttle=paused)
    await served.queue.report(served.ref, finding)
    assert await summaries(served) == [("Throttled", "ReplayLag", True)]
    served.annotate("throttle", throttle)
    await served.queue.set_pace(served.ref, Pace.of(None, throttle))
    assert await summaries(served) == events
