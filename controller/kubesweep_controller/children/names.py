"""Names, labels and the owner of what a schedule becomes. Everything else finds the children by these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubesweep.api.spec import API_VERSION, KIND

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
