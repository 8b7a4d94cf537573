"""The pods of a schedule: of its CronJob, of a Job created by hand, and workers that are deleted or evicted."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.kits.conversations_app import EXPIRED, NEVER, ConversationsApp, config_map, conversations_app
from tests.kits.deadlines import scaled
from tests.kits.kube_client import Cluster, Object
from tests.kits.polling import eventually

ROWS = 10_000
STALE = ROWS * 2 // 10


@pytest.fixture(scope="module")
def shared_app(cluster: Cluster) -> Iterator[ConversationsApp]:
    with conversations_app(cluster, "pods", ROWS) as made:
        yield made


@pytest.fixture
def app(shared_app: ConversationsApp) -> ConversationsApp:
    """The application with its initial rows, whatever the previous test did."""
    with shared_app.connect() as root:
        root.execute(b"UPDATE conversations SET status = 'pending' WHERE status = 'expired'")
    return shared_app


def test_a_cronjob_ticks_on_its_minute_and_a_manual_job_at_once(app: ConversationsApp) -> None:
    app.apply(app.plain_schedule("ticking", schedule="* * * * *"))
    ticked = app.until_completed("ticking", patience=150)
    assert ticked["tick"].endswith(":00Z")
    assert (ticked["applied"], app.count_expired()) == (STALE, STALE)
    app.apply(app.plain_schedule("ticking", schedule=NEVER))
    app.until_condition("ticking", "Ready", "True", patience=90)
    last = app.status("ticking")["lastSweep"]

    app.namespace.kubectl("create", "job", "--from=cronjob/ticking-tick", "by-hand")
    app.namespace.kubectl("wait", "job/by-hand", "--for=condition=Complete", f"--timeout={scaled(60):.0f}s")
    answer = json.loads(app.namespace.logs("job/by-hand"))
    assert (answer["answer"], answer["message"].endswith("a sweep begins")) == ("enqueued", True)

    def done(status: Object) -> bool:
        sweep = status["lastSweep"]
        return bool(sweep["id"] != last["id"] and sweep["state"] == "Completed")

    by_hand = app.until_status("ticking", done, "the sweep of the Job is Completed")["lastSweep"]
    assert by_hand["id"] == answer["sweep"]
    assert by_hand["tick"] > last["tick"]
    app.delete("ticking")
    app.namespace.until_gone("batch/v1 CronJob", "ticking-tick")


def test_deleted_or_evicted_workers_lose_and_repeat_nothing(app: ConversationsApp) -> None:
    sweep = app.example_schedule(EXPIRED, limits={"batchRows": 10})
    sweep["spec"]["effect"]["webhook"]["timeout"] = "60s"  # a slow receiver must not look unreachable
    app.apply(sweep)
    app.until_condition(EXPIRED, "Ready", "True", patience=120)
    app.slow_writes(0.5)
    app.annotate(EXPIRED, "trigger", "1")
    for number in range(4):
        goal = 20 * number
        eventually(f"{goal} rows are swept", 120, lambda goal=goal: app.count_expired() >= goal)  # type: ignore[misc]
        pods = eventually("there is a worker", 60, lambda: running_workers(app))
        if number % 2:
            app.namespace.kubectl("delete", "pod", pods[0], "--wait=false")
        else:
            evict(app, pods[0])
    assert app.count_expired() < STALE
    app.full_speed()
    sweep = app.until_completed(EXPIRED)
    assert (sweep["planned"], sweep["applied"], app.count_expired()) == (STALE, STALE, STALE)
    assert app.receiver_summary() == {"requests": STALE, "keys": STALE, "duplicates": 0}
    app.until_no_workers(EXPIRED)


SLOW_START = """
import os, time
if os.getpid() == 1:
    until = time.monotonic() + 60
    while not os.path.exists("/tmp/hook") and time.monotonic() < until:
        time.sleep(0.02)
else:
    open("/tmp/hook", "w").close()
"""


def test_a_worker_deleted_before_its_program_starts_terminates(app: ConversationsApp) -> None:
    """Process 1 starts the program only once the preStop hook runs, so the pod is deleted before the program handles signals."""
    code = {"name": "start", "configMap": {"name": "start"}}
    container = {"name": "worker", "volumeMounts": [{"name": "start", "mountPath": "/start"}]}
    spec = {"terminationGracePeriodSeconds": 600, "containers": [container], "volumes": [code]}
    env = [{"name": "PYTHONPATH", "value": "/start"}]
    app.namespace.apply(config_map("start", {"sitecustomize.py": SLOW_START}))
    app.apply(app.plain_schedule("starting", worker={"minReplicas": 1, "env": env, "podTemplate": {"spec": spec}}))
    [pod] = eventually("there is a worker", 120, lambda: running_workers(app, "starting"))
    app.namespace.delete("v1 Pod", pod)
    app.namespace.until_gone("v1 Pod", pod, patience=300)
    app.delete("starting")


def running_workers(app: ConversationsApp, name: str = EXPIRED) -> list[str]:
    """Names of the worker pods that run and are not terminating."""
    found = [one for one in app.worker_pods(name) if "deletionTimestamp" not in one["metadata"]]
    return [one["metadata"]["name"] for one in found if one["status"]["phase"] == "Running"]


def evict(app: ConversationsApp, pod: str) -> None:
    """Evict the pod, as a drain of the node does."""
    where = {"name": pod, "namespace": app.namespace.name}
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": where}
    path = f"/api/v1/namespaces/{app.namespace.name}/pods/{pod}/eviction"
    app.namespace.kubectl("create", "--raw", path, "--filename", "-", stdin=json.dumps(body))
