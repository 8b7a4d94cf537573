"""Overlays of pod templates: merging twice is merging once, and no overlay that is accepted removes what protects the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st
from pydantic import ValidationError

from kubesweep.api.compile import compile_plan
from kubesweep.api.models.pod_shape import MERGE_KEYS
from kubesweep.api.models.spec import SweepSchedule
from kubesweep.api.problems import SpecErrors
from kubesweep_controller.children.overlay import merge, without_empty
from kubesweep_controller.children.pod import producer_template, worker_template
from kubesweep_controller.children.pod_policy import PodPolicy, _tokens, check_pods, privileged
from kubesweep_controller.children.pod_settings import PodSettings
from tests.fuzz.damage import damaged_tree
from tests.fuzz.oracles import check_problems
from tests.fuzz.target import Target
from tests.kits.controller import SPEC

__all__ = ["TARGET"]

BASES: list[dict[str, Any]] = [
    {},
    {"metadata": {"labels": {"team": "shop"}, "annotations": {"a": "b"}}, "spec": {"nodeSelector": {"disk": "ssd"}}},
    {"spec": {"securityContext": {"runAsUser": 1000, "fsGroup": 1000, "sysctls": [{"name": "net.ipv4.tcp_fin_timeout", "value": "5"}]}}},
    {"spec": {"containers": [{"name": "worker", "securityContext": {"capabilities": {"add": ["CHOWN"]}}, "env": [{"name": "A", "value": "b"}]}]}},
    {"spec": {"containers": [{"name": "worker", "volumeMounts": [{"name": "tmp", "mountPath": "/tmp/"}]}, {"name": "side", "image": "x"}]}},
    {"spec": {"containers": [{"name": "producer", "command": ["x"], "ports": [{"containerPort": 8080, "name": "metrics"}]}]}},
    {"spec": {"initContainers": [{"name": "init", "image": "x", "securityContext": {"privileged": False}}], "hostNetwork": False}},
    {"spec": {"volumes": [{"name": "queue", "emptyDir": {}}, {"name": "t", "projected": {"sources": [{"configMap": {"name": "c"}}]}}]}},
    {"spec": {"volumes": [{"name": "database", "secret": {"secretName": "x"}}], "automountServiceAccountToken": False}},
    {"spec": {"serviceAccountName": "default", "tolerations": [{"key": "a"}], "imagePullSecrets": [{"name": "r"}], "dnsConfig": {"options": []}}},
]  # fmt: skip
NAMES = [
    *MERGE_KEYS, *MERGE_KEYS.values(), "metadata", "spec", "labels", "annotations", "securityContext", "capabilities", "add", "drop", "privileged",
    "hostNetwork", "hostPID", "hostIPC", "hostPath", "hostPort", "hostUsers", "automountServiceAccountToken", "serviceAccountName", "serviceAccount",
    "projected", "serviceAccountToken", "sources", "emptyDir", "secret", "lifecycle", "preStop", "exec", "resources", "limits", "command", "args",
    "value", "valueFrom", "seccompProfile", "type", "runAsNonRoot", "readOnlyRootFilesystem", "allowPrivilegeEscalation", "procMount", "seLinuxOptions",
    "windowsOptions", "hostProcess", "ephemeralContainers", "kubesweep.dev/schedule", "KUBESWEEP_PLAN", "KUBESWEEP_QUEUE", "$patch",
]  # fmt: skip
PODS = PodSettings("worker:1", release="r")
WHOLE = {
    "apiVersion": "kubesweep.dev/v1alpha1",
    "kind": "SweepSchedule",
    "metadata": {"name": "carts", "namespace": "shop"},
}


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    return {"worker": draw(damaged_tree(BASES, NAMES)), "tick": draw(damaged_tree(BASES, NAMES, most=2))}


def check(case: dict[str, Any]) -> None:
    part = {"worker": {"podTemplate": case["worker"]}, "tick": {"podTemplate": case["tick"]}}
    try:
        schedule = SweepSchedule.model_validate({**WHOLE, "spec": {**SPEC, **part}})
        check_pods(schedule.spec, PodPolicy())
    except ValidationError:  # the target "objects" checks its messages
        return
    except SpecErrors as error:
        check_problems(error)
        return
    spec, plan = schedule.spec, compile_plan(schedule, install="local")
    plain = SweepSchedule.model_validate({**WHOLE, "spec": SPEC})
    pairs = (
        ("worker", worker_template(plan, spec, "redis://h", PODS), worker_template(plan, plain.spec, "redis://h", PODS)),
        ("producer", producer_template(plan, spec, None, "redis://h", PODS), producer_template(plan, plain.spec, None, "redis://h", PODS)),
    )  # fmt: skip
    for name, made, ours in pairs:
        check_protected(name, without_empty(made), ours)
        for overlay in case.values():
            _check_merge(ours, overlay)


def check_protected(name: str, made: dict[str, Any], ours: dict[str, Any]) -> None:
    """What an author of a schedule must not change, whatever the overlay says. ``ours``: the template without an overlay."""
    spec = made["spec"]
    assert list(privileged(made)) == [], "a pod that PodSecurity baseline refuses"
    assert list(_tokens(spec)) == [], "a token for the API server"
    assert spec.get("automountServiceAccountToken") is False, "the token of the service account is mounted"
    labels = ours["metadata"]["labels"]
    assert made["metadata"]["labels"].items() >= labels.items(), (
        "a label by which the controller finds its pods is gone"
    )
    (container,) = [each for each in spec["containers"] if each.get("name") == name]
    (wanted,) = ours["spec"]["containers"]
    assert container["command"] == wanted["command"]
    given = {each["name"]: each for each in container["env"]}
    assert len(given) == len(container["env"]), "a variable is given twice"
    for each in wanted["env"]:
        if each["name"] in ("KUBESWEEP_PLAN", "KUBESWEEP_QUEUE", "KUBESWEEP_JOB_UID"):
            assert given[each["name"]] == each, f"{each['name']} was changed"


def _check_merge(base: dict[str, Any], overlay: Any) -> None:
    once = merge(base, overlay)
    assert merge(base, {}) == base
    if not _repeated(overlay):
        assert merge(once, overlay) == once, "merging an overlay twice is not the same as once"


def _repeated(value: Any, field: str = "") -> bool:
    """True if two elements of one list have the same name, which the API server refuses."""
    if isinstance(value, Mapping):
        return any(_repeated(inner, name) for name, inner in value.items())
    if not isinstance(value, list):
        return False
    key = MERGE_KEYS.get(field)
    names = [str(each.get(key)).rstrip("/") for each in value if isinstance(each, Mapping)] if key else []
    return len(set(names)) < len(names) or any(map(_repeated, value))


TARGET = Target("overlays", cases(), check)
