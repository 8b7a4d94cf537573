"""docs/platforms.md: every YAML block is rendered, compiled or validated by its kind. So are the values on other pages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import kubernetes_validate
import pytest
import yaml

from kubesweep import load_object
from kubesweep.api.compile import compile_plan
from kubesweep_controller.children.pod_settings import PodSettings
from kubesweep_controller.children.workloads import build_cronjob, build_deployment
from tests.chart.rendering import (
    CHART,
    CUSTOM_KINDS,
    NAMESPACE,
    ROOT,
    VERSIONS,
    Object,
    environment,
    helm,
    is_hook,
    kinds,
    one,
    pods,
)

PLATFORMS = ROOT / "docs" / "platforms.md"
BLOCK = re.compile(r"^(?:<!-- (?P<mark>[\w: -]+?) -->\n)?```yaml\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
PATHS = {"helmrelease": "values", "application": "source.helm.valuesObject", "kustomize": "helmCharts.0.valuesInline"}
URL = "redis://ks@redis.kubesweep-system.svc:6379/0?password_file=/run/kubesweep/queue/password"


class Block(NamedTuple):
    page: str
    line: int
    mark: str  # the block's kind, and after a colon its name
    text: str

    @property
    def body(self) -> Any:
        return yaml.safe_load(self.text)


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("text")) + 1
        yield Block(page.name, line, found["mark"] or "", found["text"])


ALL = list(blocks(PLATFORMS))
MARKED = [
    *ALL,
    *(each for page in ROOT.glob("docs/*.md") if page != PLATFORMS for each in blocks(page) if each.mark == "values"),
]


def of(kind: str) -> list[Any]:
    found = [each for each in MARKED if each.mark.partition(":")[0] == kind]
    return [pytest.param(each, id=f"{each.page}:{each.line}") for each in found]


def marked(mark: str) -> Block:
    [found] = [each for each in ALL if each.mark == mark]
    return found


def values_of(block: Block) -> dict[str, Any]:
    """The chart's values in a block."""
    kind = block.mark.partition(":")[0]
    found = block.body if kind == "values" else block.body if kind == "kustomize" else block.body["spec"]
    for step in filter(None, PATHS.get(kind, "").split(".")):
        found = found[int(step)] if step.isdecimal() else found[step]
    return dict(found)


def rendered(values: dict[str, Any], tmp_path: Path) -> list[Object]:
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    made = helm("template", "kubesweep", str(CHART), "--namespace", NAMESPACE, "--values", str(file))
    return [each for each in yaml.safe_load_all(made) if each]


def children(body: Object) -> tuple[Object, Object]:
    """The Deployment and the CronJob that the controller builds for a schedule."""
    body = {**body, "metadata": {**body["metadata"], "uid": "8b5f6f0e-0000-4000-8000-000000000001", "generation": 1}}
    schedule = load_object(body)
    plan, workers = compile_plan(schedule, install="abcd1234"), PodSettings("worker:1")
    meta = body["metadata"]
    deployment = build_deployment(meta, schedule, plan, URL, workers)
    return deployment, build_cronjob(meta, schedule, plan, URL, workers, "2027-01-15T08:00:00Z")


def pod_template(cronjob: Object) -> Object:
    return dict(cronjob["spec"]["jobTemplate"]["spec"]["template"])


def test_every_yaml_block_of_the_page_has_a_test() -> None:
    known = {"values", "schedule", "objects", *PATHS}
    assert len(ALL) > 10
    assert [each for each in ALL if each.mark.partition(":")[0] not in known] == []


@pytest.mark.parametrize("block", [*of("values"), *(each for kind in PATHS for each in of(kind))])
def test_values_render_to_valid_objects(block: Block, tmp_path: Path) -> None:
    for made in rendered(values_of(block), tmp_path):
        if made["kind"] not in CUSTOM_KINDS:
            assert kubernetes_validate.validate(made, VERSIONS[-1], strict=True) == VERSIONS[-1]


@pytest.mark.parametrize("block", of("schedule"))
def test_a_schedules_children_are_valid_objects(block: Block) -> None:
    for made in children(block.body):
        assert kubernetes_validate.validate(made, VERSIONS[-1], strict=True) == VERSIONS[-1]


@pytest.mark.parametrize("block", of("objects"))
def test_other_objects_are_valid(block: Block) -> None:
    for made in yaml.safe_load_all(block.text):
        assert kubernetes_validate.validate(made, VERSIONS[-1], strict=True) == VERSIONS[-1]


@pytest.mark.parametrize("kind", ["application", "kustomize"])
def test_a_rendering_for_gitops_has_no_test_no_schedule_and_no_password(kind: str, tmp_path: Path) -> None:
    made = rendered(values_of(marked(kind)), tmp_path)
    assert [each for each in made if is_hook(each) or each["kind"] in ("Pod", "SweepSchedule")] == []
    secret = one(made, "Secret")
    assert not {"data", "stringData"} & secret.keys()
    assert made == rendered(values_of(marked(kind)), tmp_path)


def test_a_rendering_has_the_helm_test_unless_it_is_disabled() -> None:
    words = ("template", "ks", str(CHART), "--namespace", NAMESPACE)
    for more, there in (((), True), (("--skip-tests",), False), (("--set", "tests.enabled=false"), False)):
        made = [each for each in yaml.safe_load_all(helm(*words, *more)) if each]
        assert bool(kinds(made, "Pod", "SweepSchedule")) is there


def test_argo_cd_ignores_the_data_of_the_secret_that_the_controller_fills(tmp_path: Path) -> None:
    block = marked("application")
    [ignored] = block.body["spec"]["ignoreDifferences"]
    assert ignored["name"] == environment(rendered(values_of(block), tmp_path))["KUBESWEEP_QUEUE_SECRET"]


@pytest.mark.parametrize("parent", [False, True])
def test_on_openshift_no_pod_sets_its_user(parent: bool, tmp_path: Path) -> None:
    values = values_of(marked("values: openshift"))
    made = rendered(values, tmp_path) if not parent else in_a_parent(values, tmp_path)
    found = dict(pods(made))
    assert any("redis" in where for where in found)
    for where, pod in found.items():
        assert not {"runAsUser", "runAsGroup", "fsGroup"} & pod["securityContext"].keys(), where
    for child in children(marked("schedule: resources").body):
        assert not {"runAsUser", "runAsGroup", "fsGroup"} & set(re.findall(r"\"(\w+)\":", json.dumps(child)))


def test_openshift_is_detected_by_its_api() -> None:
    words = ("template", "ks", str(CHART), "--namespace", NAMESPACE, "--api-versions", "security.openshift.io/v1")
    for more, named in (((), False), (("--set", "openshift=false"), True)):
        made = [each for each in yaml.safe_load_all(helm(*words, *more)) if each]
        assert ("runAsUser" in one(made, "StatefulSet")["spec"]["template"]["spec"]["securityContext"]) is named


def in_a_parent(values: dict[str, Any], tmp_path: Path) -> list[Object]:
    parent = tmp_path / "parent"
    (parent / "charts").mkdir(parents=True)
    (parent / "charts" / "kubesweep").symlink_to(CHART)
    (parent / "Chart.yaml").write_text("{apiVersion: v2, name: parent, version: 1.0.0}\n")
    (parent / "values.yaml").write_text(yaml.safe_dump({"kubesweep": values}))
    made = helm("template", "ks", str(parent), "--namespace", NAMESPACE)
    return [each for each in yaml.safe_load_all(made) if each]


def test_only_the_pods_of_ticks_are_outside_the_mesh() -> None:
    deployment, cronjob = children(marked("schedule: mesh").body)
    ticks = pod_template(cronjob)["metadata"]
    assert ticks["labels"]["sidecar.istio.io/inject"] == "false"
    assert ticks["annotations"]["linkerd.io/inject"] == "disabled"
    assert "inject" not in json.dumps(deployment)


def test_the_queue_and_the_controller_are_outside_the_mesh(tmp_path: Path) -> None:
    made = rendered(values_of(marked("values: mesh")), tmp_path)
    for each in kinds(made, "Deployment", "StatefulSet"):
        meta = each["spec"]["template"]["metadata"]
        assert meta["labels"]["sidecar.istio.io/inject"] == "false"
        assert meta["annotations"]["linkerd.io/inject"] == "disabled"


def test_under_the_quota_every_container_has_its_limits(tmp_path: Path) -> None:
    limited = {name.removeprefix("limits.") for name in marked("objects").body["spec"]["hard"]}
    made = rendered(values_of(marked("values: quota")), tmp_path)
    deployment, cronjob = children(marked("schedule: resources").body)
    found = {**dict(pods([*made, deployment])), "tick": pod_template(cronjob)["spec"]}
    assert len(found) == 4
    for where, pod in found.items():
        for container in pod["containers"] + pod.get("initContainers", []):
            assert limited <= container["resources"]["limits"].keys(), where
    assert one(made, "Deployment")["spec"]["strategy"] == {"type": "Recreate"}


def test_the_crd_has_no_default_inside_a_list() -> None:
    """Argo CD does not expect such a default, and would report each schedule as OutOfSync."""

    def defaults(schema: Any, inside: bool) -> Iterator[Any]:
        if isinstance(schema, dict):
            if inside and "default" in schema:
                yield schema
            for name, each in schema.items():
                yield from defaults(each, inside or name == "items")

    crd = yaml.safe_load((ROOT / "manifests" / "crd.yaml").read_text())
    [version] = crd["spec"]["versions"]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert list(defaults(spec, inside=False)) == []
    assert list(defaults({"items": spec}, inside=True)), "the search itself finds defaults"
