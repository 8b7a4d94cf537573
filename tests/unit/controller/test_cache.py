"""The cache of cluster state, and what follows from it for the children."""

from __future__ import annotations

from typing import Any

import pytest

from kubesweep.queue.model import Stats
from kubesweep_controller.children.observed import observe_child
from kubesweep_controller.kube.apply import covers
from kubesweep_controller.kube.cache import Cache
from kubesweep_controller.kube.client import CRONJOBS, DEPLOYMENTS, SCHEDULES
from kubesweep_controller.reconcile.suspension import LEASE, may_scale_to_zero
from kubesweep_controller.status.stuck_pods import crash_loop, why_stuck

A = ("shop", "a")


def schedule(name: str = "a", version: str = "5", uid: str = "u1", **more: Any) -> dict[str, Any]:
    meta = {"namespace": "shop", "name": name, "uid": uid, "resourceVersion": version, "managedFields": [{}]}
    return {"metadata": meta, "spec": {"schedule": "* * * * *"}, **more}


def child(
    kind: str, name: str, version: str = "5", schedule: str = "a", uid: str = "c1", **more: Any
) -> dict[str, Any]:
    meta = {
        "namespace": "shop",
        "name": name,
        "uid": uid,
        "resourceVersion": version,
        "generation": 1,
        "labels": {"kubesweep.dev/schedule": schedule},
        "creationTimestamp": "2026-03-01T00:00:00Z",
    }
    return {"kind": kind, "metadata": meta, **more}


def test_the_cache_requests_a_reconcile_only_for_changes() -> None:
    cache = Cache()
    assert cache.update(SCHEDULES, schedule()) == A
    assert "managedFields" not in cache.schedules[A]["metadata"]
    assert cache.update(SCHEDULES, schedule(version="6")) is None
    assert cache.update(SCHEDULES, schedule(version="7", status={"x": 1})) == A
    assert cache.update(SCHEDULES, schedule(version="6")) is None
    assert cache.schedules[A]["status"] == {"x": 1}
    assert cache.update(SCHEDULES, schedule(version="8"), deleted=True) == A
    assert A not in cache.schedules


def test_a_late_word_of_the_deleted_one_does_not_hide_the_schedule_made_after_it() -> None:
    cache = Cache()
    cache.update(SCHEDULES, schedule(uid="new", version="9"))
    cache.update(SCHEDULES, schedule(uid="old", version="8"), deleted=True)
    assert cache.schedules[A]["metadata"]["uid"] == "new"


def test_a_full_list_drops_what_it_lacks_in_its_namespace_only() -> None:
    cache = Cache()
    cache.update(SCHEDULES, schedule("a"))
    cache.update(SCHEDULES, schedule("b", uid="u2"))
    cache.update(DEPLOYMENTS, child("Deployment", "a-worker"))
    assert cache.replace(SCHEDULES, [schedule("b", uid="u2")], "elsewhere") == set()
    assert cache.replace(SCHEDULES, [schedule("b", uid="u2")], "shop") == {A}
    assert cache.replace(DEPLOYMENTS, [], None) == {A}
    assert cache.deployment(A) is None


def test_an_object_that_only_has_the_label_is_no_child() -> None:
    cache = Cache()
    assert cache.update(DEPLOYMENTS, child("Deployment", "something-else")) is None
    assert cache.update(CRONJOBS, child("CronJob", "a-worker")) is None
    assert cache.update(CRONJOBS, child("CronJob", "a-tick")) == A


def test_of_a_deployment_the_plan_the_numbers_and_its_trouble_are_kept() -> None:
    template = {"spec": {"containers": [{"name": "worker", "env": [{"name": "KUBESWEEP_PLAN", "value": "{}"}]}]}}
    body = child("Deployment", "a-worker", spec={"replicas": 3, "template": template})
    body["status"] = {
        "readyReplicas": 2,
        "conditions": [{"type": "ReplicaFailure", "status": "True", "message": "quota"}],
    }
    observed = observe_child(body)
    assert (observed.plan, observed.desired, observed.ready, observed.failure) == ("{}", 3, 2, "quota")
    assert observed.since == 1772323200.0


def test_the_reason_why_a_pod_does_not_start_is_reported() -> None:
    deployment = observe_child(child("Deployment", "a-worker", spec={"replicas": 1}))
    waiting = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    pod = {"metadata": {"name": "a-worker-1"}, "status": {"containerStatuses": [waiting]}}
    assert why_stuck(deployment, [pod]) == "pod a-worker-1: ImagePullBackOff: no such image"
    starting = {"state": {"waiting": {"reason": "ContainerCreating"}}}
    assert why_stuck(deployment, [{"metadata": {"name": "p"}, "status": {"containerStatuses": [starting]}}]) is None
    unplaced = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
    assert why_stuck(deployment, [{"metadata": {"name": "p"}, "status": {"conditions": [unplaced]}}]) == (
        "pod p: Unschedulable: 0/1 nodes"
    )
    ready = observe_child(child("Deployment", "a-worker", spec={"replicas": 1}, status={"readyReplicas": 1}))
    assert why_stuck(ready, [pod]) is None


def test_a_container_that_the_kubelet_restarts_ever_later_is_in_a_crash_loop() -> None:
    def pod(reason: str, kind: str = "containerStatuses", **metadata: str) -> dict[str, Any]:
        return {"metadata": {"name": "p", **metadata}, "status": {kind: [{"state": {"waiting": {"reason": reason}}}]}}

    running = {"metadata": {"name": "p"}, "status": {"containerStatuses": [{"state": {"running": {}}}]}}
    assert crash_loop([running, pod("CrashLoopBackOff")])
    assert crash_loop([pod("CrashLoopBackOff", "initContainerStatuses")])
    assert not crash_loop([running, pod("ImagePullBackOff"), {"metadata": {"name": "new"}}])
    assert not crash_loop([pod("CrashLoopBackOff", deletionTimestamp="2026-01-01T00:00:00Z")])


@pytest.mark.parametrize(
    ("live", "wanted", "same"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 2}, False),
        ({}, {"a": False}, True),
        ({}, {"a": True}, False),
        ({"l": [1, 2]}, {"l": [1]}, False),
        ({"env": [{"name": "x", "value": "1"}, {"name": "theirs"}]}, {"env": [{"name": "x", "value": "1"}]}, True),
        ({"env": [{"name": "x", "value": "2"}]}, {"env": [{"name": "x", "value": "1"}]}, False),
        (
            {"refs": [{"name": "s", "key": "a"}, {"name": "s", "key": "b"}]},
            {"refs": [{"name": "s", "key": "a"}] * 2},
            False,
        ),
        (
            {"refs": [{"name": "s", "key": "a"}, {"name": "s", "key": "b"}]},
            {"refs": [{"name": "s", "key": "a"}, {"name": "s", "key": "b"}]},
            True,
        ),
        ({"requests": {"cpu": "500m", "memory": "1Gi"}}, {"requests": {"cpu": 0.5, "memory": "1024Mi"}}, True),
        ({"requests": {"cpu": "1"}}, {"requests": {"cpu": "500m"}}, False),
        ({"value": "1"}, {"value": "1000m"}, False),
        ({"emptyDir": {}}, {"emptyDir": {}}, True),
        ({}, {"emptyDir": {}}, False),
    ],
)
def test_what_is_in_the_cluster_covers_what_is_wanted(live: Any, wanted: Any, same: bool) -> None:
    assert covers(live, wanted) is same


@pytest.mark.parametrize(
    ("suspended", "at_zero", "stats", "since", "may"),
    [
        (False, True, Stats(known=True, paused=True), 0.0, False),
        (True, False, Stats(known=True, paused=True, running=0), None, True),
        (True, False, Stats(known=True, paused=True, running=2), 100.0, False),
        (True, False, Stats(known=True, paused=True, running=2), 100.0 - LEASE, True),
        (True, False, Stats(known=True, paused=False, running=0), None, False),
        (True, True, Stats(known=True, paused=True, running=1), None, True),
        (True, False, None, None, False),
        (True, False, None, 100.0 - LEASE, True),
        (True, False, Stats(), None, True),
    ],
)
def test_workers_of_a_suspended_schedule_are_removed_when_no_job_runs(
    suspended: bool, at_zero: bool, stats: Stats | None, since: float | None, may: bool
) -> None:
    assert may_scale_to_zero(suspended=suspended, at_zero=at_zero, stats=stats, since=since, now=100.0) is may


def test_a_late_list_of_the_deleted_one_does_not_hide_the_schedule_made_after_it() -> None:
    cache = Cache()
    cache.update(SCHEDULES, schedule(uid="new", version="9"))
    cache.page(SCHEDULES, [schedule(uid="old", version="7")])
    assert cache.schedules[A]["metadata"]["uid"] == "new"
    cache.update(SCHEDULES, schedule(uid="newest", version="12"))
    assert cache.schedules[A]["metadata"]["uid"] == "newest"
