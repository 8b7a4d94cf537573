"""What ``kubectl sweep why`` answers: one test for each cause, and for the order between causes that hold at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from kubectl_sweep.diagnosis.causes import CALM, PAGES, Cause, Diagnosis
from kubectl_sweep.diagnosis.diagnose import diagnose
from kubectl_sweep.diagnosis.facts import Facts
from kubesweep_console.documents import Schedule
from tests.unit.kubectl.objects import NAME, NOW, Object, ago, condition, deployment, pod, schedule, sweep, warning

ROOT = Path(__file__).parents[3]
OPEN = sweep(state="Running", completionTime=None, applied=40)
JOBS_WAIT: Object = {"queue": {"ready": 3, "running": 0, "delayed": 0, "dead": 0}, "oldestReadyTime": ago(300)}
YIELDS = {"reason": "ActiveSessions", "percent": 10, "value": "3", "since": ago(60), "message": "slowed to 10%: 3 other sessions use the database"}  # fmt: skip
AWAITS = sweep(
    state="AwaitingApproval", reason="AboveApprovalLimit", message="more rows are stale than limits.approveAbove.rows (10)",
    completionTime=None, applied=0, proposal={"rows": 41200, "sampleKeys": ["42"]},
)  # fmt: skip


def not_ready(reason: str, message: str = "the reason") -> Object:
    return condition("Ready", "False", reason, message)


def degraded(reason: str, message: str = "the reason") -> Object:
    return condition("Degraded", "True", reason, message)


def command(verb: str, *words: str) -> str:
    return " ".join(("kubectl sweep", verb, NAME, *words, "-n shop"))


def why(found: Object, **around: Any) -> Diagnosis:
    return diagnose(Facts(Schedule(found), NOW, command, **around))


HEALTHY: Object = {"deployment": deployment(1, 1), "pods": (pod(),)}
REFUSED = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: small"}
TICK_FAILED = {
    "metadata": {"name": f"{NAME}-tick-1", "creationTimestamp": ago(60)},
    "status": {
        "conditions": [{"type": "Failed", "status": "True", "message": "Job has reached the specified backoff limit"}]
    },
}
UNSCHEDULABLE = [
    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes: insufficient memory"}
]

# cause, the schedule, what is around it, words of the sentence, words of the command
CASES: list[tuple[Cause, Object, Object, str, str]] = [
    (Cause.DELETED, schedule(meta={"deletionTimestamp": ago(60)}), {}, "is being deleted since 2026-03-01 11:59:00 UTC", "-o yaml"),
    (Cause.UNOBSERVED, schedule(observedGeneration=-1, conditions=None, servedBy=None), {}, "No controller has seen shop/close-idle", "kubectl get deployments -A"),
    (Cause.UNOBSERVED, schedule(observedGeneration=1), {}, "has seen the latest edit", "kubectl get deployment ks-kubesweep -n kubesweep"),
    (Cause.INVALID_SPEC, schedule(not_ready("InvalidSpec", "spec.match: unknown field")), {}, "is invalid: spec.match: unknown field.", "kubectl edit sweepschedule close-idle -n shop"),
    (Cause.SUSPENDED, schedule(spec={"suspend": True}), {}, "is suspended since", "kubectl sweep resume close-idle -n shop"),
    (Cause.CRD_OUTDATED, schedule(), {"pruned": ("spec.limits.approveAbove.share", "status.answers")}, "drops fields of the spec: spec.limits.approveAbove.share.", "crd.yaml"),
    (Cause.AWAITING_APPROVAL, schedule(degraded("AwaitingApproval"), lastSweep=AWAITS), {}, "awaits approval (AboveApprovalLimit): 41,200 rows would be swept", "kubectl sweep approve close-idle -n shop"),
    (Cause.CHILDREN_REFUSED, schedule(not_ready("ChildRejected", "the API server refuses the CronJob")), {}, "refuses the CronJob", "kubectl edit"),
    (Cause.CHILDREN_REFUSED, schedule(not_ready("NameTaken")), {}, "cannot be created or updated", "kubectl get deployments,cronjobs,scaledobjects -n shop"),
    (Cause.CHILDREN_REFUSED, schedule(not_ready("ReconcileFailed")), {}, "cannot be created or updated", "ks-kubesweep -n kubesweep"),
    (Cause.QUEUE_UNAVAILABLE, schedule(not_ready("QueueUnavailable", "QueueAuth: refused")), {}, "QueueAuth: refused.", "kubectl get pods -n kubesweep"),
    (Cause.WRONG_PASSWORD, schedule(not_ready("SourceNotReady"), condition("SourceReady", "False", "AuthenticationFailed", "the database refuses the role")), {}, "(Secret support-db) do not work (AuthenticationFailed): the database refuses the role.", "kubectl edit secret support-db -n shop"),
    (Cause.SOURCE_NOT_READY, schedule(not_ready("SourceNotReady"), condition("SourceReady", "False", "TableMissing", 'there is no table "conversation"')), {}, "(TableMissing)", "kubectl sweep check close-idle -n shop"),
    (Cause.SOURCE_NOT_READY, schedule(not_ready("SourceNotReady"), condition("SourceReady", "False", "SqlInvalid")), {}, "(SqlInvalid)", "kubectl edit sweepschedule"),
    (Cause.EFFECT_NOT_READY, schedule(not_ready("EffectNotReady", "Unreachable: refused"), spec={"effect": {"webhook": {"url": "https://a.example"}}}), {}, "The receiver of shop/close-idle does not work: Unreachable: refused.", "check close-idle --probe"),
    (Cause.EFFECT_NOT_READY, schedule(not_ready("EffectNotReady"), spec={"effect": {"handler": "a:b"}}), {}, "The handler of", "kubectl sweep check close-idle -n shop"),
    (Cause.IMAGE_NOT_PULLED, schedule(not_ready("WorkerStuck")), {"deployment": deployment(), "pods": (pod(waiting={"reason": "ImagePullBackOff", "message": "not found"}),)}, "The image registry.example/app:1 of the worker's pod", "kubectl edit"),
    (Cause.SECRET_MISSING, schedule(not_ready("WorkerStuck")), {"deployment": deployment(), "pods": (pod(waiting={"reason": "CreateContainerConfigError", "message": 'secret "hook" not found'}),)}, 'cannot start: secret "hook" not found.', "kubectl get secrets"),
    (Cause.CRASH_LOOP, schedule(), {"deployment": deployment(), "pods": (pod(waiting={"reason": "CrashLoopBackOff"}, ended={"exitCode": 137, "reason": "OOMKilled"}),)}, "has crashed 7 times (exit code 137, OOMKilled)", "kubectl sweep logs close-idle --previous -n shop"),
    (Cause.UNSCHEDULABLE, schedule(not_ready("WorkerStuck")), {"deployment": deployment(), "pods": (pod(waiting={"reason": "ContainerCreating"}, conditions=UNSCHEDULABLE),)}, "insufficient memory", "kubectl describe pod"),
    (Cause.PODS_REFUSED, schedule(not_ready("WorkerStuck")), {"deployment": deployment(1, 0, REFUSED)}, "exceeded quota: small", "kubectl describe quota"),
    (Cause.NO_WORKER, schedule(not_ready("WorkerStuck", "no worker starts: pod x")), {"unread": ("pods",)}, "no worker starts: pod x", "kubectl describe pods"),
    (Cause.SCALER_NOT_READY, schedule(not_ready("WorkerStuck"), condition("Autoscaling", "Unknown", "ScalerSilent", "KEDA has not reported")), {}, "KEDA has not reported.", "kubectl describe scaledobject close-idle-worker"),
    (Cause.SCALER_NOT_READY, schedule(condition("Autoscaling", "False", "ScalerFailed", "no Secret")), HEALTHY, "no Secret.", "kubectl describe scaledobject"),
    (Cause.SCALER_NOT_READY, schedule(), {"scaler": {"metadata": {"annotations": {"autoscaling.keda.sh/paused": "true"}}}}, "pauses KEDA", "autoscaling.keda.sh/paused-"),
    (Cause.SCALER_NOT_READY, schedule(**JOBS_WAIT), {"hpa": {"status": {"conditions": [{"type": "ScalingActive", "status": "False", "reason": "FailedGetExternalMetric", "message": "unable to fetch metrics"}]}}}, "unable to fetch metrics.", "kubectl describe scaledobject"),
    (Cause.KEDA_MISSING, schedule(condition("Autoscaling", "False", "KedaMissing"), **JOBS_WAIT), HEALTHY, "has no KEDA", "kubectl edit"),
    (Cause.NO_WORKER, schedule(**JOBS_WAIT), {"deployment": deployment(0, 0)}, "3 jobs of shop/close-idle wait since", "kubectl describe scaledobject"),
    (Cause.CHECKING, schedule(not_ready("Checking")), {}, "No worker has checked this version", "kubectl get pods -n shop"),
    (Cause.TICK_FAILING, schedule(degraded("MissedSchedule")), {"jobs": (TICK_FAILED,)}, "reached the specified backoff limit.", "kubectl sweep logs close-idle --ticks -n shop"),
    (Cause.TICK_FAILING, schedule(degraded("MissedSchedule")), {"pods": (pod("producer", waiting={"reason": "ErrImagePull"}),)}, "of the tick's pod", "kubectl edit"),
    (Cause.TICK_FAILING, schedule(), {"jobs": ({"metadata": {"name": f"{NAME}-tick-2"}, "status": {}},), "warnings": (warning(f"{NAME}-tick-2", "FailedCreate", "violates PodSecurity"),)}, "violates PodSecurity", "logs close-idle --ticks"),
    (Cause.TICK_MISSED, schedule(degraded("MissedSchedule"), lastMissedTime=ago(600)), {}, "The tick of 2026-03-01 11:50:00 UTC (10 min 0 s ago)", "kubectl sweep trigger"),
    (Cause.CONTROLLER_SILENT, schedule(lastScheduleTime=ago(1200)), {"cronjob": {"status": {"lastScheduleTime": ago(600), "lastSuccessfulTime": ago(590)}}}, "is not in the status", "kubectl get deployment ks-kubesweep"),
    (Cause.CONTROLLER_SILENT, schedule(spec={"schedule": None, "every": "30s"}, lastScheduleTime=ago(3600)), {}, "its controller does not work", "ks-kubesweep"),
    (Cause.PAUSED, schedule(throttle={"reason": "Annotation", "value": "pause", "since": ago(60), "message": "0"}), {}, "is paused since 2026-03-01 11:59:00 UTC", "throttle close-idle reset"),
    (Cause.THROTTLED, schedule(throttle={"reason": "ReplayLag", "percent": 50, "value": "1 s", "limit": "2 s", "since": ago(60), "message": "a standby is behind"}), {}, "slowed to 50 % of its speed by the signal ReplayLag", "throttle close-idle off"),
    (Cause.THROTTLED, schedule(throttle={"reason": "Vacuum", "percent": 0, "since": ago(60), "message": "an autovacuum works"}), {}, "is paused by the signal Vacuum", "throttle close-idle off"),
    (Cause.THROTTLED, schedule(throttle={"reason": "Annotation", "value": "5", "since": ago(60), "message": "5 rows"}, lastSweep=OPEN), {}, "to 5 rows per second", "throttle close-idle reset"),
    (Cause.HALTED, schedule(degraded("LastSweepFailed"), lastSweep=sweep(state="Halted", reason="TooManyFailedRows", message="51 rows failed"), errors=[{"error": "HTTP500", "count": 51}]), {}, "was halted, because too many rows failed (51 HTTP500): 51 rows failed.", "kubectl sweep dead list close-idle -n shop"),
    (Cause.FAILED, schedule(degraded("LastSweepFailed"), lastSweep=sweep(state="Failed", reason="TableMissing", message="there is no table")), {}, "failed (TableMissing): there is no table.", "trigger close-idle --wait"),
    (Cause.LOST, schedule(degraded("Lost")), {}, "The queue lost a sweep", "kubectl sweep status"),
    (Cause.ROWS_RETRYING, schedule(lastSweep=sweep(retrying=7, applied=93)), {}, "7 rows of shop/close-idle failed", "kubectl sweep logs"),
    (Cause.FALLING_BEHIND, schedule(condition("KeepingUp", "False", "FallingBehind", "200 in, 100 out")), HEALTHY, "200 in, 100 out.", "kubectl edit"),
    (Cause.DEAD_LETTERS, schedule(degraded("DeadLetters"), queue={"dead": 2}, errors=[{"error": "HTTP500", "count": 2}]), {}, "sweeps, but 2 rows are dead letters (2 HTTP500).", "kubectl sweep dead list"),
    (Cause.QUEUE_EVICTS, schedule(degraded("QueueEvicts", "set it to noeviction")), {}, "may drop jobs", "noeviction"),
    (Cause.DEGRADED, schedule(degraded("NewReason")), {}, "is degraded (NewReason)", "kubectl sweep status"),
    (Cause.RUNNING, schedule(lastSweep=OPEN), HEALTHY, "is sweeping since 2026-03-01 11:50:00 UTC (10 min 0 s ago), 40 of 100 rows are done (40 %)", "status"),
    (Cause.RUNNING, schedule(lastSweep=OPEN, throttle=YIELDS), HEALTHY, "is sweeping since", "status"),
    (Cause.DRY_RUN, schedule(spec={"mode": "DryRun"}), {}, "is a dry run", "Enforce"),
    (Cause.NEVER_SWEPT, schedule(lastSweep=None), {}, "was never swept. The next tick is at 2026-03-01 12:10:00 UTC (in 10 min 0 s).", "trigger close-idle --wait"),
    (Cause.NOTHING_STALE, schedule(lastSweep=sweep(planned=0, applied=0)), {}, "found no stale row", "status"),
    (Cause.WELL, schedule(), HEALTHY, "shop/close-idle works: its latest sweep is Completed", "status"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("cause", "found", "around", "words", "typed"), CASES, ids=[f"{case[0]}-{at}" for at, case in enumerate(CASES)]
)
def test_a_cause_has_its_sentence_and_its_command(
    cause: Cause, found: Object, around: Object, words: str, typed: str
) -> None:
    answer = why(found, **around)
    assert answer.cause == cause, answer
    assert words in answer.sentence
    assert typed in answer.command
    assert "\n" not in answer.sentence + answer.command


def test_every_cause_has_a_test() -> None:
    assert {case[0] for case in CASES} == set(Cause)


@pytest.mark.parametrize("cause", list(Cause))
def test_every_cause_has_a_page_and_a_row(cause: Cause) -> None:
    page, _, anchor = PAGES[cause].partition("#")
    headings = re.findall(r"^#+ (.*)$", (ROOT / page).read_text("utf-8"), re.MULTILINE)
    assert not anchor or anchor in [re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings]
    assert f"| `{cause}` |" in (ROOT / "docs" / "kubectl.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("found", "around", "first"),
    [
        (schedule(not_ready("InvalidSpec"), spec={"suspend": True}), {}, Cause.INVALID_SPEC),
        (schedule(not_ready("Suspended"), spec={"suspend": True}), {"jobs": (TICK_FAILED,)}, Cause.SUSPENDED),
        (schedule(degraded("AwaitingApproval"), lastSweep=AWAITS, throttle={"reason": "Annotation", "value": "pause"}), {}, Cause.AWAITING_APPROVAL),
        (schedule(not_ready("QueueUnavailable"), degraded("DeadLetters")), {}, Cause.QUEUE_UNAVAILABLE),
        (schedule(condition("KeepingUp", "False", "FallingBehind"), throttle={"reason": "ReplayLag", "percent": 10}), HEALTHY, Cause.THROTTLED),
        (schedule(degraded("DeadLetters"), condition("KeepingUp", "False", "FallingBehind")), {}, Cause.FALLING_BEHIND),
        (schedule(degraded("DeadLetters"), lastSweep=OPEN, throttle=YIELDS), {}, Cause.DEAD_LETTERS),
    ],
)  # fmt: skip
def test_of_two_causes_the_more_decisive_one_is_named(found: Object, around: Object, first: Cause) -> None:
    assert why(found, **around).cause == first


def test_a_crash_of_one_pod_is_no_cause_while_enough_others_run() -> None:
    crashing = pod(waiting={"reason": "CrashLoopBackOff"}, ended={"exitCode": 1})
    assert why(schedule(), deployment=deployment(1, 1), pods=(crashing,)).cause == Cause.WELL


def test_a_pod_that_is_being_deleted_is_no_cause() -> None:
    leaving = pod(waiting={"reason": "CrashLoopBackOff"})
    leaving["metadata"]["deletionTimestamp"] = ago(5)
    assert why(schedule(), deployment=deployment(1, 0), pods=(leaving,)).cause == Cause.WELL


def test_keda_that_is_missing_is_no_cause_while_no_job_waits() -> None:
    assert why(schedule(condition("Autoscaling", "False", "KedaMissing")), **HEALTHY).cause == Cause.WELL


def test_a_tick_that_is_on_its_way_does_not_accuse_the_controller() -> None:
    fired = {"status": {"lastScheduleTime": ago(90), "lastSuccessfulTime": ago(80)}}
    assert why(schedule(lastScheduleTime=ago(600)), cronjob=fired).cause == Cause.WELL
    forbidden = {"status": {"lastScheduleTime": ago(600), "lastSuccessfulTime": ago(590)}}
    assert (
        why(schedule(lastScheduleTime=ago(1200), lastSweep=OPEN), cronjob=forbidden, **HEALTHY).cause == Cause.RUNNING
    )


def test_a_sweep_that_yields_to_the_application_runs_and_says_so() -> None:
    found = why(schedule(lastSweep=OPEN, throttle=YIELDS), **HEALTHY)
    assert (found.cause, found.evidence) == (Cause.RUNNING, ("slowed to 10%: 3 other sessions use the database",))


def test_the_evidence_says_what_could_not_be_read() -> None:
    assert why(schedule(), unread=("pods", "events")).evidence == (
        "You may not read pods, events, so what they show is not considered.",
    )


def test_a_crd_that_drops_only_fields_of_the_status_is_evidence_and_no_cause() -> None:
    answer = why(schedule(), pruned=("status.answers",))
    assert (answer.cause, len(answer.evidence)) == (Cause.WELL, 1)
    assert "status.answers" in answer.evidence[0]


def test_at_the_largest_number_of_workers_the_autoscaler_is_evidence() -> None:
    hpa = {"status": {"conditions": [{"type": "ScalingLimited", "status": "True", "reason": "TooManyReplicas"}]}}
    assert "worker.maxReplicas" in why(schedule(condition("KeepingUp", "False", "FallingBehind")), hpa=hpa).evidence[-1]


def test_calm_causes_are_those_that_nobody_has_to_fix() -> None:
    assert {Cause.WELL, Cause.SUSPENDED, Cause.RUNNING} <= CALM
    assert not CALM & {Cause.HALTED, Cause.UNOBSERVED, Cause.DEAD_LETTERS, Cause.AWAITING_APPROVAL}


@pytest.mark.parametrize(
    "damaged", [{}, {"status": {"conditions": "x", "lastSweep": 5, "queue": []}}, {"spec": None, "metadata": {}}]
)
def test_an_object_of_a_later_version_is_no_crash(damaged: Object) -> None:
    found = schedule() | damaged
    assert why(found, pods=({"status": 5},), hpa={"status": {"conditions": [1]}}).sentence
