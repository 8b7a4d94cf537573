"""Defaults of an installation for all pods: below the schedule's fields, above ours, validated at the start."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kubesweep import load_object
from kubesweep.api.compile import compile_plan
from kubesweep.errors import SpecError
from kubesweep_controller.children.pod_defaults import combined, read_defaults
from kubesweep_controller.children.pod_policy import PodPolicy, check_pods
from kubesweep_controller.children.pod_settings import PodSettings
from kubesweep_controller.children.quantity import amount
from kubesweep_controller.children.workloads import build_cronjob, build_deployment
from kubesweep_controller.settings import from_environment
from tests.unit.controller.test_children import META, SPEC
from tests.unit.controller.test_workqueue import ENV

SIZES = {"limits": {"cpu": "500m", "memory": "256Mi"}, "requests": {"memory": "128Mi"}}
DEFAULTS = {
    "resources": SIZES,
    "env": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}, {"name": "ZONE", "value": "a"}],
    "podTemplate": {
        "metadata": {"labels": {"team": "platform"}, "annotations": {"note": "default"}},
        "spec": {
            "nodeSelector": {"pool": "batch"},
            "tolerations": [{"key": "batch", "operator": "Exists"}],
            "imagePullSecrets": [{"name": "mirror"}],
            "securityContext": {"runAsUser": 10001},
            "volumes": [{"name": "ca", "configMap": {"name": "ca"}}],
        },
    },
    "tick": {
        "resources": {"limits": {"cpu": "200m", "memory": "128Mi"}},
        "podTemplate": {"metadata": {"annotations": {"linkerd.io/inject": "disabled"}}},
    },
}
Template = dict[str, Any]


def templates(defaults: Any = DEFAULTS, meta: Any = META, copied: tuple[str, ...] = (), **spec: Any) -> list[Template]:
    """The pod templates of worker and producer."""
    body = {"apiVersion": "kubesweep.dev/v1alpha1", "kind": "SweepSchedule", "metadata": meta, "spec": SPEC | spec}
    schedule = load_object(body)
    plan = compile_plan(schedule, install="abcd1234")
    pods = PodSettings("worker:1", pull_secrets=("registry",), copied_labels=copied, defaults=read_defaults(defaults))
    deployment = build_deployment(meta, schedule, plan, "redis://r", pods)
    cronjob = build_cronjob(meta, schedule, plan, "redis://r", pods, None)
    return [deployment["spec"]["template"], cronjob["spec"]["jobTemplate"]["spec"]["template"]]


def test_every_pod_starts_from_the_defaults() -> None:
    worker, tick = templates()
    for each in (worker, tick):
        assert each["metadata"]["labels"]["team"] == "platform"
        assert each["metadata"]["annotations"]["note"] == "default"
        assert each["spec"]["nodeSelector"] == {"pool": "batch"}
        assert each["spec"]["tolerations"] == [{"key": "batch", "operator": "Exists"}]
        assert each["spec"]["imagePullSecrets"] == [{"name": "registry"}, {"name": "mirror"}]
        assert each["spec"]["securityContext"]["runAsUser"] == 10001
        assert each["spec"]["securityContext"]["runAsNonRoot"] is True
    [container], [producer] = worker["spec"]["containers"], tick["spec"]["containers"]
    assert container["resources"] == SIZES
    assert {"name": "ZONE", "value": "a"} in container["env"]
    assert {"name": "ca", "configMap": {"name": "ca"}} in worker["spec"]["volumes"]
    assert producer["resources"] == {"limits": {"cpu": "200m", "memory": "128Mi"}}
    assert tick["metadata"]["annotations"]["linkerd.io/inject"] == "disabled"
    assert "linkerd.io/inject" not in worker["metadata"]["annotations"]


def test_without_defaults_pods_are_as_they_were() -> None:
    worker, tick = templates({})
    assert worker["spec"]["containers"][0]["resources"] == {"requests": {"cpu": "50m", "memory": "128Mi"}}
    assert tick["spec"]["containers"][0]["resources"]["limits"] == {"memory": "256Mi"}


def test_fields_of_the_schedule_win() -> None:
    overlay = {
        "metadata": {"labels": {"team": "shop"}},
        "spec": {
            "nodeSelector": {"pool": None, "disk": "ssd"},
            "tolerations": [],
            "securityContext": {"runAsUser": 7},
            "imagePullSecrets": [{"name": "own"}],
        },
    }
    secret = {"secretKeyRef": {"name": "zone", "key": "zone"}}
    worker, tick = templates(
        worker={
            "image": "own:1",
            "podTemplate": overlay,
            "env": [{"name": "ZONE", "valueFrom": secret}],
            "resources": {"limits": {"memory": "1Gi"}},
        },
        tick={"podTemplate": {"metadata": {"annotations": {"note": "tick"}}}},
    )
    for each in (worker, tick):
        assert each["metadata"]["labels"]["team"] == "shop"
        assert each["spec"]["nodeSelector"] == {"disk": "ssd"}
        assert not each["spec"].get("tolerations")
        assert each["spec"]["securityContext"]["runAsUser"] == 7
        assert [one["name"] for one in each["spec"]["imagePullSecrets"]] == ["registry", "mirror", "own"]
    [container] = worker["spec"]["containers"]
    assert container["image"] == "own:1"
    assert [one for one in container["env"] if one["name"] == "ZONE"] == [{"name": "ZONE", "valueFrom": secret}]
    assert container["resources"] == {"limits": {"cpu": "500m", "memory": "1Gi"}, "requests": {"memory": "128Mi"}}
    assert tick["metadata"]["annotations"]["note"] == "tick"


def test_a_container_of_the_default_template_counts_less_than_a_field_of_the_schedule() -> None:
    container = {
        "name": "worker",
        "image": "default:1",
        "resources": SIZES,
        "env": [{"name": "ZONE", "value": "a"}],
        "volumeMounts": [{"name": "ca", "mountPath": "/ca"}],
    }
    own = {"image": "own:1", "env": [{"name": "ZONE", "value": "b"}], "resources": {"limits": {"memory": "64Mi"}}}
    defaults = {"podTemplate": {"spec": {"containers": [container]}}}
    [found] = templates(defaults, worker=own)[0]["spec"]["containers"]
    assert found["image"] == "own:1"
    assert {"name": "ZONE", "value": "b"} in found["env"]
    assert found["resources"] == {"limits": {"cpu": "500m", "memory": "64Mi"}}  # the request of 128Mi would not fit
    assert {"name": "ca", "mountPath": "/ca"} in found["volumeMounts"]
    assert templates(defaults)[0]["spec"]["containers"][0]["image"] == "default:1"


@pytest.mark.parametrize("defaults", [{}, {"resources": SIZES, "tick": {"resources": SIZES}}])
def test_resources_in_a_template_of_the_schedule_are_filled_in_too(defaults: Any) -> None:
    own = {"limits": {"memory": "32Mi"}, "requests": {"cpu": "2"}}
    overlays = [{"spec": {"containers": [{"name": name, "resources": own}]}} for name in ("worker", "producer")]
    made = templates(defaults, worker={"podTemplate": overlays[0]}, tick={"podTemplate": overlays[1]})
    for each in made:
        resources = each["spec"]["containers"][0]["resources"]
        assert resources["limits"]["memory"] == "32Mi"
        assert "memory" not in resources["requests"]  # 128Mi and 64Mi are above the limit
        assert resources["requests"]["cpu"] == "2"
        assert resources["limits"].get("cpu") == ("2" if defaults else None)


def test_a_label_that_is_copied_from_the_schedule_wins_over_the_default() -> None:
    meta = {**META, "labels": {"team": "shop", "other": "x"}}
    for each in templates(meta=meta, copied=("team",)):
        assert each["metadata"]["labels"]["team"] == "shop"
        assert "other" not in each["metadata"]["labels"]


def test_our_fields_stay_whatever_the_defaults_set() -> None:
    env = [{"name": name, "value": "x"} for name in ("KUBESWEEP_PLAN", "KUBESWEEP_DATABASE_URL_FILE")]
    containers = [{"name": name, "command": ["sh"], "env": env} for name in ("worker", "producer")]
    labels = {"labels": {"kubesweep.dev/schedule": "other"}}
    overlay = {"metadata": labels, "spec": {"containers": containers[:1]}}
    tick = {"podTemplate": {"metadata": labels, "spec": {"containers": containers[1:]}}}
    for each in templates({"env": env, "podTemplate": overlay, "tick": tick}):
        assert each["metadata"]["labels"]["kubesweep.dev/schedule"] == META["name"]
        container = each["spec"]["containers"][0]
        assert container["command"][0] == "kubesweep-worker"
        plans = [one["value"] for one in container["env"] if one["name"] == "KUBESWEEP_PLAN"]
        assert len(plans) == 1
        assert plans != ["x"]


def test_the_policy_of_pod_templates_binds_schedules_and_not_the_defaults() -> None:
    pods = {"spec": {"serviceAccountName": "sweeper", "hostNetwork": True}}
    assert templates({"podTemplate": pods})[0]["spec"]["hostNetwork"] is True
    body = {"apiVersion": "kubesweep.dev/v1alpha1", "kind": "SweepSchedule", "metadata": META, "spec": SPEC}
    check_pods(load_object(body).spec, PodPolicy(service_accounts=()))
    body["spec"] = {**SPEC, "worker": {"podTemplate": pods}}
    with pytest.raises(SpecError, match="hostNetwork"):
        check_pods(load_object(body).spec, PodPolicy())


@pytest.mark.parametrize(
    ("defaults", "text"),
    [
        ({"podtemplate": {}}, 'worker.defaults.podtemplate: unknown field; did you mean "podTemplate"?'),
        ({"resources": {"limits": {"memory": "512MB"}}}, "worker.defaults.resources.limits.memory: write a quantity"),
        ({"env": [{"value": "x"}]}, "worker.defaults.env: [0].name: required"),
        ({"podTemplate": {"spec": {"tolerations": {}}}}, "podTemplate: spec.tolerations: must be a list"),
        ({"podTemplate": {"metadata": {"labels": {"a": 1}}}}, "metadata.labels.a: must be text"),
        ({"tick": {"podTemplate": {"sepc": {}}}}, "worker.defaults.tick.podTemplate: sepc: a pod template has"),
        ([], "worker.defaults: "),
    ],
)
def test_a_wrong_default_is_refused_at_the_start_with_its_path(defaults: Any, text: str) -> None:
    with pytest.raises(SpecError) as met:
        from_environment({**ENV, "KUBESWEEP_WORKER_DEFAULTS": json.dumps(defaults)})
    assert met.value.code == "BadEnvironment"
    assert text in str(met.value)


@pytest.mark.parametrize("text", ["{", "[" * 5000, '{"a": ' * 70 + "1" + "}" * 70])
def test_defaults_that_cannot_be_parsed_are_reported_too(text: str) -> None:
    with pytest.raises(SpecError, match="KUBESWEEP_WORKER_DEFAULTS"):
        from_environment({**ENV, "KUBESWEEP_WORKER_DEFAULTS": text})


QUANTITIES = st.sampled_from(["10m", "0.5", "1", "1e3", "64Mi", "100M", "1Gi", "2G"])
SOME = st.fixed_dictionaries({}, optional=dict.fromkeys(("cpu", "memory", "example.com/gpu"), QUANTITIES))
RESOURCES = st.fixed_dictionaries({}, optional={"limits": SOME, "requests": SOME})


def fits(resources: dict[str, Any]) -> bool:
    limits, requests = resources.get("limits", {}), resources.get("requests", {})
    return all((amount(requests[name]) or 0) <= (amount(limits[name]) or 0) for name in limits.keys() & requests.keys())


@given(RESOURCES, RESOURCES)
def test_what_fits_alone_fits_together_and_nothing_of_the_schedules_own_is_lost(default: Any, own: Any) -> None:
    assume(fits(default))
    assume(fits(own))
    made = combined(default, own)
    assert fits(made)
    for kind in ("limits", "requests"):
        assert own.get(kind, {}).items() <= made.get(kind, {}).items()
    # A policy that requires limits accepts each that the installation set.
    assert default.get("limits", {}).keys() <= made.get("limits", {}).keys()


def test_the_program_ends_with_words() -> None:
    text = json.dumps({"podTemplate": {"spec": {"volumes": [{"emptyDir": {}}]}}})
    ran = subprocess.run(
        [sys.executable, "-m", "kubesweep_controller.main"],
        env={**ENV, "KUBESWEEP_WORKER_DEFAULTS": text},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert "worker.defaults.podTemplate: spec.volumes[0].name: required" in ran.stderr
    assert "Traceback" not in ran.stderr
