"""The condition Autoscaling: what KEDA says of the ScaledObject, and what follows when it says nothing. Pure.

It is True only after KEDA itself called the ScaledObject Ready. An operator that is down, or that does not watch this
namespace, writes nothing at all, so silence is a finding too: after ``SILENCE`` seconds the message names the likely causes.
All times come from the status before and from the queue, so a controller that restarts reaches the same verdict.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubesweep_controller.status.condition import Verdict, find, repeated
from kubesweep_controller.status.formatting import parse_time, place
from kubesweep_controller.status.history import previous
from kubesweep_controller.status.observation import Facts
from kubesweep_controller.status.reasons import ConditionType, Reason

__all__ = ["SILENCE", "lasts", "scaling"]

SILENCE = 60.0  # seconds that KEDA may take: half a second for each new ScaledObject, if there are many
_CAUSES = (
    "Likely causes: KEDA's operator is down or busy, or its watchNamespace or watchLabelSelector excludes this object. "
    "Look: kubectl get scaledobject {name}-worker -n {namespace} --show-labels; "
    "kubectl get deployments -A -l app.kubernetes.io/name=keda-operator -o yaml | grep -A1 -e readyReplicas -e WATCH_"
)


def scaling(facts: Facts) -> Verdict:
    """The condition Autoscaling."""
    children = facts.children
    if not children.keda:
        fixed = "workers run all the time, however little there is to do"
        return Verdict(
            "False", Reason.KEDA_MISSING, f"this cluster has no KEDA: {fixed}. Install KEDA; it is picked up"
        )
    if children.scaler_problem:
        namespace, name = place(facts.body)
        look = f"kubectl describe scaledobject {name}-worker -n {namespace}"
        return Verdict("False", Reason.SCALER_FAILED, f"{children.scaler_problem}. Look: {look}")
    before = find(previous(facts), ConditionType.AUTOSCALING) or {}
    if children.scaled is None and before and before.get("reason") != Reason.KEDA_MISSING:
        return repeated(before)
    if not children.scaled:
        return _unseen(facts, before)
    if _asleep(facts, before) >= SILENCE + 2 * children.polling:
        said = "KEDA calls the ScaledObject Ready, but jobs have waited for over a minute and no worker was started"
        return _silent(facts, said)
    return Verdict("True", Reason.SCALED_BY_KEDA, f"{_bounds(facts)} by the length of the queue")


def lasts(facts: Facts, verdict: Verdict) -> bool:
    """Whether the condition has had this status and reason for ``SILENCE`` seconds."""
    before = find(previous(facts), ConditionType.AUTOSCALING) or {}
    same = (before.get("status"), before.get("reason")) == (verdict.status, verdict.reason)
    return same and _age(facts, before) >= SILENCE


def _unseen(facts: Facts, before: Mapping[str, Any]) -> Verdict:
    if before.get("status") == "Unknown" and _age(facts, before) >= SILENCE:
        return _silent(facts, "for over a minute KEDA has not reported on the ScaledObject")
    return Verdict("Unknown", Reason.CHECKING, "KEDA has not reported on the ScaledObject yet")


def _silent(facts: Facts, said: str) -> Verdict:
    namespace, name = place(facts.body)
    return Verdict("Unknown", Reason.SCALER_SILENT, f"{said}. {_CAUSES.format(namespace=namespace, name=name)}")


def _asleep(facts: Facts, before: Mapping[str, Any]) -> float:
    """Seconds that jobs have waited while KEDA could have started a worker and there is none."""
    stats = facts.stats
    if stats is None or stats.paused or not stats.ready or stats.oldest_ready is None or facts.children.wanted != 0:
        return 0.0
    waited = facts.now - stats.oldest_ready
    resumed = find(previous(facts), ConditionType.SUSPENDED) or {}
    since = [_age(facts, resumed)] if resumed.get("status") == "False" else [0.0]
    if before.get("reason") != Reason.SCALER_SILENT:
        since.append(_age(facts, before) if before.get("status") == "True" else 0.0)
    return min(waited, *since)


def _age(facts: Facts, condition: Mapping[str, Any]) -> float:
    since = parse_time(condition.get("lastTransitionTime"))
    return 0.0 if since is None else facts.now - since


def _bounds(facts: Facts) -> str:
    if facts.schedule is None:
        return "workers are started and stopped"
    worker = facts.schedule.spec.worker
    return f"{worker.min_replicas} to {worker.max_replicas} workers"
