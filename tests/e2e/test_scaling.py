"""KEDA scales a plain Deployment with the length of a Redis stream, from zero and back to zero."""

from __future__ import annotations

import time
from contextlib import closing

import redis

from tests.kits.kube_client import Namespace, Object
from tests.kits.workloads import PYTHON, Server, deployment, pod_spec, start_redis

STREAM = "{e2e}:jobs"
SLEEP = ["python3", "-c", "import signal; signal.signal(signal.SIGTERM, lambda *_: exit()); signal.pause()"]


def scaled_object(server: Server) -> Object:
    trigger = {
        "address": f"{server.host}:{server.port}",
        "stream": STREAM,
        "streamLength": "10",
        "activationLagCount": "0",
    }
    down = {"stabilizationWindowSeconds": 0, "policies": [{"type": "Percent", "value": 100, "periodSeconds": 1}]}
    spec = {
        "scaleTargetRef": {"name": "workers"},
        "minReplicaCount": 0,
        "maxReplicaCount": 5,
        "pollingInterval": 1,
        "cooldownPeriod": 2,
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": {"scaleDown": down}}},
        "triggers": [{"type": "redis-streams", "metadata": trigger}],
    }
    return {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": "workers"}, "spec": spec}


def test_a_stream_scales_a_deployment_from_zero_to_three_and_back(namespace: Namespace) -> None:
    server = start_redis(namespace)
    spec = pod_spec(PYTHON, SLEEP, container={"resources": {"requests": {"cpu": "10m"}}})
    namespace.apply(deployment("workers", spec, replicas=0))
    namespace.apply(scaled_object(server))
    namespace.until("keda.sh/v1alpha1 ScaledObject", "workers", is_ready, what="KEDA has made its HPA")

    def ready(count: int) -> float:
        began = time.monotonic()
        at = lambda found: found["status"].get("replicas", 0) == found["status"].get("readyReplicas", 0) == count  # noqa: E731
        namespace.until("apps/v1 Deployment", "workers", at, what=f"{count} workers are ready", patience=120)
        return time.monotonic() - began

    with (
        namespace.forwarded(f"service/{server.service}", server.port) as port,
        closing(redis.Redis(port=port)) as client,
    ):
        client.xadd(STREAM, {"job": 0})
        first = ready(1)
        for job in range(1, 30):
            client.xadd(STREAM, {"job": job})
        third = ready(3)
        client.delete(STREAM)
        none = ready(0)
    print(f"scaled 0 -> 1 in {first:.1f} s, 1 -> 3 in {third:.1f} s, 3 -> 0 in {none:.1f} s")


def is_ready(found: Object) -> bool:
    return any(
        each["type"] == "Ready" and each["status"] == "True" for each in found.get("status", {}).get("conditions", [])
    )
