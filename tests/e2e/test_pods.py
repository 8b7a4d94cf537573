"""The pods of a schedule in their cluster: the CronJob's, a Job's that a person makes, and workers that are asked to go."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.kits.conversations_app import EXPIRED, NEVER, Desk, becomes, config_map, desk
from tests.kits.deadlines import scaled
from tests.kits.kube_client import Cluster, Object

ROWS = 10_000
STALE = ROWS * 2 // 10


@pytest.fixture(scope="module")
def open_desk(cluster: Cluster) -> Iterator[Desk]:
    with desk(cluster, "pods", ROWS) as made:
        yield made


@pytest.fixture
def support(open_desk: Desk) -> Desk:
    """The desk as it was at first, whatever the test before did."""
    with open_desk.sql() as root:
        root.execute(b"UPDATE conversations SET status = 'pending' WHERE status = 'expired'")
    return open_desk


def test_a_cronjob_ticks_on_its_minute_and_a_job_made_by_hand_now(support: Desk) -> None:
    support.apply(support.plain("ticking", schedule="* * * * *"))
    ticked = support.completed("ticking", patience=150)
    assert ticked["tick"].endswith(":00Z")
    assert (ticked["applied"], support.expired()) == (STALE, STALE)
    support.apply(support.plain("ticking", schedule=NEVER))
    support.is_("ticking", "Ready", "True", patience=90)
    last = support.status("ticking")["lastSweep"]

    support.here.kubectl("create", "job", "--from=cronjob/ticking-tick", "by-hand")
    support.here.kubectl("wait", "job/by-hand", "--for=condition=Complete", f"--timeout={scaled(60):.0f}s")
    said = json.loads(support.here.logs("job/by-hand"))
    assert (said["answer"], said["message"].endswith("a sweep begins")) == ("enqueued", True)

    def done(status: Object) -> bool:
        sweep = status["lastSweep"]
        return bool(sweep["id"] != last["id"] and sweep["state"] == "Completed")

    by_hand = support.until("ticking", done, "the sweep of the Job is Completed")["lastSweep"]
    assert by_hand["id"] == said["sweep"]
    assert by_hand["tick"] > last["tick"]
    support.delete("ticking")
    support.here.until_gone("batch/v1 CronJob", "ticking-tick")


def test_workers_that_are_asked_to_go_lose_and_repeat_nothing(support: Desk) -> None:
    sweep = support.example(EXPIRED, limits={"batchRows": 10})
    sweep["spec"]["effect"]["webhook"]["timeout"] = "60s"  # a receiver that is slow must not look like one that is away
    support.apply(sweep)
    support.is_(EXPIRED, "Ready", "True", patience=120)
    support.slow(0.5)
    support.order(EXPIRED, "trigger", "1")
    for number in range(4):
        goal = 20 * number
        becomes(f"{goal} rows are swept", 120, lambda goal=goal: support.expired() >= goal)  # type: ignore[misc]
        pods = becomes("there is a worker", 60, lambda: alive(support))
        if number % 2:
            support.here.kubectl("delete", "pod", pods[0], "--wait=false")
        else:
            evict(support, pods[0])
    assert support.expired() < STALE
    support.fast()
    sweep = support.completed(EXPIRED)
    assert (sweep["planned"], sweep["applied"], support.expired()) == (STALE, STALE, STALE)
    assert support.received() == {"requests": STALE, "keys": STALE, "duplicates": 0}
    support.asleep(EXPIRED)


SLOW_START = """
import os, time
if os.getpid() == 1:
    until = time.monotonic() + 60
    while not os.path.exists("/tmp/hook") and time.monotonic() < until:
        time.sleep(0.02)
else:
    open("/tmp/hook", "w").close()
"""


def test_a_worker_that_is_asked_to_go_before_it_can_hear_it_goes_all_the_same(support: Desk) -> None:
    """The interpreter of its first process does not begin with the program before somebody wants its end."""
    code = {"name": "start", "configMap": {"name": "start"}}
    container = {"name": "worker", "volumeMounts": [{"name": "start", "mountPath": "/start"}]}
    spec = {"terminationGracePeriodSeconds": 600, "containers": [container], "volumes": [code]}
    env = [{"name": "PYTHONPATH", "value": "/start"}]
    support.here.apply(config_map("start", {"sitecustomize.py": SLOW_START}))
    support.apply(support.plain("starting", worker={"minReplicas": 1, "env": env, "podTemplate": {"spec": spec}}))
    [pod] = becomes("there is a worker", 120, lambda: alive(support, "starting"))
    support.here.delete("v1 Pod", pod)
    support.here.until_gone("v1 Pod", pod, patience=300)
    support.delete("starting")


def alive(support: Desk, name: str = EXPIRED) -> list[str]:
    """Workers that run and were not asked to go."""
    found = [one for one in support.pods(name) if "deletionTimestamp" not in one["metadata"]]
    return [one["metadata"]["name"] for one in found if one["status"]["phase"] == "Running"]


def evict(support: Desk, pod: str) -> None:
    """As a drain of the node does it."""
    where = {"name": pod, "namespace": support.here.name}
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": where}
    path = f"/api/v1/namespaces/{support.here.name}/pods/{pod}/eviction"
    support.here.kubectl("create", "--raw", path, "--filename", "-", stdin=json.dumps(body))
