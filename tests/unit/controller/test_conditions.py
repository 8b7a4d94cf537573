"""Conditions, on a real queue in which real sweeps run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kubesweep.errors import Outage, SpecError
from kubesweep.queue.model import Settlement, SweepState
from kubesweep_controller.status.conditions.reasons import ConditionType, Reason
from tests.kits.controller import START, House, failed


async def test_a_new_schedule_is_not_ready_before_a_worker_looked_at_its_source(house: House) -> None:
    assert await house.see("Ready") == ("False", "Checking")
    assert await house.see("SourceReady") == ("Unknown", "Checking")
    await house.ready()
    assert await house.see("Ready") == ("True", "Ready")
    assert await house.see("SourceReady") == ("True", "Checked")


async def test_an_edit_that_changes_the_plan_is_checked_anew(house: House) -> None:
    await house.ready()
    await house.look()
    house.edit(source=house.body["spec"]["source"] | {"table": "chats"})
    assert await house.see("Ready") == ("False", "Checking")
    await house.ready()
    assert await house.see("Ready") == ("True", "Ready")


async def test_an_edit_that_leaves_the_plan_alone_stays_ready_for_the_new_generation(house: House) -> None:
    await house.ready()
    await house.look()
    house.edit(schedule="*/10 * * * *")
    status = await house.look()
    assert status["observedGeneration"] == 2
    assert {each["observedGeneration"] for each in status["conditions"]} == {2}
    assert await house.see("Ready") == ("True", "Ready")


async def test_what_a_worker_finds_wrong_is_said_in_its_words_and_heals(house: House) -> None:
    await house.ready()
    await house.find(False, "TableMissing", 'there is no table "conversations"')
    assert await house.see("SourceReady") == ("False", "TableMissing")
    assert await house.see("Ready") == ("False", "SourceNotReady")
    assert house.message("Ready") == 'TableMissing: there is no table "conversations"'
    await house.find(True, "Works", "work succeeded")
    assert await house.see("Ready") == ("True", "Ready")


async def test_a_complaint_that_a_later_sweep_refuted_is_over(house: House) -> None:
    await house.ready()
    await house.find(False, "PermissionDenied", "the role may not read")
    assert await house.see("Ready") == ("False", "SourceNotReady")
    house.wait(60)
    await house.sweep()
    assert await house.see("Ready") == ("True", "Ready")


async def test_warnings_of_the_check_stand_beside_what_is_well(house: House) -> None:
    await house.ready()
    await house.find(False, "no-index", "no-index: finding stale rows reads all", kind="SourceWarnings")
    assert await house.see("Ready") == ("True", "Ready")
    assert "no-index" in house.message("SourceReady")
    house.wait(60)
    await house.find(True, "Works", "work succeeded")
    await house.sweep()
    await house.look()
    assert house.message("SourceReady") == "fine. Worth knowing: no-index: finding stale rows reads all"


async def test_an_effect_that_cannot_be_used_is_not_ready(house: House) -> None:
    await house.ready()
    await house.find(False, "HandlerNotImportable", "cannot be imported", kind="Effect")
    assert await house.see("Ready") == ("False", "EffectNotReady")


@pytest.mark.parametrize(
    ("child", "reason"),
    [
        ({"name_taken": 'Deployment "close-idle-worker" belongs to somebody else'}, "NameTaken"),
        ({"rejected": 'CronJob "close-idle-tick": spec.schedule: Invalid value'}, "ChildRejected"),
        ({"stuck": "ImagePullBackOff: no such image"}, "WorkerStuck"),
    ],
)
async def test_a_child_that_is_not_there_is_not_ready_and_heals(
    house: House, child: dict[str, str], reason: str
) -> None:
    await house.ready()
    house.child(**child)
    assert await house.see("Ready") == ("False", reason)
    assert next(iter(child.values())) in house.message("Ready")
    house.child(**dict.fromkeys(child))
    assert await house.see("Ready") == ("True", "Ready")


async def test_a_queue_that_is_away_takes_back_nothing_that_was_learned(house: House) -> None:
    await house.ready()
    await house.bury("1", "2")
    before = await house.look()
    house.outage = Outage("QueueUnreachable", "queue redis://q:6379: cannot be reached")
    house.wait(5)
    after = await house.look()
    assert await house.see("Ready") == ("False", "QueueUnavailable")
    assert await house.see("SourceReady") == ("True", "Checked")
    assert await house.see("Degraded") == ("True", "DeadLetters")
    same = ("queue", "errors", "lastSweep", "ticks", "countedTime")
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    house.outage = None
    assert await house.see("Ready") == ("True", "Ready")


async def test_a_queue_that_blinks_is_not_told_of(house: House) -> None:
    """A server that is started anew is back within seconds: three hundred schedules need not say so twice."""
    await house.ready()
    await house.look()
    writes = house.writes
    house.outage, house.outage_seconds = Outage("QueueTimeout", "did not answer in time"), 9.9
    assert await house.see("Ready") == ("True", "Ready")
    assert house.writes == writes
    house.outage_seconds = 10
    assert await house.see("Ready") == ("False", "QueueUnavailable")
    house.outage_seconds = 1
    house.edit(schedule="*/10 * * * *")
    assert (await house.look())["observedGeneration"] == 2, "an edit is always answered"


async def test_a_queue_that_lost_everything_does_not_take_back_the_check(house: House) -> None:
    await house.ready()
    await house.look()
    await house.flush()
    assert await house.see("Ready") == ("True", "Ready")


async def test_a_refused_edit_stalls_and_leaves_what_was_known_of_the_spec_that_is_served(house: House) -> None:
    await house.ready()
    await house.look()
    house.edit(schedule="61 * * * *")
    house.refusal = SpecError("BadCron", 'spec.schedule: cron "61 * * * *": bad minute')
    status = await house.look()
    assert await house.see("Ready") == ("False", "InvalidSpec")
    assert await house.see("Stalled") == ("True", "InvalidSpec")
    assert await house.see("SourceReady") == ("True", "Checked")
    assert "still served" in house.message("Ready")
    assert [each["observedGeneration"] for each in status["conditions"] if each["type"] == "SourceReady"] == [1]
    house.refusal = None
    house.edit(schedule="6 * * * *")
    assert await house.see("Ready") == ("True", "Ready")
    assert await house.see("Stalled") == ("False", "AsExpected")


async def test_only_what_an_edit_alone_cures_is_stalled(house: House) -> None:
    await house.ready()
    await house.find(False, "TableMissing", "there is no table")
    assert await house.see("Stalled") == ("False", "AsExpected")
    await house.find(False, "SqlInvalid", "syntax error")
    assert await house.see("Stalled") == ("True", "SourceNotReady")


async def test_a_suspended_schedule_says_how_to_resume_it(house: House) -> None:
    house.edit(suspend=True)
    assert await house.see("Suspended") == ("True", "Suspended")
    assert await house.see("Ready") == ("False", "Suspended")
    assert '{"spec":{"suspend":false}}' in house.message("Suspended")
    house.edit(suspend=False)
    assert await house.see("Suspended") == ("False", "Active")


async def test_a_checked_schedule_stays_ready_while_it_is_suspended(house: House) -> None:
    await house.ready()
    await house.look()
    house.edit(suspend=True)
    assert await house.see("Ready") == ("True", "Ready")


async def test_a_cluster_without_keda_is_said_and_keda_is_picked_up(house: House) -> None:
    house.child(keda=False)
    assert await house.see("Autoscaling") == ("False", "KedaMissing")
    house.child(keda=True, scaler_problem="error establishing connection to redis")
    assert await house.see("Autoscaling") == ("False", "ScalerFailed")
    assert "kubectl describe scaledobject close-idle-worker -n support" in house.message("Autoscaling")
    house.child(scaler_problem=None)
    assert await house.see("Autoscaling") == ("True", "ScaledByKeda")
    assert house.message("Autoscaling").startswith("0 to 4 workers")


async def test_a_failed_sweep_degrades_until_one_completes_and_not_until_one_starts(house: House) -> None:
    await house.end(SweepState.FAILED, "TableMissing", "there is no table")
    assert await house.see("Degraded") == ("True", "LastSweepFailed")
    assert "TableMissing: there is no table" in house.message("Degraded")
    assert "kubesweep.dev/trigger=$(date +%s)" in house.message("Degraded")
    house.wait(300)
    claim = await house.start(2)
    assert await house.see("Degraded") == ("True", "LastSweepFailed")
    await house.settle(Settlement(claim, applied=2))
    assert await house.see("Degraded") == ("False", "AsExpected")


async def test_a_held_sweep_says_what_to_type_and_its_command_can_be_pasted(house: House) -> None:
    house.edit(limits={"approveAbove": {"rows": 50_000}})
    await house.end(SweepState.AWAITING_APPROVAL, "AboveApprovalLimit", "more than 50000 rows")
    assert await house.see("Degraded") == ("True", "AwaitingApproval")
    command = "kubectl annotate sweepschedule close-idle -n support --overwrite kubesweep.dev/approve=$(date +%s)"
    assert command in house.message("Degraded")
    assert "(50,000)" in house.message("Degraded")
    assert await house.queue.approve(house.ref)
    assert await house.see("Degraded") == ("False", "AsExpected")


async def test_dead_letters_degrade_until_none_is_left_and_none_is_tried_again(house: House) -> None:
    await house.bury("1", "2")
    assert await house.see("Degraded") == ("True", "DeadLetters")
    assert "2 rows are dead letters (2 CheckViolation)" in house.message("Degraded")
    assert "kubesweep.dev/retry-dead-letters=" in house.message("Degraded")
    await house.queue.replay(house.ref)
    assert await house.see("Degraded") == ("True", "DeadLetters")
    claim = await house.claim()
    await house.settle(Settlement(claim, applied=1, dead=failed("2", error="HTTP 422")))
    house.wait(15)
    assert await house.see("Degraded") == ("True", "DeadLetters")
    assert "1 row is a dead letter (1 HTTP 422)" in house.message("Degraded")
    await house.queue.purge(house.ref)
    assert await house.see("Degraded") == ("False", "AsExpected")


async def test_a_sweep_that_the_queue_lost_is_lost_until_one_completes(house: House) -> None:
    await house.start(3)
    running = await house.look()
    await house.flush()
    status = await house.look()
    assert status["lastSweep"]["id"] == running["lastSweep"]["id"]
    assert status["lastSweep"]["state"] == "Lost"
    assert await house.see("Degraded") == ("True", "Lost")
    house.wait(1)
    claim = await house.start(3)
    status = await house.look()
    assert [status["lastSweep"]["state"], status["history"][0]["state"]] == ["Running", "Lost"]
    assert await house.see("Degraded") == ("True", "Lost")
    await house.settle(Settlement(claim, applied=3))
    assert await house.see("Degraded") == ("False", "AsExpected")


async def test_several_things_that_are_wrong_are_all_said_the_most_pressing_first(house: House) -> None:
    await house.bury("1")
    house.wait(300)
    await house.end(SweepState.HALTED, "TooManyFailures", "1,001 rows failed")
    assert await house.see("Degraded") == ("True", "LastSweepFailed")
    assert re.search(r"was halted .*1 row is a dead letter", house.message("Degraded"))


async def test_a_transition_time_changes_with_the_status_and_with_nothing_else(house: House) -> None:
    def since() -> str:
        return next(str(each["lastTransitionTime"]) for each in house.body["status"]["conditions"])

    await house.look()
    first = since()
    house.wait(100)
    house.outage = Outage("QueueUnreachable", "cannot be reached")
    assert await house.see("Ready") == ("False", "QueueUnavailable")
    assert since() == first
    house.outage = None
    await house.ready()
    assert await house.see("Ready") == ("True", "Ready")
    assert (first, since()) == ("2027-01-15T08:00:00Z", "2027-01-15T08:01:40Z")
    assert house.clock.now == START + 100


def test_the_page_explains_every_reason() -> None:
    page = (Path(__file__).parents[3] / "docs" / "conditions.md").read_text()
    assert [reason for reason in Reason if f"`{reason}`" not in page] == []
    named = set(re.findall(r"^\| (\w+)=(?:True|False|Unknown) \| ", page, re.MULTILINE))
    assert named == set(ConditionType)
    known = set(re.findall(r"`([A-Z]\w+)`", page.partition("## Status")[0])) | set(
        re.findall(r"^\| `([A-Z]\w+)` \| (?:Normal|Warning)", page, re.MULTILINE)
    )
    assert known <= set(Reason)


async def test_an_outage_that_spares_some_jobs_does_not_flap_while_the_sweep_runs(house: House) -> None:
    await house.ready()
    await house.start(10)
    assert await house.see("SourceReady") == ("True", "Checked")
    await house.find(False, "LockNotAvailable", "table conversations: it is locked")
    assert await house.see("SourceReady") == ("False", "LockNotAvailable")
    assert "table conversations" in house.message("Ready")
    writes = house.writes
    for at in range(20):
        house.wait(2)
        await house.find(
            at % 2 == 0, "Works" if at % 2 == 0 else "LockNotAvailable", "table conversations: it is locked"
        )
        assert await house.see("SourceReady") == ("False", "LockNotAvailable")
    assert house.writes - writes <= 3
    await house.find(True, "Works", "work succeeded")
    house.wait(14)
    assert await house.see("SourceReady") == ("False", "LockNotAvailable")
    house.wait(1)
    assert await house.see("SourceReady") == ("True", "Checked")


async def test_an_effect_that_fails_and_works_in_turns_does_not_flap_while_the_sweep_runs(house: House) -> None:
    await house.ready()
    claim = await house.start(10)
    await house.find(False, "ReceiverUnavailable", "the receiver answers 503", kind="Effect")
    assert await house.see("Ready") == ("False", "EffectNotReady")
    house.wait(2)
    await house.find(True, "Works", "work succeeded", kind="Effect")
    assert await house.see("Ready") == ("False", "EffectNotReady")
    await house.settle(Settlement(claim, applied=10))
    assert await house.see("Ready") == ("True", "Ready")
