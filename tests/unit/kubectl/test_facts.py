"""What ``why`` and ``status`` read around a schedule, and what they make of objects that they may not read."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from kubectl_sweep.app import run
from kubesweep.api.crd import custom_resource_definition
from tests.unit.kubectl.api import Object, Request, page, serve, status, write_kubeconfig
from tests.unit.kubectl.objects import NAME, condition, deployment, pod, schedule, warning

Answer = Callable[[Request], tuple[int, Object | list[Object]]]


def world(found: Object, children: dict[str, Object], lists: dict[str, list[Object]], forbidden: set[str]) -> Answer:
    """A cluster with one schedule. ``children`` by name, ``lists`` and ``forbidden`` by the plural of the kind."""

    def answer(request: Request) -> tuple[int, Object | list[Object]]:
        *_, kind, last = request.path.split("/")
        if kind in forbidden or last in forbidden:
            return status(403, "Forbidden", f"cannot read {kind}")
        if kind == "sweepschedules":
            return 200, found
        if last in children:
            return 200, children[last]
        return page(*lists[last]) if last in lists else status(404, "NotFound", "not found")

    return answer


def why(folder: Path, answer: Answer, capsys: pytest.CaptureFixture[str]) -> tuple[Object, list[Request]]:
    with serve(answer) as api, pytest.raises(SystemExit):
        run(["why", NAME, "-o", "json", "--kubeconfig", write_kubeconfig(folder, api.url)])
    found: Object = json.loads(capsys.readouterr().out)
    return found, api.requests


NONE: dict[str, list[Object]] = {"pods": [], "jobs": [], "events": []}


def test_every_child_is_asked_for_by_its_name_or_label(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, requests = why(tmp_path, world(schedule(), {}, NONE, set()), capsys)
    paths = {request.path.partition("/namespaces/")[2]: request.query for request in requests}
    assert {
        "shop/deployments/close-idle-worker", "shop/cronjobs/close-idle-tick", "shop/scaledobjects/close-idle-worker",
        "shop/horizontalpodautoscalers/keda-hpa-close-idle-worker", "kubesweep/deployments/ks-kubesweep",
    } <= paths.keys()  # fmt: skip
    assert paths["shop/pods"]["labelSelector"] == "kubesweep.dev/schedule=close-idle"
    assert (
        paths["shop/jobs"]["labelSelector"] == "kubesweep.dev/schedule=close-idle,app.kubernetes.io/component=producer"
    )
    assert paths["shop/events"]["fieldSelector"] == "type=Warning"


def test_pods_and_their_events_lead_to_the_cause(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stuck = pod(waiting={"reason": "ImagePullBackOff", "message": "not found"})
    name = stuck["metadata"]["name"]
    events = [
        warning(name, "Failed", "the registry says no"),
        warning("other-worker-1", "Failed", "of another schedule"),
    ]
    lists = {"pods": [stuck], "jobs": [], "events": events}
    found, _ = why(tmp_path, world(schedule(), {f"{NAME}-worker": deployment()}, lists, set()), capsys)
    assert found["cause"] == "ImageNotPulled"
    assert found["evidence"] == [f"Event about {name}: Failed: the registry says no"]


def test_what_may_not_be_read_is_named_and_the_rest_decides(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    silent = condition("KeepingUp", "False", "FallingBehind", "200 in, 100 out")
    answer = world(schedule(silent), {}, NONE, {"pods", "events", "deployments"})
    found, _ = why(tmp_path, answer, capsys)
    assert found["cause"] == "FallingBehind"
    assert found["evidence"][-1] == "You may not read pods, deployments, events, so what they show is not considered."


def controller(release: str) -> Object:
    return {"metadata": {"name": "ks-kubesweep", "labels": {"app.kubernetes.io/version": release}}}


@pytest.mark.parametrize(
    ("release", "forbidden", "cause"),
    [
        (version("kubesweep"), set(), "CrdOutdated"),
        ("0.0.1", set(), "Well"),
        (version("kubesweep"), {"customresourcedefinitions"}, "Well"),
    ],
)
def test_a_crd_without_fields_of_the_controllers_version_is_outdated(
    tmp_path: Path, release: str, forbidden: set[str], cause: str, capsys: pytest.CaptureFixture[str]
) -> None:
    crd = custom_resource_definition()
    del crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["limits"]
    children = {"ks-kubesweep": controller(release), "sweepschedules.kubesweep.dev": crd}
    found, _ = why(tmp_path, world(schedule(), children, NONE, forbidden), capsys)
    assert found["cause"] == cause, found
    assert ("spec.limits" in found["sentence"]) is (cause == "CrdOutdated")
    assert found["well"] is (cause == "Well")
