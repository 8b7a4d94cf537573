"""PodSecurity rejects the same fields that the controller treats as privileged."""

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
from tests.kits.controller import SPEC
from tests.kits.kubectl import kubectl, kubectl_output
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
        kubectl_output("apply", "-f", "-", stdin=json.dumps(body))
    yield
    kubectl_output("delete", "namespace", NAMESPACE, "--wait=false")


def pod(overlay: dict[str, Any]) -> dict[str, Any]:
    """The worker's pod as the controller builds it, without the service account, whose existence the API server would check first."""
    schedule = SweepSchedule.model_validate(SCHEDULE)
    spec = schedule.spec.model_copy(update={"worker": Worker.model_validate({"podTemplate": overlay})})
    made = worker_template(compile_plan(schedule, install="local"), spec, "redis://h", PodSettings("worker:1"))
    made["spec"].pop("serviceAccountName", None)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", **made["metadata"]}, "spec": made["spec"]}


def dry_run_error(overlay: dict[str, Any]) -> str:
    """The API server's error for that pod; empty if it accepts it."""
    ran = kubectl("create", "--dry-run=server", "-n", NAMESPACE, "-f", "-", stdin=json.dumps(pod(overlay)))
    return "" if ran.returncode == 0 else ran.stderr


@pytest.mark.parametrize("path", PRIVILEGED)
def test_baseline_rejects_what_needs_allow_privileged(path: str) -> None:
    overlay = PRIVILEGED[path]
    if "hostProcess" in path:  # otherwise the API server rejects it before any policy applies
        overlay = {**overlay, "spec": overlay["spec"] | {"hostNetwork": True}}
    error = dry_run_error(overlay)
    assert 'violates PodSecurity "baseline' in error or "`hostUsers` must be false to use `Unmasked`" in error
    assert "hostProcess" in error or "hostProcess" not in path


@pytest.mark.parametrize("what", EVERYDAY)
def test_baseline_accepts_what_the_controller_accepts(what: str) -> None:
    assert dry_run_error(EVERYDAY[what]) == ""


@pytest.mark.parametrize("path", TOKENS)
def test_pod_security_does_not_restrict_tokens(path: str) -> None:
    """So the chart's value alone decides."""
    assert "PodSecurity" not in dry_run_error(TOKENS[path])
