"""Any overlay of a spec is refused with a path or makes a pod template. It never fails a reconcile."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from kubesweep.api.compile import compile_plan
from kubesweep.api.models.spec import SweepSchedule
from kubesweep.errors import SpecError
from kubesweep_controller.children.pod import producer_template, worker_template
from kubesweep_controller.children.pod_policy import PodPolicy, check_pods
from kubesweep_controller.children.pod_settings import PodSettings
from tests.kits.controller import SPEC

WHOLE = {
    "apiVersion": "kubesweep.dev/v1alpha1",
    "kind": "SweepSchedule",
    "metadata": {"name": "carts", "namespace": "shop"},
}
NAMES = st.sampled_from(
    [
        "metadata",
        "spec",
        "labels",
        "annotations",
        "containers",
        "initContainers",
        "volumes",
        "volumeMounts",
        "env",
        "envFrom",
        "name",
        "mountPath",
        "securityContext",
        "capabilities",
        "add",
        "lifecycle",
        "preStop",
        "tolerations",
        "secret",
        "projected",
        "sources",
        "serviceAccountToken",
        "hostPath",
        "emptyDir",
        "resources",
        "limits",
        "ports",
        "hostPort",
        "imagePullSecrets",
    ]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(
    ["worker", "producer", "database", "queue", "tmp", "/run/kubesweep/database", "/run/kubesweep/database/", "/", "1Gi"]
)  # fmt: skip
ANY = st.recursive(
    LEAVES, lambda inside: st.lists(inside, max_size=3) | st.dictionaries(NAMES, inside, max_size=4), max_leaves=25
)
ELEMENTS = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from(["worker", "producer", "database", "other"])}, optional=dict.fromkeys(("volumeMounts", "env", "lifecycle", "securityContext", "secret", "projected", "hostPath", "ports", "resources"), ANY)), max_size=3)  # fmt: skip
SHAPED = st.fixed_dictionaries({}, optional={
    "metadata": ANY,
    "spec": st.none() | st.fixed_dictionaries({}, optional={
        "containers": st.none() | ELEMENTS, "initContainers": st.none() | ELEMENTS, "volumes": st.none() | ELEMENTS,
        "securityContext": ANY, "tolerations": ANY, "imagePullSecrets": ANY,
    }),
})  # fmt: skip


def built(overlay: Any, tick: Any) -> bool:
    """False: refused."""
    part = {"worker": {"podTemplate": overlay}, "tick": {"podTemplate": tick}}
    try:
        schedule = SweepSchedule.model_validate({**WHOLE, "spec": {**SPEC, **part}})
    except ValidationError:
        return False
    spec, plan, pods = schedule.spec, compile_plan(schedule, install="local"), PodSettings("worker:1")
    try:
        check_pods(spec, PodPolicy())
    except SpecError:
        return False
    made = worker_template(plan, spec, "redis://h", pods), producer_template(plan, spec, None, "redis://h", pods)
    for template in made:
        assert template["metadata"]["labels"]["kubesweep.dev/schedule"] == "carts"
        assert any(each.get("env") for each in template["spec"]["containers"])
    return True


@settings(max_examples=600)
@given(overlay=SHAPED | ANY, tick=SHAPED | ANY)
def test_any_overlay_is_refused_or_makes_a_pod(overlay: Any, tick: Any) -> None:
    built(overlay, tick)


@pytest.mark.parametrize(
    "overlay",
    [
        {"metadata": None, "spec": None},
        {"spec": {"containers": []}},
        {"spec": {"volumes": None}},
        {"spec": {"containers": [{"name": "worker", "volumeMounts": None, "env": None}]}},
    ],
)
def test_what_is_empty_in_yaml_takes_nothing_away(overlay: Any) -> None:
    assert built(overlay, overlay)


def test_the_pods_own_container_cannot_be_removed() -> None:
    with pytest.raises(ValidationError, match=r"spec.containers: null would remove the pod's own container too"):
        SweepSchedule.model_validate(
            {**WHOLE, "spec": {**SPEC, "worker": {"podTemplate": {"spec": {"containers": None}}}}}
        )


@pytest.mark.parametrize("value", [None, False])
def test_no_overlay_mounts_the_service_accounts_token_by_removing_our_false(value: object) -> None:
    overlay = {"spec": {"automountServiceAccountToken": value}}
    part = {"worker": {"podTemplate": overlay}, "tick": {"podTemplate": overlay}}
    spec = SweepSchedule.model_validate({**WHOLE, "spec": {**SPEC, **part}})
    plan, pods = compile_plan(spec, install="local"), PodSettings("worker:1")
    for made in (
        worker_template(plan, spec.spec, "redis://h", pods),
        producer_template(plan, spec.spec, None, "redis://h", pods),
    ):
        assert made["spec"]["automountServiceAccountToken"] is False
