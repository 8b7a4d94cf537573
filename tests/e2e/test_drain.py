"""Workers that terminate during a sweep: scaled down by KEDA, or drained with their node.

Each finishes the jobs that it has claimed, so no row is lost, and none is written or sent to the receiver twice.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.kits.conversations_app import EXPIRED, ConversationsApp
from tests.kits.deadlines import scaled
from tests.kits.kube_client import Cluster, Object
from tests.kits.schedules import workers_of
from tests.kits.slow_sweep import SLOW, STALE, WORKERS, slow_sweep_app, until_more_rows


@pytest.fixture
def app(cluster: Cluster) -> Iterator[ConversationsApp]:
    with slow_sweep_app(cluster, "drain") as made:
        yield made


def workers(app: ConversationsApp, *numbers: int) -> list[Object]:
    """Wait until the number of worker pods is one of ``numbers`` and all are ready. Returns the pods."""

    def ready(found: list[Object]) -> bool:
        return len(found) in numbers and all(
            "deletionTimestamp" not in each["metadata"] and _is(each, "Ready", "True") for each in found
        )

    return app.namespace.until_all(
        "v1 Pod", workers_of(EXPIRED), ready, what=f"{numbers} workers are ready", patience=120
    )


def _is(pod: Object, type_: str, status: str) -> bool:
    return any((each["type"], each["status"]) == (type_, status) for each in pod["status"].get("conditions") or ())


def assert_swept_once(app: ConversationsApp) -> None:
    """The sweep completed, and each row was written once and sent to the receiver once."""
    sweep = app.until_completed(EXPIRED, patience=600)
    assert (sweep["planned"], sweep["applied"], sweep["retrying"], sweep["dead"]) == (STALE, STALE, 0, 0), sweep
    assert "history" not in app.status(EXPIRED)
    assert (
        app.query_value("SELECT count(*) FROM written")
        == app.query_value("SELECT count(DISTINCT id) FROM written")
        == STALE
    )
    assert app.count_expired() == STALE
    assert app.receiver_summary() == {"requests": STALE, "keys": STALE, "duplicates": 0}


def limit_replicas(app: ConversationsApp, replicas: int) -> None:
    patch = json.dumps({"spec": {"maxReplicaCount": replicas}})
    app.namespace.kubectl("patch", "scaledobject", f"{EXPIRED}-worker", "--type=merge", f"--patch={patch}")


def drain(app: ConversationsApp, pods: list[Object]) -> None:
    """Drain every node of the workers, and uncordon them once the schedule reports that no pod can be scheduled."""
    nodes = [each["metadata"]["name"] for each in app.namespace.cluster.all("v1 Node")]
    chosen = f"--pod-selector=kubesweep.dev/schedule={EXPIRED}"
    try:
        began = time.monotonic()
        for node in nodes:
            app.namespace.kubectl("drain", node, chosen, "--delete-emptydir-data", f"--timeout={scaled(180):.0f}s")
        print(f"{time.monotonic() - began:6.1f} s  until {len(pods)} workers had finished their jobs and terminated")
        done = app.count_expired()
        assert done < STALE, "the node was to be drained during the sweep"
        assert "unschedulable" in app.until_condition(EXPIRED, "Ready", "False", "WorkerStuck")
        assert app.count_expired() == done
    finally:
        for node in nodes:
            app.namespace.kubectl("uncordon", node)


@pytest.mark.bed
def test_workers_scaled_down_or_drained_lose_and_repeat_nothing(app: ConversationsApp) -> None:
    app.slow_writes(SLOW)
    app.annotate(EXPIRED, "trigger", "drain")
    until_more_rows(app, 1)
    workers(app, WORKERS)
    limit_replicas(app, 1)  # of the ScaledObject only; the schedule stays unchanged
    workers(app, 1)
    limit_replicas(app, WORKERS)
    until_more_rows(app, 20)
    drain(app, workers(app, 2, WORKERS))  # as many as KEDA computes from the queue
    app.full_speed()
    assert_swept_once(app)
