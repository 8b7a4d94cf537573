"""The condition Ready: a chain of checks, the first problem decides. Pure.

Ready is True only after everything was verified: the absence of bad news is not enough. See :mod:`.source_ready` for what workers
report.
"""

from __future__ import annotations

from collections.abc import Callable

from kubesweep_controller.status.conditions.autoscaling import has_lasted
from kubesweep_controller.status.conditions.reasons import ConditionType, Reason
from kubesweep_controller.status.conditions.result import ConditionProblem, ConditionResult, find_condition
from kubesweep_controller.status.conditions.source_ready import current_finding, is_settling
from kubesweep_controller.status.history import previous
from kubesweep_controller.status.observation import Observation, suspended

__all__ = ["ready"]

REVOKED = ("QueueMemory", "QueueScript")  # outages that the namespace caused itself: work was lost


def ready(observation: Observation, source: ConditionResult, autoscaling: ConditionResult) -> ConditionResult:
    """The condition Ready. ``source`` and ``autoscaling`` are the results of these two conditions."""
    checks: tuple[Callable[[], ConditionProblem | None], ...] = (
        lambda: _invalid_spec(observation),
        lambda: _children(observation),
        lambda: _reconcile_failure(observation),
        lambda: _queue(observation),
        lambda: _source_refused(source),
        lambda: _effect(observation),
        lambda: _stuck(observation),
        lambda: _unchecked(observation, source, autoscaling),
    )
    for check in checks:
        if problem := check():
            return ConditionResult("False", *problem)
    message = "a worker checked this version, all objects are up to date, and the queue responds"
    return ConditionResult("True", Reason.READY, message)


def _invalid_spec(observation: Observation) -> ConditionProblem | None:
    if observation.refusal is None:
        return None
    served = " The last valid version is still served." if previous(observation).get("plan") else ""
    problems = "; ".join(str(observation.refusal).splitlines())
    return ConditionProblem(Reason.INVALID_SPEC, f"{problems}.{served} Correct the spec and apply it again.")


def _children(observation: Observation) -> ConditionProblem | None:
    children = observation.children
    if children.name_taken:
        text = f"{children.name_taken}. Rename or delete that object, or give this schedule another name."
        return ConditionProblem(Reason.NAME_TAKEN, text)
    if children.rejected:
        text = f"the API server refuses {children.rejected}. Correct the spec and apply it again."
        return ConditionProblem(Reason.CHILD_REJECTED, text)
    return None


def _reconcile_failure(observation: Observation) -> ConditionProblem | None:
    if not observation.reconcile_failure:
        return None
    return ConditionProblem(
        Reason.RECONCILE_FAILED,
        f"the objects of this schedule cannot be updated: {observation.reconcile_failure}. Existing objects keep running, and the "
        "controller keeps retrying.",
    )


def _queue(observation: Observation) -> ConditionProblem | None:
    outage = observation.outage
    if outage is None:
        return None
    rest = "" if outage.reason in REVOKED else " Nothing is lost. Work resumes when the queue responds."
    return ConditionProblem(Reason.QUEUE_UNAVAILABLE, f"{outage.reason}: {outage}.{rest}", outage.reason)


def _source_refused(source: ConditionResult) -> ConditionProblem | None:
    if source.status != "False":
        return None
    return ConditionProblem(Reason.SOURCE_NOT_READY, f"{source.reason}: {source.message}", source.reason)


def _effect(observation: Observation) -> ConditionProblem | None:
    finding = current_finding(observation, "Effect")
    if finding is None:
        return None
    if not finding.ok:
        return ConditionProblem(Reason.EFFECT_NOT_READY, f"{finding.reason}: {finding.message}", finding.reason)
    status = previous(observation)
    before = find_condition(status, ConditionType.READY) or {}
    same = observation.plan is not None and status.get("plan") == observation.plan.version.hash
    if same and before.get("reason") == Reason.EFFECT_NOT_READY and is_settling(observation, finding):
        return ConditionProblem(
            Reason.EFFECT_NOT_READY, str(before.get("message", "")), str(status.get("readyCode", ""))
        )
    return None


def _stuck(observation: Observation) -> ConditionProblem | None:
    stuck = observation.children.stuck
    return ConditionProblem(Reason.WORKER_STUCK, f"no worker starts: {stuck}") if stuck else None


def _unchecked(
    observation: Observation, source: ConditionResult, autoscaling: ConditionResult
) -> ConditionProblem | None:
    if source.status == "True":
        return None
    if suspended(observation):
        return ConditionProblem(
            Reason.SUSPENDED, "the source is checked after you resume the schedule (spec.suspend: false)"
        )
    waits = "waiting for a worker to check the source and the effect; the first pod must start for that"
    if observation.children.desired or autoscaling.reason not in (Reason.SCALER_FAILED, Reason.SCALER_SILENT):
        return ConditionProblem(Reason.CHECKING, waits)
    if autoscaling.reason == Reason.SCALER_FAILED and not has_lasted(observation, autoscaling):
        return ConditionProblem(Reason.CHECKING, f"{waits}. So far: {autoscaling.message}")
    return ConditionProblem(Reason.WORKER_STUCK, f"no worker starts: {autoscaling.message}")
