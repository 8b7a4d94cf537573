"""What KEDA is told: how long the queue is, how many workers that is worth, and how to log in.

Two triggers, each the length of a stream: KEDA's user needs no script for that, and so cannot keep the server busy with one.
The work stream's is waiting plus running jobs: it wakes the first worker and lets the last one go only when nothing is in
hand (``lagCount`` and ``pendingEntriesCount`` each miss one of the two). The delayed retries are in a set of their own, which
nobody promotes while no worker runs: the marker stream, one entry long while there are any, wakes one worker and never more.
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
PARKED = "autoscaling.keda.sh/paused-replicas"
ONE_WORKER = 1_000_000  # entries for each worker: the marker stream never asks for a second one


def build_scaledobject(
    owner: Mapping[str, Any],
    schedule: SweepSchedule,
    ref: ScheduleRef,
    queue: QueueAddress,
    polling_interval: int,
    *,
    parked: bool,
) -> dict[str, Any]:
    """The ScaledObject. ``parked``: no workers at all, whatever waits (a suspended schedule)."""
    worker = schedule.spec.worker
    meta = metadata(worker_name(ref.name), owner, WORKER)
    if parked:
        meta["annotations"] = {PARKED: "0"}
    calm = {"scaleDown": {"stabilizationWindowSeconds": min(3600, cooldown_seconds(worker))}}
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
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": calm}},
            "triggers": _triggers(ref, queue, worker.jobs_per_replica),
        },
    }


def _triggers(ref: ScheduleRef, queue: QueueAddress, jobs_per_replica: int) -> list[dict[str, Any]]:
    names = {name: key.decode() for name, key in zip(KEY_NAMES, keys(ref.prefix), strict=True)}
    login = {"authenticationRef": {"name": worker_name(ref.name)}}
    return [
        {
            "type": queue.scaler,
            "metadata": {
                **queue.scaler_metadata(),
                "stream": names[stream],
                "streamLength": str(length),
                "activationLagCount": "0",
            },
            **login,
        }
        for stream, length in (("work", jobs_per_replica), ("marker", ONE_WORKER))
    ]


def build_trigger_authentication(owner: Mapping[str, Any], name: str, queue: QueueAddress) -> dict[str, Any]:
    """How KEDA logs in: with entries of the namespace's own Secret."""
    entries = {"username": "kedaUsername", "password": "kedaPassword"}
    if queue.ca_file:
        entries["ca"] = "ca.crt"
    if queue.has_sentinel_login:
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
