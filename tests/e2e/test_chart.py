"""The chart on a cluster: install, upgrade, rollback and uninstall, each in a namespace of its own."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.testbed import REPOSITORY
from tests.kits.carts import ROWS, slow_sweep_of_carts
from tests.kits.kube_client import Cluster, Namespace, Object
from tests.kits.releases import (
    NAMESPACED,
    SCHEDULE,
    Release,
    apply,
    chart_of_next_version,
    ready,
    sqlite_schedule,
    temporary_namespace,
)

ROTATED = "rotated-by-hand"


@pytest.fixture(scope="module", autouse=True)
def crd(cluster: Cluster) -> None:
    cluster.apply((REPOSITORY / "manifests" / "crd.yaml").read_text())


@pytest.fixture(scope="module", autouse=True)
def rotated_release(crd: None, cluster: Cluster) -> Iterator[Release]:
    """A release whose queue got another password by hand.

    The probe takes more than a minute to restart the queue with it. So the release is there from the first test on, and the last one uses it.
    """
    with temporary_namespace(cluster, "rotated-password") as namespace:
        release = Release(namespace)
        release.install(NAMESPACED)
        assert release.password() not in (ROTATED, "")
        patch = json.dumps({"stringData": {"password": ROTATED}})
        namespace.kubectl("patch", "secret", f"{release.fullname}-redis", "--type=merge", "--patch", patch)
        yield release


def test_install_waits_for_a_leader_and_the_helm_test_sweeps_a_row(namespace: Namespace) -> None:
    release, began = Release(namespace), time.monotonic()
    release.install(NAMESPACED)
    installed = time.monotonic() - began
    assert namespace.get("v1 Pod", release.leader()) is not None, "a controller holds the Lease"
    apply(namespace, sqlite_schedule("at-once"))
    namespace.until(SCHEDULE, "at-once", lambda found: bool(found.get("status", {}).get("conditions")), what="served")
    served = time.monotonic() - began - installed
    output = release.test()
    found = re.search(r"([\d.]+) s  one row swept", output)
    assert found is not None, output
    print(f"\nhelm install --wait {installed:.1f} s, first condition {served:.1f} s, helm test: {found.group(1)} s")
    violations = [each for each in namespace.all("events.k8s.io/v1 Event") if "violates" in str(each.get("note"))]
    assert violations == []


def test_a_sweep_continues_during_an_upgrade_and_a_rollback(namespace: Namespace, tmp_path: Path) -> None:
    release = Release(namespace)
    release.install(NAMESPACED)
    with slow_sweep_of_carts(namespace) as carts:
        password, queue = release.password(), _uid(namespace, release)
        release.upgrade({**NAMESPACED, "controller.logLevel": "debug"}, chart_of_next_version(tmp_path))
        assert not carts.written(ROWS), "the upgrade was to happen during the sweep"
        assert_no_field_shared_with_helm(namespace, release)
        release.rollback(1)
        assert (release.password(), _uid(namespace, release)) == (password, queue)
        assert not carts.written(ROWS), "the rollback was to happen during the sweep"
        carts.full_speed()
        carts.until_swept_once()


def _restarted(pod: Object) -> bool:
    return any(each["restartCount"] and each["ready"] for each in pod["status"].get("containerStatuses", []))


def test_a_persistent_queue_survives_its_pod_and_its_release(namespace: Namespace) -> None:
    release, persistent = Release(namespace), {**NAMESPACED, "redis.persistence.enabled": "true"}
    release.install(NAMESPACED)
    password, queue = release.password(), _uid(namespace, release)
    release.upgrade({**persistent, "redis.maxmemory": "100mb"})
    before, queue = queue, _uid(namespace, release)
    assert queue != before, "changed settings restart the queue"
    assert release.password() == password
    assert release.redis("config", "get", "maxmemory", password=password).split() == ["maxmemory", "104857600"]
    assert release.redis("set", "kept", "1", password=password) == "OK"
    namespace.delete("v1 Pod", f"{release.fullname}-redis-0")
    namespace.until("v1 Pod", f"{release.fullname}-redis-0", _replaced(queue), what="a new pod is ready")
    assert release.redis("get", "kept", password=password) == "1"
    release.uninstall()
    release.install(persistent)
    assert release.password() != password, "the uninstall deleted the Secret"
    assert release.redis("get", "kept", password=release.password()) == "1", "the claim was kept"
    assert "one row swept" in release.test()


def test_an_uninstall_keeps_the_schedules_and_does_not_block_their_deletion(namespace: Namespace) -> None:
    release = Release(namespace)
    release.install(NAMESPACED)
    apply(namespace, sqlite_schedule("stays"))
    namespace.until(SCHEDULE, "stays", ready, what="Ready", patience=120)
    release.uninstall()
    left = namespace.get(SCHEDULE, "stays")
    assert left is not None
    assert "finalizers" not in left["metadata"]
    assert namespace.get("apps/v1 Deployment", "stays-worker")
    namespace.delete(SCHEDULE, "stays")
    namespace.until_gone(SCHEDULE, "stays")
    namespace.until_gone("apps/v1 Deployment", "stays-worker")
    namespace.until_gone("keda.sh/v1alpha1 ScaledObject", "stays-worker")
    remains = {
        f"{kind.split()[-1]}/{each['metadata']['name']}"
        for kind in (
            *("apps/v1 Deployment", "apps/v1 StatefulSet", "batch/v1 CronJob", "v1 Secret", "v1 Service"),
            *("rbac.authorization.k8s.io/v1 Role", "rbac.authorization.k8s.io/v1 RoleBinding"),
            *("coordination.k8s.io/v1 Lease", "keda.sh/v1alpha1 TriggerAuthentication"),
        )
        for each in namespace.all(kind)
    }
    assert remains == {"Secret/stays", "Secret/kubesweep-queue", f"Lease/{release.fullname}"}


def test_the_second_replica_takes_over_when_the_leader_is_deleted(namespace: Namespace) -> None:
    release = Release(namespace)
    release.install({**NAMESPACED, "controller.replicas": "2"})

    first = release.leader()
    namespace.delete("v1 Pod", first)
    namespace.until_gone("v1 Pod", first)
    namespace.rolled_out(release.fullname)
    assert "one row swept" in release.test()
    assert release.leader() != first


def test_a_password_that_was_rotated_by_hand_survives_upgrade_and_rollback(rotated_release: Release) -> None:
    release, pod = rotated_release, f"{rotated_release.fullname}-redis-0"
    restarted = "the probe restarts the queue with the new password"
    release.namespace.until("v1 Pod", pod, _restarted, what=restarted, patience=300)
    assert release.redis("ping", password=ROTATED) == "PONG"
    release.upgrade({**NAMESPACED, "controller.logLevel": "debug"})
    release.rollback(1)
    assert release.password() == ROTATED
    assert "one row swept" in release.test()


def assert_no_field_shared_with_helm(namespace: Namespace, release: Release) -> None:
    """Helm applies server-side and without force, so a field of another manager would fail the next upgrade."""
    kinds = ("apps/v1 Deployment", "apps/v1 StatefulSet", "v1 Service", "v1 Secret", "v1 ConfigMap")
    managers = {
        each["metadata"]["name"]: {entry["manager"] for entry in each["metadata"].get("managedFields", [])}
        for kind in kinds
        for each in namespace.all(kind)
    }
    assert managers["carts-worker"] & {"helm", "kubesweep"} == {"kubesweep"}
    assert managers[release.fullname] & {"helm", "kubesweep"} == {"helm"}
    assert [name for name, found in managers.items() if {"helm", "kubesweep"} <= found] == []


def _replaced(uid: str) -> Callable[[Object], bool]:
    def condition(pod: Object) -> bool:
        conditions = pod.get("status", {}).get("conditions", [])
        return pod["metadata"]["uid"] != uid and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    return condition


def _uid(namespace: Namespace, release: Release) -> str:
    pod = namespace.get("v1 Pod", f"{release.fullname}-redis-0")
    assert pod is not None
    return str(pod["metadata"]["uid"])
