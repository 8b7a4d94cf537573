"""The Job that runs one program in the workers' pod template. Pure.

Its pod has the image, the Secrets, the environment, the labels and the security settings of a worker, so admission policies and network
policies treat it as one. It differs where it would count as a worker:

- It has no label ``kubesweep.dev/schedule``, which the Deployment selects by. So neither the Deployment nor KEDA's autoscaler counts it, and
  the controller does not take it for a worker that cannot start. Its own label is ``kubesweep.dev/program-of``.
- It has no label of the release and no annotations for Prometheus, so nothing scrapes it.
- It has no probes, no ports and no hook before its end: it ends by itself.

The owner is the SweepSchedule, so the Job is deleted with it. The deadline and the time to live end and delete it if this program cannot.
"""

from __future__ import annotations

import copy
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["CONTAINER", "DEADLINE", "OWN_LABEL", "build_job", "job_name", "producer_name", "worker_name"]

CONTAINER = "worker"
SCHEDULE_LABEL = "kubesweep.dev/schedule"
OWN_LABEL = "kubesweep.dev/program-of"
RELEASE_LABEL = "kubesweep.dev/release"
MANAGED_LABEL = "app.kubernetes.io/managed-by"
SCRAPED = "prometheus.io/"
DEADLINE = 600  # seconds for which the Job may run
TIME_TO_LIVE = 60  # seconds after its end, if this program could not delete it
GRACE = 5  # seconds between the signals of a deletion
_ONLY_OF_A_WORKER = ("livenessProbe", "readinessProbe", "startupProbe", "ports", "lifecycle")


def worker_name(schedule: str) -> str:
    """Name of the Deployment, the ScaledObject and the TriggerAuthentication of a schedule."""
    return f"{schedule}-worker"


def producer_name(schedule: str) -> str:
    """Name of the CronJob of a schedule."""
    return f"{schedule}-tick"


def job_name(schedule: str, program: str) -> str:
    """A new name. A schedule's name has at most 45 characters, so this one has at most 63."""
    return f"{schedule}-{program}-{secrets.token_hex(4)}"


def build_job(
    schedule: Mapping[str, Any],
    deployment: Mapping[str, Any],
    program: str,
    argv: Sequence[str],
    deadline: int = DEADLINE,
) -> dict[str, Any]:
    """The Job that runs ``argv`` in the container of a worker. ``program``: one word for its name, such as ``check``.

    Raises ValueError where the Deployment's template has no container of that name.
    """
    meta = schedule["metadata"]
    owner = {
        "apiVersion": "kubesweep.dev/v1alpha1",
        "kind": "SweepSchedule",
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": False,
        "blockOwnerDeletion": False,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(meta["name"], program),
            "namespace": meta["namespace"],
            # Not the controller's own value: the controller lists its children by it.
            "labels": {
                **_labels(deployment["spec"]["template"], meta["name"]),
                MANAGED_LABEL: "kubectl-sweep",
            },
            "ownerReferences": [owner],
        },
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": deadline,
            "ttlSecondsAfterFinished": TIME_TO_LIVE,
            "template": _template(deployment["spec"]["template"], meta["name"], argv),
        },
    }


def _template(template: Mapping[str, Any], schedule: str, argv: Sequence[str]) -> dict[str, Any]:
    made: dict[str, Any] = copy.deepcopy(dict(template))
    spec = made["spec"]
    own = [each for each in spec["containers"] if each.get("name") == CONTAINER]
    if len(own) != 1:
        raise ValueError(f"the pod template has no container {CONTAINER}")
    for name in _ONLY_OF_A_WORKER:
        own[0].pop(name, None)
    own[0]["command"] = list(argv)
    own[0].pop("args", None)
    spec["restartPolicy"] = "Never"
    spec["terminationGracePeriodSeconds"] = GRACE
    annotations = (made.get("metadata") or {}).get("annotations") or {}
    made["metadata"] = {
        "labels": _labels(template, schedule),
        "annotations": {key: value for key, value in annotations.items() if not key.startswith(SCRAPED)},
    }
    return made


def _labels(template: Mapping[str, Any], schedule: str) -> dict[str, str]:
    labels = (template.get("metadata") or {}).get("labels") or {}
    kept = {key: value for key, value in labels.items() if key not in (SCHEDULE_LABEL, RELEASE_LABEL)}
    return {**kept, OWN_LABEL: schedule}
