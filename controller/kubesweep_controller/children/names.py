"""Names, labels and owner references of a schedule's children. Everything else finds the children by these."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kubesweep.api.models.spec import API_VERSION, KIND

ScheduleKey = tuple[str, str]  # namespace and name of a SweepSchedule

MANAGER = "kubesweep"  # field manager, and the value of app.kubernetes.io/managed-by
SCHEDULE_LABEL = "kubesweep.dev/schedule"
RELEASE_LABEL = "kubesweep.dev/release"  # of workers' pods: the Helm release whose PodMonitor selects them
COMPONENT_LABEL = "app.kubernetes.io/component"
MANAGED_SELECTOR = f"app.kubernetes.io/managed-by={MANAGER}"
SECRET = "kubesweep-queue"
WORKER = "worker"
PRODUCER = "producer"


def cronjob_name(schedule: str) -> str:
    return f"{schedule}-tick"


def worker_name(schedule: str) -> str:
    """Name of the Deployment, the ScaledObject and the TriggerAuthentication."""
    return f"{schedule}-worker"


def labels(schedule: str, component: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "kubesweep",
        COMPONENT_LABEL: component,
        "app.kubernetes.io/managed-by": MANAGER,
        SCHEDULE_LABEL: schedule,
    }


def selector(schedule: str, component: str) -> dict[str, str]:
    """The labels that select pods. A Deployment can never change them."""
    return {SCHEDULE_LABEL: schedule, COMPONENT_LABEL: component}


def inherited(owner: Mapping[str, Any], common: Mapping[str, str], copied: Iterable[str]) -> dict[str, str]:
    """Labels that all children have in addition: those of the release, and those of the SweepSchedule whose keys are in ``copied``."""
    own = owner.get("labels") or {}
    return {**common, **{key: str(own[key]) for key in copied if key in own}}


def with_labels(body: dict[str, Any], more: Mapping[str, str]) -> dict[str, Any]:
    """The child with additional labels on itself and its pods. Labels that it already has win."""
    spec = body["spec"]
    job = spec.get("jobTemplate", {})
    places = (body, spec.get("template"), job, job.get("spec", {}).get("template"))
    for each in places if more else ():
        if each:
            meta = each.setdefault("metadata", {})
            meta["labels"] = {**more, **meta.get("labels", {})}
    return body


def metadata(name: str, owner: Mapping[str, Any], component: str) -> dict[str, Any]:
    """Metadata of a child. ``owner`` is the SweepSchedule's metadata: the owner reference makes the cluster delete the child with it.

    blockOwnerDeletion is false. Otherwise KEDA's finalizer would block a foreground deletion of the schedule.
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
