"""Names, labels and the owner of what a schedule becomes. Everything else finds the children by these."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kubesweep.api.models.spec import API_VERSION, KIND

ScheduleKey = tuple[str, str]  # namespace and name of a SweepSchedule

MANAGER = "kubesweep"  # field manager, and the value of app.kubernetes.io/managed-by
SCHEDULE_LABEL = "kubesweep.dev/schedule"
COMPONENT_LABEL = "app.kubernetes.io/component"
MANAGED_SELECTOR = f"app.kubernetes.io/managed-by={MANAGER}"
SECRET = "kubesweep-queue"
WORKER = "worker"
PRODUCER = "producer"


def cronjob_name(schedule: str) -> str:
    return f"{schedule}-tick"


def worker_name(schedule: str) -> str:
    """Of the Deployment, the ScaledObject and the TriggerAuthentication."""
    return f"{schedule}-worker"


def labels(schedule: str, component: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "kubesweep",
        COMPONENT_LABEL: component,
        "app.kubernetes.io/managed-by": MANAGER,
        SCHEDULE_LABEL: schedule,
    }


def selector(schedule: str, component: str) -> dict[str, str]:
    """The part of the labels that pods are chosen by; a Deployment can never change it."""
    return {SCHEDULE_LABEL: schedule, COMPONENT_LABEL: component}


def inherited(owner: Mapping[str, Any], common: Mapping[str, str], copied: Iterable[str]) -> dict[str, str]:
    """Labels that all children carry beside their own: those of the release, and the SweepSchedule's own of these keys."""
    own = owner.get("labels") or {}
    return {**common, **{key: str(own[key]) for key in copied if key in own}}


def with_labels(body: dict[str, Any], more: Mapping[str, str]) -> dict[str, Any]:
    """The child with these labels, and its pods; what they have already stays."""
    spec = body["spec"]
    job = spec.get("jobTemplate", {})
    places = (body, spec.get("template"), job, job.get("spec", {}).get("template"))
    for each in places if more else ():
        if each:
            meta = each.setdefault("metadata", {})
            meta["labels"] = {**more, **meta.get("labels", {})}
    return body


def metadata(name: str, owner: Mapping[str, Any], component: str) -> dict[str, Any]:
    """Of a child. ``owner`` is the SweepSchedule's own metadata: with it the child is removed, by the cluster alone.

    blockOwnerDeletion is false, or KEDA's finalizer would hang a foreground deletion of the schedule.
    """
    return {
        "name": name,
        "namespace": owner["namespace"],
        "labels": labels(owner["name"], component),
        "ownerReferences": [
            {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "name": owner["name"],
                "uid": owner["uid"],
                "controller": True,
                "blockOwnerDeletion": False,
            }
        ],
    }
