"""The condition Autoscaling: what KEDA says of the ScaledObject, and what follows when it says nothing. Pure.

It is True only after KEDA itself called the ScaledObject Ready. An operator that is down, or that does not watch this
namespace, writes nothing at all, so silence is a finding too: after ``SILENCE`` seconds the message names the likely causes.
All times come from the status before and from the queue, so a controller that restarts reaches the same verdict.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubesweep_controller.status.conditions.reasons import ConditionType, Reason
from kubesweep_controller.status.conditions.result import ConditionResult, find, repeated
from kubesweep_controller.status.formatting import namespaced_name, parse_time
from kubesweep_controller.status.history import previous
from kubesweep_controller.status.observation import Observation

__all__ = ["SILENCE", "lasts", "scaling"]

SILENCE = 60.0  # seconds that KEDA may take: half a second for each new ScaledObject, if there are many
_CAUSES = (
    "Likely causes: KEDA's operator is down or busy, or its watchNamespace or watchLabelSelector excludes this object. "
    "Look: kubectl get scaledobject {name}-worker -n {namespace} --show-labels; "
    "kubectl get deployments -A -l app.kubernetes.io/name=keda-operator -o yaml | grep -A1 -e readyReplicas -e WATCH_"
)


def scaling(observation: Observation) -> ConditionResult:
    """The condition Autoscaling."""
    children = observation.children
    if not children.keda:
        fixed = "workers run all the time, however little there is to do"
        return ConditionResult(
            "False", Reason.KEDA_MISSING, f"this cluster has no KEDA: {fixed}. Install KEDA; it is picked up"
        )
    if children.scaler_problem:
        namespace, name = namespaced_name(observation.body)
        look = f"kubectl describe scaledobject {name}-worker -n {namespace}"
        return ConditionResult("False", Reason.SCALER_FAILED, f"{children.scaler_problem}. Look: {look}")
    before = find(previous(observation), ConditionType.AUTOSCALING) or {}
    if children.scaled is None and before and before.get("reason") != Reason.KEDA_MISSING:
        return repeated(before)
    if not children.scaled:
        return _unseen(observation, before)
    if _asleep(observation, before) >= SILENCE + 2 * children.polling:
        said = "KEDA calls the ScaledObject Ready, but jobs have waited for over a minute and no worker was started"
        return _silent(observation, said)
    return ConditionResult("True", Reason.SCALED_BY_KEDA, f"{_bounds(observation)} by the length of the queue")


def lasts(observation: Observation, result: ConditionResult) -> bool:
    """Whether the condition has had this status and reason for ``SILENCE`` seconds."""
    before = find(previous(observation), ConditionType.AUTOSCALING) or {}
    same = (before.get("status"), before.get("reason")) == (result.status, result.reason)
    return same and _age(observation, before) >= SILENCE


def _unseen(observation: Observation, before: Mapping[str, Any]) -> ConditionResult:
    if before.get("status") == "Unknown" and _age(observation, before) >= SILENCE:
        return _silent(observation, "for over a minute KEDA has not reported on the ScaledObject")
    return ConditionResult("Unknown", Reason.CHECKING, "KEDA has not reported on the ScaledObject yet")


def _silent(observation: Observation, said: str) -> ConditionResult:
    namespace, name = namespaced_name(observation.body)
    return ConditionResult("Unknown", Reason.SCALER_SILENT, f"{said}. {_CAUSES.format(namespace=namespace, name=name)}")


def _asleep(observation: Observation, before: Mapping[str, Any]) -> float:
    """Seconds that jobs have waited while KEDA could have started a worker and there is none."""
    stats = observation.stats
    if (
        stats is None
        or stats.paused
        or not stats.ready
        or stats.oldest_ready is None
        or observation.children.wanted != 0
    ):
        return 0.0
    waited = observation.now - stats.oldest_ready
    resumed = find(previous(observation), ConditionType.SUSPENDED) or {}
    since = [_age(observation, resumed)] if resumed.get("status") == "False" else [0.0]
    if before.get("reason") != Reason.SCALER_SILENT:
        since.append(_age(observation, before) if before.get("status") == "True" else 0.0)
    return min(waited, *since)


def _age(observation: Observation, condition: Mapping[str, Any]) -> float:
    since = parse_time(condition.get("lastTransitionTime"))
    return 0.0 if since is None else observation.now - since


def _bounds(observation: Observation) -> str:
    if observation.schedule is None:
        return "workers are started and stopped"
    worker = observation.schedule.spec.worker
    return f"{worker.min_replicas} to {worker.max_replicas} workers"
