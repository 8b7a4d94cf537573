"""A short Job is deleted whatever happens, and its pod is explained if it does not start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubectl_sweep.cluster.client import Cluster, connect
from kubectl_sweep.cluster.errors import Forbidden
from kubectl_sweep.cluster.options import ClusterOptions
from kubectl_sweep.pods.short_job import ShortJob
from kubesweep.errors import KubesweepError, Outage
from tests.unit.controller.test_children import deployment
from tests.unit.kubectl.api import Api, Object, Request, page, serve, status, write_kubeconfig

SCHEDULE: Object = {"metadata": {"namespace": "shop", "name": "carts", "uid": "u1"}}
Answer = tuple[int, Object | list[Object]]


def pod(**status_: Any) -> Object:
    meta = {"name": "carts-check-x", "namespace": "shop", "uid": "p1", "resourceVersion": "11"}
    return {"metadata": meta, "spec": {"containers": [{"name": "worker", "image": "shop:1"}]}, "status": status_}


def container(state: Object) -> Object:
    return {"containerStatuses": [{"name": "worker", "image": "shop:1", "state": state}]}


ENDED = pod(phase="Succeeded", **container({"terminated": {"exitCode": 1, "reason": "Error"}}))


class World:
    """An API server with a Deployment and at most one pod of the Job. ``create``: the answer to the Job's creation."""

    def __init__(self, found: Object | None = None, events: list[Object] | None = None) -> None:
        self.pod, self.events = found, events or []
        self.create: Callable[[Request], Answer] = lambda request: (
            201,
            {**request.body, "metadata": {**request.body["metadata"], "uid": "j1"}},
        )

    def answer(self, request: Request) -> Answer:
        resource = request.path.split("/namespaces/shop/")[-1].split("/")
        if request.method == "POST":
            return self.create(request)
        if request.method == "DELETE":
            return 200, {}
        if resource[0] == "deployments":
            return 200, deployment()
        if resource[0] == "events":
            return page(*self.events)
        if resource[-1] == "log":
            return 200, {"kind": "CheckReport"}
        if "watch" in request.query:
            return 200, []
        return page(*([self.pod] if self.pod else []))


def run(world: World, folder: Path, said: list[str] | None = None) -> tuple[tuple[int, str] | KubesweepError, Api]:
    with serve(world.answer) as api:
        made = connect(ClusterOptions(kubeconfig=write_kubeconfig(folder, api.url)))
        cluster = Cluster(made.transport, made.namespace, pause=lambda seconds: None)
        try:
            return ShortJob(cluster, (said if said is not None else []).append).run(
                SCHEDULE, "check", ["kubesweep-worker", "check"]
            ), api
        except KubesweepError as error:
            return error, api


def deleted(api: Api) -> list[str]:
    return [request.path for request in api.requests if request.method == "DELETE"]


def created(api: Api) -> str:
    (name,) = [request.body["metadata"]["name"] for request in api.requests if request.method == "POST"]
    return f"/apis/batch/v1/namespaces/shop/jobs/{name}"


def test_the_exit_code_and_the_log_are_returned_and_the_job_is_deleted(tmp_path: Path) -> None:
    found, api = run(World(ENDED), tmp_path)
    assert found == (1, '{"kind": "CheckReport"}')
    assert deleted(api) == [created(api)]
    (request,) = [each for each in api.requests if each.method == "DELETE"]
    assert request.body == {"propagationPolicy": "Background", "preconditions": {"uid": "j1"}}


@pytest.mark.parametrize(
    ("world", "reason", "sentence"),
    [
        (World(pod(phase="Pending", **container({"waiting": {"reason": "ImagePullBackOff"}}))), "PodNotStarted", "cannot be pulled"),
        (World(events=[{"reason": "FailedCreate", "note": "exceeded quota: small"}]), "PodNotStarted", "a ResourceQuota refuses"),
        (World(pod(phase="Failed", reason="Evicted")), "PodFailed", "the pod failed: Evicted"),
    ],
)  # fmt: skip
def test_a_pod_that_cannot_run_is_explained_and_the_job_is_deleted(
    world: World, reason: str, sentence: str, tmp_path: Path
) -> None:
    found, api = run(world, tmp_path)
    assert isinstance(found, Outage)
    assert (found.reason, sentence in str(found)) == (reason, True)
    assert deleted(api) == [created(api)]


def test_a_job_is_deleted_by_its_name_where_the_answer_to_its_creation_was_lost(tmp_path: Path) -> None:
    world = World()
    world.create = lambda request: status(500, "InternalError", "etcd timed out")
    found, api = run(world, tmp_path)
    assert isinstance(found, Outage)
    assert deleted(api)[-1] == created(api)


def test_a_job_that_is_refused_is_reported_as_a_missing_right(tmp_path: Path) -> None:
    world = World()
    world.create = lambda request: status(
        403, "Forbidden", "jobs.batch is forbidden: User cannot create resource", kind="jobs"
    )
    found, _ = run(world, tmp_path)
    assert isinstance(found, Forbidden)
    assert "the right to create jobs in namespace shop" in str(found)


def test_a_schedule_without_a_deployment_says_who_creates_it(tmp_path: Path) -> None:
    world = World()
    answer = world.answer
    world.answer = lambda request: status(404, "NotFound", "no") if "deployments" in request.path else answer(request)  # type: ignore[method-assign]
    found, api = run(world, tmp_path)
    assert "kubectl sweep why carts -n shop" in str(found)
    assert [request for request in api.requests if request.method == "POST"] == []
