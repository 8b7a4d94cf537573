"""KEDA's objects: the ScaledObject with its triggers, and the TriggerAuthentication.

There are two triggers, each on the length of a stream. KEDA's user needs no script for that, so it cannot block the server with one.

- ``work`` holds waiting and running jobs. It starts the first worker and stops the last one only when nothing runs (``lagCount`` and
  ``pendingEntriesCount`` each miss one of the two).
- Delayed retries are in a set of their own, and only a worker moves them from there. So ``marker`` has one entry while there are any, and
  starts one worker, never more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubesweep.api.models.spec import SweepSchedule
from kubesweep.queue.model import ScheduleRef
from kubesweep.queue.redis.scripts import KEY_NAMES, keys
from kubesweep_controller.children.names import SECRET, WORKER, metadata, worker_name
from kubesweep_controller.children.pod import cooldown_seconds
from kubesweep_controller.queue_address import QueueAddress

KEDA = "keda.sh/v1alpha1"
PAUSED_REPLICAS = "autoscaling.keda.sh/paused-replicas"  # annotation: KEDA keeps this number of workers
ONE_WORKER = 1_000_000  # entries per worker: the marker stream never starts a second one


def build_scaledobject(
    owner: Mapping[str, Any],
    schedule: SweepSchedule,
    ref: ScheduleRef,
    queue: QueueAddress,
    polling_interval: int,
    *,
    scale_to_zero: bool,
) -> dict[str, Any]:
    """The ScaledObject. ``scale_to_zero``: no workers at all, however many jobs wait (a suspended schedule)."""
    worker = schedule.spec.worker
    meta = metadata(worker_name(ref.name), owner, WORKER)
    if scale_to_zero:
        meta["annotations"] = {PAUSED_REPLICAS: "0"}
    scale_down = {"scaleDown": {"stabilizationWindowSeconds": min(3600, cooldown_seconds(worker))}}
    return {
        "apiVersion": KEDA,
        "kind": "ScaledObject",
        "metadata": meta,
        "spec": {
            "scaleTargetRef": {"name": worker_name(ref.name)},
            "pollingInterval": polling_interval,
            "cooldownPeriod": cooldown_seconds(worker),
            "minReplicaCount": worker.min_replicas,
            "maxReplicaCount": worker.max_replicas,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": scale_down}},
            "triggers": _triggers(ref, queue, worker.jobs_per_replica),
        },
    }


def _triggers(ref: ScheduleRef, queue: QueueAddress, jobs_per_replica: int) -> list[dict[str, Any]]:
    names = {name: key.decode() for name, key in zip(KEY_NAMES, keys(ref.prefix), strict=True)}
    authentication = {"authenticationRef": {"name": worker_name(ref.name)}}
    return [
        {
            "type": queue.scaler,
            "metadata": {
                **queue.scaler_metadata(),
                "stream": names[stream],
                "streamLength": str(length),
                "activationLagCount": "0",
            },
            **authentication,
        }
        for stream, length in (("work", jobs_per_replica), ("marker", ONE_WORKER))
    ]


def build_trigger_authentication(owner: Mapping[str, Any], name: str, queue: QueueAddress) -> dict[str, Any]:
    """KEDA's credentials: entries of the namespace's Secret."""
    entries = {"username": "kedaUsername", "password": "kedaPassword"}
    if queue.ca_file:
        entries["ca"] = "ca.crt"
    if queue.has_sentinel_password:
        entries["sentinelPassword"] = "sentinelPassword"
    return {
        "apiVersion": KEDA,
        "kind": "TriggerAuthentication",
        "metadata": metadata(worker_name(name), owner, WORKER),
        "spec": {
            "secretTargetRef": [
                {"parameter": parameter, "name": SECRET, "key": key} for parameter, key in entries.items()
            ]
        },
    }
