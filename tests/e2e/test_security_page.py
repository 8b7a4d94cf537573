"""What SECURITY.md says about a compromised controller, tried on a real API server by an account with the chart's rights."""

from __future__ import annotations

import base64
import json
import subprocess
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kits.kubectl import kubectl, kubectl_output
from tests.kits.rbac import RBAC, rules_of_the_chart

NAMESPACE = f"taken-over-{uuid.uuid4().hex[:8]}"
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:controller"
QUEUE_SECRET, OTHER_SECRET = "kubesweep-queue", "support-db"
# `kubectl patch` reads first; an apply of only the name is a single PATCH.
APPLY = ("apply", "--server-side", "--field-manager=them", "-o", "json", "-f", "-")
WAYS = {"a patch of nothing": APPLY, "a patch that is not even written": (*APPLY, "--dry-run=server")}


def body(version: str, kind: str, name: str, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, **fields}


@pytest.fixture(scope="module", autouse=True)
def account() -> Iterator[None]:
    """An account with the rights that the chart grants the controller, and two Secrets."""
    binding = {
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "controller"},
        "subjects": [{"kind": "ServiceAccount", "name": "controller", "namespace": NAMESPACE}],
    }
    kubectl_output("create", "namespace", NAMESPACE)
    for each in (
        body(f"{RBAC}/v1", "Role", "controller", rules=rules_of_the_chart()),
        body(f"{RBAC}/v1", "RoleBinding", "controller", **binding),
        *(body("v1", "Secret", name, stringData={"password": f"of {name}"}) for name in (QUEUE_SECRET, OTHER_SECRET)),
    ):
        kubectl_output("create", "-f", "-", stdin=json.dumps(each))
    while kubectl("auth", "can-i", "list", "deployments", "-n", NAMESPACE, "--as", ACCOUNT).returncode:
        pass
    yield
    kubectl_output("delete", "namespace", NAMESPACE, "--wait=false")


def kubectl_as_controller(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return kubectl(*words, "-n", NAMESPACE, "--as", ACCOUNT, stdin=stdin)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_a_patch_reads_the_queues_secret_and_no_other(way: tuple[str, ...]) -> None:
    ran = kubectl_as_controller(*way, stdin=json.dumps(body("v1", "Secret", QUEUE_SECRET)))
    assert base64.b64decode(json.loads(ran.stdout)["data"]["password"]) == f"of {QUEUE_SECRET}".encode()
    refused = kubectl_as_controller(*way, stdin=json.dumps(body("v1", "Secret", OTHER_SECRET)))
    assert "cannot patch resource" in refused.stderr
    assert refused.stdout == ""


def test_it_cannot_get_or_list_secrets() -> None:
    for words in (("get", "secret", QUEUE_SECRET), ("get", "secret", OTHER_SECRET), ("get", "secrets")):
        assert "Forbidden" in kubectl_as_controller(*words).stderr


def test_it_runs_pods_as_any_service_account_with_any_secret() -> None:
    pod = {
        "serviceAccountName": "anybody",
        "automountServiceAccountToken": True,
        "containers": [{"name": "a", "image": "a", "envFrom": [{"secretRef": {"name": OTHER_SECRET}}]}],
    }
    labels = {"app": "a"}
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    ran = kubectl_as_controller("create", "-f", "-", stdin=json.dumps(body("apps/v1", "Deployment", "mine", spec=spec)))
    assert ran.returncode == 0, ran.stderr


def test_it_makes_secrets_that_kubernetes_fills_with_an_accounts_token() -> None:
    secret = body("v1", "Secret", "token", type="kubernetes.io/service-account-token")
    secret["metadata"]["annotations"] = {"kubernetes.io/service-account.name": "controller"}
    kubectl_output("create", "serviceaccount", "controller", "-n", NAMESPACE)
    ran = kubectl_as_controller("create", "-f", "-", stdin=json.dumps(secret))
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("patch", "sweepschedules.kubesweep.dev"),
        ("create", "sweepschedules.kubesweep.dev"),
        ("delete", "sweepschedules.kubesweep.dev"),
        ("delete", "deployments.apps"),
        ("create", "pods"),
        ("create", "pods", "--subresource=exec"),
        ("get", "pods", "--subresource=log"),
        ("create", "serviceaccounts", "--subresource=token"),
        ("create", "roles.rbac.authorization.k8s.io"),
        ("create", "rolebindings.rbac.authorization.k8s.io"),
        ("impersonate", "serviceaccounts"),
    ],
    ids=" ".join,
)
def test_it_has_no_further_rights(words: tuple[str, ...]) -> None:
    ran = kubectl_as_controller("auth", "can-i", *words)
    assert (ran.stdout.strip().splitlines()[-1], ran.returncode) == ("no", 1)
