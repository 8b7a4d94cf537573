"""The drain of a node during a sweep: the controllers and workers move to the other node, and no row is lost or written twice.

It needs two nodes: ``make e2e NODES=2``.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.e2e.test_drain import assert_swept_once
from tests.kits.conversations_app import EXPIRED, ConversationsApp
from tests.kits.deadlines import scaled
from tests.kits.kube_client import Cluster, Object
from tests.kits.schedules import workers_of
from tests.kits.slow_sweep import SLOW, STALE, slow_sweep_app, until_more_rows

TICKING = "ticking"
TWO_CONTROLLERS = {"controller.replicas": "2", "controller.podDisruptionBudget.enabled": "true"}
CONTROLLERS = "app.kubernetes.io/component=controller"
WORKERS = workers_of(EXPIRED)
ALL = ("--ignore-daemonsets", "--delete-emptydir-data", "--force")


@dataclass(frozen=True)
class Nodes:
    """``kept`` has the servers, and ``drained`` the controllers and workers until its drain."""

    kept: str
    drained: str

    def schedule_on(self, *names: str) -> None:
        """Let the scheduler use these nodes only."""
        for each in (self.kept, self.drained):
            subprocess.run(
                ["kubectl", "uncordon" if each in names else "cordon", each], check=True, capture_output=True
            )


@pytest.fixture
def nodes(cluster: Cluster) -> Iterator[Nodes]:
    names = sorted(each["metadata"]["name"] for each in cluster.all("v1 Node"))
    if len(names) < 2:
        pytest.skip("the cluster has one node: make e2e NODES=2")
    made = Nodes(*names[:2])
    yield made
    made.schedule_on(*names)


def ticking_schedule(app: ConversationsApp) -> Object:
    """A dry run on the controller's clock."""
    made = app.plain_schedule(TICKING, mode="DryRun", every="30s")
    del made["spec"]["schedule"]
    return made


def staying(pods: list[Object]) -> list[Object]:
    return [each for each in pods if "deletionTimestamp" not in each["metadata"]]


def ready(pod: Object) -> bool:
    return any(
        (each["type"], each["status"]) == ("Ready", "True") for each in pod.get("status", {}).get("conditions", ())
    )


def until_on(app: ConversationsApp, node: str, pods: str, number: int) -> None:
    """Wait until at least ``number`` pods with these labels are ready, and none is on another node."""

    def met(found: list[Object]) -> bool:
        return len([each for each in staying(found) if ready(each)]) >= number and all(
            each["spec"].get("nodeName") == node for each in found
        )

    app.namespace.until_all("v1 Pod", pods, met, what=f"{number} pods are ready on {node}, and all there", patience=180)


def start_on(app: ConversationsApp, node: str) -> None:
    """Move the controllers to the node, apply the schedule that ticks, and start a slow sweep."""
    app.namespace.kubectl("rollout", "restart", f"deployment/{app.release.fullname}")
    app.until_no_workers(EXPIRED)
    app.apply(ticking_schedule(app))
    app.until_condition(TICKING, "Ready", "True")
    app.slow_writes(SLOW)
    app.annotate(EXPIRED, "trigger", "drain")
    until_more_rows(app, 20)
    until_on(app, node, CONTROLLERS, 2)
    until_on(app, node, WORKERS, 1)


def drain(app: ConversationsApp, nodes: Nodes) -> None:
    """Drain the node. While no other node takes the first controller's successor, the budget protects the second controller."""
    nodes.schedule_on()
    command = ["kubectl", "drain", nodes.drained, *ALL, f"--timeout={scaled(300):.0f}s"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as draining:
        assert draining.stderr is not None
        try:
            refusal = next((line for line in draining.stderr if "disruption budget" in line), "")
            assert app.release.fullname in refusal
            [protected] = [each for each in staying(app.namespace.all("v1 Pod", CONTROLLERS)) if ready(each)]
            assert protected["spec"]["nodeName"] == nodes.drained
            nodes.schedule_on(nodes.kept)
            problems = draining.stderr.read()
            assert draining.wait() == 0, problems
        finally:
            draining.kill()


@pytest.mark.bed
def test_the_pods_of_a_drained_node_move_and_the_sweep_and_the_ticks_continue(cluster: Cluster, nodes: Nodes) -> None:
    nodes.schedule_on(nodes.kept)
    with slow_sweep_app(cluster, "two-nodes", **TWO_CONTROLLERS) as app:
        nodes.schedule_on(nodes.drained)
        start_on(app, nodes.drained)
        drain(app, nodes)
        done = app.count_expired()
        assert done < STALE, "the node was to be drained during the sweep"
        until_on(app, nodes.kept, CONTROLLERS, 2)
        until_on(app, nodes.kept, WORKERS, 1)
        app.full_speed()
        assert_swept_once(app)
        seen = app.status(TICKING)["lastSweep"]["tick"]
        app.until_status(
            TICKING,
            lambda status: status["lastSweep"]["tick"] > seen and status["lastSweep"]["state"] == "Completed",
            "a later tick has swept",
        )
        assert {each["spec"]["nodeName"] for each in app.namespace.all("v1 Pod")} == {nodes.kept}
