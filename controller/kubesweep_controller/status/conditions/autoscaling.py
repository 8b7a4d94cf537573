"""The condition Autoscaling: what KEDA reports about the ScaledObject, and what follows when it reports nothing. Pure.

The condition is True only after KEDA itself set the ScaledObject to Ready. An operator that is down, or that does not watch this
namespace, writes nothing at all. So silence is a finding too: after ``SILENCE`` seconds the message names the likely causes. All
times come from the previous status and from the queue, so a restarted controller reaches the same result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubesweep_controller.status.conditions.reasons import ConditionType, Reason
from kubesweep_controller.status.conditions.result import ConditionResult, find_condition, repeated
from kubesweep_controller.status.formatting import namespaced_name, parse_time
from kubesweep_controller.status.history import previous
from kubesweep_controller.status.observation import Observation

__all__ = ["SILENCE", "autoscaling", "has_lasted"]

SILENCE = 60.0  # seconds until silence counts; KEDA needs half a second for each new ScaledObject
_CAUSES = (
    "Likely causes: KEDA's operator is down or busy, or its watchNamespace or watchLabelSelector excludes this object. "
    "Look: kubectl get scaledobject {name}-worker -n {namespace} --show-labels; "
    "kubectl get deployments -A -l app.kubernetes.io/name=keda-operator -o yaml | grep -A1 -e readyReplicas -e WATCH_"
)


def autoscaling(observation: Observation) -> ConditionResult:
    """The condition Autoscaling."""
    children = observation.children
    if not children.keda:
        message = "this cluster has no KEDA, so the number of workers is fixed. Install KEDA: the controller detects it"
        return ConditionResult("False", Reason.KEDA_MISSING, message)
    if children.scaler_problem:
        namespace, name = namespaced_name(observation.body)
        command = f"kubectl describe scaledobject {name}-worker -n {namespace}"
        return ConditionResult("False", Reason.SCALER_FAILED, f"{children.scaler_problem}. Look: {command}")
    before = find_condition(previous(observation), ConditionType.AUTOSCALING) or {}
    if children.scaled is None and before and before.get("reason") != Reason.KEDA_MISSING:
        return repeated(before)
    if not children.scaled:
        return _unreported(observation, before)
    if _unserved_seconds(observation, before) >= SILENCE + 2 * children.polling:
        problem = "the ScaledObject is Ready, but jobs have waited for over a minute and no worker was started"
        return _silent(observation, problem)
    return ConditionResult("True", Reason.SCALED_BY_KEDA, f"{_bounds(observation)} by the length of the queue")


def has_lasted(observation: Observation, result: ConditionResult) -> bool:
    """Whether the condition has had this status and reason for ``SILENCE`` seconds."""
    before = find_condition(previous(observation), ConditionType.AUTOSCALING) or {}
    same = (before.get("status"), before.get("reason")) == (result.status, result.reason)
    return same and _age(observation, before) >= SILENCE


def _unreported(observation: Observation, before: Mapping[str, Any]) -> ConditionResult:
    if before.get("status") == "Unknown" and _age(observation, before) >= SILENCE:
        return _silent(observation, "KEDA has not reported on the ScaledObject for over a minute")
    return ConditionResult("Unknown", Reason.CHECKING, "KEDA has not reported on the ScaledObject yet")


def _silent(observation: Observation, problem: str) -> ConditionResult:
    namespace, name = namespaced_name(observation.body)
    causes = _CAUSES.format(namespace=namespace, name=name)
    return ConditionResult("Unknown", Reason.SCALER_SILENT, f"{problem}. {causes}")


def _unserved_seconds(observation: Observation, before: Mapping[str, Any]) -> float:
    """Seconds that jobs have waited although KEDA could have started a worker and no worker runs."""
    stats = observation.stats
    if stats is None or stats.paused or not stats.ready or stats.oldest_ready is None:
        return 0.0
    if observation.children.desired != 0:
        return 0.0
    waited = observation.now - stats.oldest_ready
    resumed = find_condition(previous(observation), ConditionType.SUSPENDED) or {}
    since = [_age(observation, resumed)] if resumed.get("status") == "False" else [0.0]
    if before.get("reason") != Reason.SCALER_SILENT:
        since.append(_age(observation, before) if before.get("status") == "True" else 0.0)
    return min(waited, *since)


def _age(observation: Observation, condition: Mapping[str, Any]) -> float:
    since = parse_time(condition.get("lastTransitionTime"))
    return 0.0 if since is None else observation.now - since


def _bounds(observation: Observation) -> str:
    if observation.schedule is None:
        return "KEDA starts and stops workers"
    worker = observation.schedule.spec.worker
    return f"{worker.min_replicas} to {worker.max_replicas} workers"
