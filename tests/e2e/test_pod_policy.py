"""PodSecurity itself on what the controller calls privileged: it refuses the same."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from kubesweep.api.compile import compile_plan
from kubesweep.api.models.spec import SweepSchedule, Worker
from kubesweep_controller.children.pod import worker_template
from kubesweep_controller.children.pod_settings import PodSettings
from tests.e2e.applying import done, kubectl
from tests.kits.controller import SPEC
from tests.unit.controller.test_pod_policy import EVERYDAY, PRIVILEGED, TOKENS

NAMESPACE = f"baseline-{uuid.uuid4().hex[:8]}"
SCHEDULE = {
    "apiVersion": "kubesweep.dev/v1alpha1",
    "kind": "SweepSchedule",
    "metadata": {"name": "close-idle", "namespace": "support", "uid": "8b5f6f0e-0000-4000-8000-000000000001"},
    "spec": SPEC,
}


@pytest.fixture(scope="module", autouse=True)
def baseline() -> Iterator[None]:
    """A namespace with PodSecurity ``baseline``."""
    labels = {"pod-security.kubernetes.io/enforce": "baseline"}
    meta = {"name": NAMESPACE, "labels": labels}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": NAMESPACE}}
    for body in ({"apiVersion": "v1", "kind": "Namespace", "metadata": meta}, account):  # pods wait for the account
        done("apply", "-f", "-", stdin=json.dumps(body))
    yield
    done("delete", "namespace", NAMESPACE, "--wait=false")


def pod(overlay: dict[str, Any]) -> dict[str, Any]:
    """The worker's, as the controller makes it. Service accounts are left out: whether they exist is asked first."""
    schedule = SweepSchedule.model_validate(SCHEDULE)
    spec = schedule.spec.model_copy(update={"worker": Worker.model_validate({"podTemplate": overlay})})
    made = worker_template(compile_plan(schedule, install="local"), spec, "redis://h", PodSettings("worker:1"))
    made["spec"].pop("serviceAccountName", None)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", **made["metadata"]}, "spec": made["spec"]}


def asked(overlay: dict[str, Any]) -> str:
    """What the API server says of that pod; empty: it would take it."""
    ran = kubectl("create", "--dry-run=server", "-n", NAMESPACE, "-f", "-", stdin=json.dumps(pod(overlay)))
    return "" if ran.returncode == 0 else ran.stderr


@pytest.mark.parametrize("path", PRIVILEGED)
def test_baseline_refuses_what_needs_allow_privileged(path: str) -> None:
    overlay = PRIVILEGED[path]
    if "hostProcess" in path:  # else the API server refuses it before any policy is asked
        overlay = {**overlay, "spec": overlay["spec"] | {"hostNetwork": True}}
    said = asked(overlay)
    assert 'violates PodSecurity "baseline' in said or "`hostUsers` must be false to use `Unmasked`" in said
    assert "hostProcess" in said or "hostProcess" not in path


@pytest.mark.parametrize("what", EVERYDAY)
def test_baseline_takes_what_the_controller_takes(what: str) -> None:
    assert asked(EVERYDAY[what]) == ""


@pytest.mark.parametrize("path", TOKENS)
def test_no_level_of_podsecurity_is_about_tokens(path: str) -> None:
    """So a value of the chart decides alone."""
    assert "PodSecurity" not in asked(TOKENS[path])
