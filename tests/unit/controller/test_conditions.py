"""Conditions, on a real queue that runs real sweeps."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kubesweep.errors import Outage, SpecError
from kubesweep.queue.model import Settlement, SweepState
from kubesweep_controller.status.conditions.reasons import ConditionType, Reason
from tests.kits.controller import START, ScheduleSimulation, failed


async def test_a_new_schedule_is_not_ready_before_a_worker_checked_its_source(sim: ScheduleSimulation) -> None:
    assert await sim.condition("Ready") == ("False", "Checking")
    assert await sim.condition("SourceReady") == ("Unknown", "Checking")
    await sim.ready()
    assert await sim.condition("Ready") == ("True", "Ready")
    assert await sim.condition("SourceReady") == ("True", "Checked")


async def test_an_edit_that_changes_the_plan_is_checked_again(sim: ScheduleSimulation) -> None:
    await sim.ready()
    await sim.reconcile()
    sim.edit(source=sim.body["spec"]["source"] | {"table": "chats"})
    assert await sim.condition("Ready") == ("False", "Checking")
    await sim.ready()
    assert await sim.condition("Ready") == ("True", "Ready")


async def test_an_edit_that_leaves_the_plan_alone_stays_ready_for_the_new_generation(sim: ScheduleSimulation) -> None:
    await sim.ready()
    await sim.reconcile()
    sim.edit(schedule="*/10 * * * *")
    status = await sim.reconcile()
    assert status["observedGeneration"] == 2
    assert {each["observedGeneration"] for each in status["conditions"]} == {2}
    assert await sim.condition("Ready") == ("True", "Ready")


async def test_a_workers_finding_is_quoted_and_recovers(sim: ScheduleSimulation) -> None:
    await sim.ready()
    await sim.find(False, "TableMissing", 'there is no table "conversations"')
    assert await sim.condition("SourceReady") == ("False", "TableMissing")
    assert await sim.condition("Ready") == ("False", "SourceNotReady")
    assert sim.message("Ready") == 'TableMissing: there is no table "conversations"'
    await sim.find(True, "Works", "work succeeded")
    assert await sim.condition("Ready") == ("True", "Ready")


async def test_the_code_of_what_ready_reports_is_a_field(sim: ScheduleSimulation) -> None:
    await sim.ready()
    assert "readyCode" not in await sim.reconcile()
    await sim.find(False, "TableMissing", 'there is no table "conversations"')
    assert (await sim.reconcile())["readyCode"] == "TableMissing"
    await sim.find(True, "Works", "work succeeded")
    assert "readyCode" not in await sim.reconcile()


async def test_a_failure_is_over_after_a_later_sweep_completed(sim: ScheduleSimulation) -> None:
    await sim.ready()
    await sim.find(False, "PermissionDenied", "the role may not read")
    assert await sim.condition("Ready") == ("False", "SourceNotReady")
    sim.wait(60)
    await sim.sweep()
    assert await sim.condition("Ready") == ("True", "Ready")


async def test_warnings_of_the_check_are_part_of_the_message(sim: ScheduleSimulation) -> None:
    await sim.ready()
    await sim.find(False, "no-index", "no-index: finding stale rows reads all", kind="SourceWarnings")
    assert await sim.condition("Ready") == ("True", "Ready")
    assert "no-index" in sim.message("SourceReady")
    sim.wait(60)
    await sim.find(True, "Works", "work succeeded")
    await sim.sweep()
    await sim.reconcile()
    assert sim.message("SourceReady") == "fine. Warnings: no-index: finding stale rows reads all"


async def test_an_effect_that_cannot_be_used_is_not_ready(sim: ScheduleSimulation) -> None:
    await sim.ready()
    await sim.find(False, "HandlerNotImportable", "cannot be imported", kind="Effect")
    assert await sim.condition("Ready") == ("False", "EffectNotReady")


@pytest.mark.parametrize(
    ("child", "reason"),
    [
        ({"name_taken": 'Deployment "close-idle-worker" belongs to somebody else'}, "NameTaken"),
        ({"rejected": 'CronJob "close-idle-tick": spec.schedule: Invalid value'}, "ChildRejected"),
        ({"stuck": "ImagePullBackOff: no such image"}, "WorkerStuck"),
    ],
)
async def test_a_missing_child_is_not_ready_and_recovers(
    sim: ScheduleSimulation, child: dict[str, str], reason: str
) -> None:
    await sim.ready()
    sim.child(**child)
    assert await sim.condition("Ready") == ("False", reason)
    assert next(iter(child.values())) in sim.message("Ready")
    sim.child(**dict.fromkeys(child))
    assert await sim.condition("Ready") == ("True", "Ready")


async def test_an_outage_of_the_queue_invalidates_nothing_that_was_known(sim: ScheduleSimulation) -> None:
    await sim.ready()
    await sim.dead_letter("1", "2")
    before = await sim.reconcile()
    sim.outage = Outage("QueueUnreachable", "queue redis://q:6379: cannot be reached")
    sim.wait(5)
    after = await sim.reconcile()
    assert await sim.condition("Ready") == ("False", "QueueUnavailable")
    assert await sim.condition("SourceReady") == ("True", "Checked")
    assert await sim.condition("Degraded") == ("True", "DeadLetters")
    same = ("queue", "errors", "lastSweep", "ticks", "countedTime")
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    sim.outage = None
    assert await sim.condition("Ready") == ("True", "Ready")


async def test_a_queue_that_lost_everything_does_not_take_back_the_check(sim: ScheduleSimulation) -> None:
    await sim.ready()
    await sim.reconcile()
    await sim.flush()
    assert await sim.condition("Ready") == ("True", "Ready")


async def test_a_refused_edit_stalls_and_leaves_what_was_known_of_the_spec_that_is_served(
    sim: ScheduleSimulation,
) -> None:
    await sim.ready()
    await sim.reconcile()
    sim.edit(schedule="61 * * * *")
    sim.refusal = SpecError("BadCron", 'spec.schedule: cron "61 * * * *": bad minute')
    status = await sim.reconcile()
    assert await sim.condition("Ready") == ("False", "InvalidSpec")
    assert await sim.condition("Stalled") == ("True", "InvalidSpec")
    assert await sim.condition("SourceReady") == ("True", "Checked")
    assert "still served" in sim.message("Ready")
    assert [each["observedGeneration"] for each in status["conditions"] if each["type"] == "SourceReady"] == [1]
    sim.refusal = None
    sim.edit(schedule="6 * * * *")
    assert await sim.condition("Ready") == ("True", "Ready")
    assert await sim.condition("Stalled") == ("False", "AsExpected")


async def test_only_problems_that_need_an_edit_are_stalled(sim: ScheduleSimulation) -> None:
    await sim.ready()
    await sim.find(False, "TableMissing", "there is no table")
    assert await sim.condition("Stalled") == ("False", "AsExpected")
    await sim.find(False, "SqlInvalid", "syntax error")
    assert await sim.condition("Stalled") == ("True", "SourceNotReady")


async def test_a_suspended_schedule_has_the_command_that_resumes_it(sim: ScheduleSimulation) -> None:
    sim.edit(suspend=True)
    assert await sim.condition("Suspended") == ("True", "Suspended")
    assert await sim.condition("Ready") == ("False", "Suspended")
    assert '{"spec":{"suspend":false}}' in sim.message("Suspended")
    sim.edit(suspend=False)
    assert await sim.condition("Suspended") == ("False", "Active")


async def test_a_checked_schedule_stays_ready_while_it_is_suspended(sim: ScheduleSimulation) -> None:
    await sim.ready()
    await sim.reconcile()
    sim.edit(suspend=True)
    assert await sim.condition("Ready") == ("True", "Ready")


async def test_a_cluster_without_keda_is_reported_and_keda_is_detected(sim: ScheduleSimulation) -> None:
    sim.child(keda=False)
    assert await sim.condition("Autoscaling") == ("False", "KedaMissing")
    sim.child(keda=True, scaler_problem="error establishing connection to redis")
    assert await sim.condition("Autoscaling") == ("False", "ScalerFailed")
    assert "kubectl describe scaledobject close-idle-worker -n support" in sim.message("Autoscaling")
    sim.child(scaler_problem=None)
    assert await sim.condition("Autoscaling") == ("True", "ScaledByKeda")
    assert sim.message("Autoscaling").startswith("0 to 4 workers")


async def test_a_failed_sweep_degrades_until_one_completes_and_not_until_one_starts(sim: ScheduleSimulation) -> None:
    await sim.end(SweepState.FAILED, "TableMissing", "there is no table")
    assert await sim.condition("Degraded") == ("True", "LastSweepFailed")
    assert "TableMissing: there is no table" in sim.message("Degraded")
    assert "kubesweep.dev/trigger=$(date +%s)" in sim.message("Degraded")
    sim.wait(300)
    claim = await sim.start(2)
    assert await sim.condition("Degraded") == ("True", "LastSweepFailed")
    await sim.settle(Settlement(claim, applied=2))
    assert await sim.condition("Degraded") == ("False", "AsExpected")


async def test_a_sweep_awaiting_approval_has_a_command_to_paste(sim: ScheduleSimulation) -> None:
    await sim.end(SweepState.AWAITING_APPROVAL, "AboveApprovalLimit", "60,000 rows are stale: more than 50,000")
    assert await sim.condition("Degraded") == ("True", "AwaitingApproval")
    command = "kubectl annotate sweepschedule close-idle -n support --overwrite kubesweep.dev/approve=$(date +%s)"
    assert command in sim.message("Degraded")
    assert "(AboveApprovalLimit: 60,000 rows are stale: more than 50,000)" in sim.message("Degraded")
    assert await sim.queue.approve(sim.ref)
    assert await sim.condition("Degraded") == ("False", "AsExpected")


@pytest.mark.parametrize("reason", ["NaiveTimeZone", "EpochUnit"])
async def test_a_sweep_that_awaits_approval_for_its_times_says_so(sim: ScheduleSimulation, reason: str) -> None:
    await sim.end(SweepState.AWAITING_APPROVAL, reason, 'column "at" has no time zone: nothing was touched')
    assert await sim.condition("Degraded") == ("True", "AwaitingApproval")
    message = sim.message("Degraded")
    assert f'awaits approval ({reason}: column "at" has no time zone: nothing was touched). To approve it: ' in message
    assert "kubectl annotate sweepschedule close-idle -n support --overwrite kubesweep.dev/approve=" in message
    assert "approveAbove" not in message


async def test_dead_letters_degrade_until_none_is_left_and_none_is_tried_again(sim: ScheduleSimulation) -> None:
    await sim.dead_letter("1", "2")
    assert await sim.condition("Degraded") == ("True", "DeadLetters")
    assert "2 rows are dead letters (2 CheckViolation)" in sim.message("Degraded")
    assert "kubesweep.dev/retry-dead-letters=" in sim.message("Degraded")
    await sim.queue.replay(sim.ref)
    assert await sim.condition("Degraded") == ("True", "DeadLetters")
    claim = await sim.claim()
    await sim.settle(Settlement(claim, applied=1, dead=failed("2", error="HTTP 422")))
    sim.wait(15)
    assert await sim.condition("Degraded") == ("True", "DeadLetters")
    assert "1 row is a dead letter (1 HTTP 422)" in sim.message("Degraded")
    await sim.queue.purge(sim.ref)
    assert await sim.condition("Degraded") == ("False", "AsExpected")


async def test_a_sweep_that_the_queue_lost_is_lost_until_one_completes(sim: ScheduleSimulation) -> None:
    await sim.start(3)
    running = await sim.reconcile()
    await sim.flush()
    status = await sim.reconcile()
    assert status["lastSweep"]["id"] == running["lastSweep"]["id"]
    assert status["lastSweep"]["state"] == "Lost"
    assert await sim.condition("Degraded") == ("True", "Lost")
    sim.wait(1)
    claim = await sim.start(3)
    status = await sim.reconcile()
    assert [status["lastSweep"]["state"], status["history"][0]["state"]] == ["Running", "Lost"]
    assert await sim.condition("Degraded") == ("True", "Lost")
    await sim.settle(Settlement(claim, applied=3))
    assert await sim.condition("Degraded") == ("False", "AsExpected")


async def test_several_problems_are_all_listed_the_most_pressing_first(sim: ScheduleSimulation) -> None:
    await sim.dead_letter("1")
    sim.wait(300)
    await sim.end(SweepState.HALTED, "TooManyFailures", "1,001 rows failed")
    assert await sim.condition("Degraded") == ("True", "LastSweepFailed")
    assert re.search(r"was halted .*1 row is a dead letter", sim.message("Degraded"))


async def test_a_transition_time_changes_with_the_status_and_with_nothing_else(sim: ScheduleSimulation) -> None:
    def since() -> str:
        return next(str(each["lastTransitionTime"]) for each in sim.body["status"]["conditions"])

    await sim.reconcile()
    initial = since()
    sim.wait(100)
    sim.outage = Outage("QueueUnreachable", "cannot be reached")
    assert await sim.condition("Ready") == ("False", "QueueUnavailable")
    assert since() == initial
    sim.outage = None
    await sim.ready()
    assert await sim.condition("Ready") == ("True", "Ready")
    assert (initial, since()) == ("2027-01-15T08:00:00Z", "2027-01-15T08:01:40Z")
    assert sim.clock.now == START + 100


def test_the_page_explains_every_reason() -> None:
    page = (Path(__file__).parents[3] / "docs" / "conditions.md").read_text()
    assert [reason for reason in Reason if f"`{reason}`" not in page] == []
    named = set(re.findall(r"^\| (\w+)=(?:True|False|Unknown) \| ", page, re.MULTILINE))
    assert named == set(ConditionType)
    known = set(re.findall(r"`([A-Z]\w+)`", page.partition("## Status")[0])) | set(
        re.findall(r"^\| `([A-Z]\w+)` \| (?:Normal|Warning)", page, re.MULTILINE)
    )
    assert known <= set(Reason)
