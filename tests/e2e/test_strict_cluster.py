"""The README's commands in a strict cluster: PodSecurity ``restricted``, policies like Kyverno's, a ResourceQuota and default-deny NetworkPolicies.

They apply to the namespace of the release and to the user's namespace.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.testbed import Bed
from tests.kits.audit_log import requests
from tests.kits.controller_environment import now
from tests.kits.kube_client import Cluster, Namespace, Object
from tests.kits.network_policies import build_tool, enforced_network_policies
from tests.kits.page_commands import HOME, ROOT, run_page
from tests.kits.polling import until
from tests.kits.releases import RESTRICTED

pytestmark = pytest.mark.bed  # it changes how the node treats packets

SHOP = "shop"
MANIFESTS = Path(__file__).parent / "manifests"
POLICY, BINDING = (f"admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy{kind}" for kind in ("", "Binding"))
WORKLOADS = ("apps/v1 Deployment", "apps/v1 StatefulSet", "batch/v1 CronJob", "batch/v1 Job", "v1 Pod")
CONTEXT = {"runAsNonRoot": True, "runAsUser": 999, "seccompProfile": {"type": "RuntimeDefault"}}
CONTAINER = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
SIZES = {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "10m", "memory": "16Mi"}}
LABELS = {"app.kubernetes.io/name": "probe", "team": "shop"}


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    build_tool()


@pytest.fixture
def strict(exclusive_cluster: Cluster, tmp_path: Path) -> Iterator[Cluster]:
    """A cluster in which the release's namespace is strict before the release, and policies apply to the user's namespace once it exists."""
    cluster = exclusive_cluster
    with admission(cluster), enforced_network_policies(cluster, Bed.selected(), tmp_path):
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HOME}})
        make_strict(cluster, HOME)
        yield cluster


@contextmanager
def admission(cluster: Cluster) -> Iterator[None]:
    """The admission policies, bound to the two namespaces; deleted at the end."""
    made = cluster.apply((MANIFESTS / "admission.yaml").read_text())
    names = [each["metadata"]["name"] for each in made]
    places = [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": [HOME, SHOP]}]
    try:
        for name in names:
            spec = {
                "policyName": name,
                "validationActions": ["Deny"],
                "matchResources": {"namespaceSelector": {"matchExpressions": places}},
            }
            binding = {"kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name}, "spec": spec}
            cluster.apply({"apiVersion": BINDING.partition(" ")[0], **binding})
        yield
    finally:
        for name in names:
            cluster.delete(BINDING, name)
            cluster.delete(POLICY, name)


def make_strict(cluster: Cluster, name: str) -> None:
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}})
    cluster.apply((MANIFESTS / "namespace.yaml").read_text(), name)
    assert_denials(Namespace(cluster, name))


def block(mark: str) -> str:
    """The YAML block of docs/platforms.md that follows this mark."""
    page = (ROOT / "docs" / "platforms.md").read_text()
    found = re.search(rf"^<!-- {mark} -->\n```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert found, mark
    return found[1]


def probe(**without: Any) -> Object:
    """A pod that satisfies all policies; ``without`` replaces fields."""
    container = {
        "name": "c",
        "image": "i",
        "resources": SIZES,
        "securityContext": CONTAINER,
        **without.pop("container", {}),
    }
    spec = {"securityContext": CONTEXT, "containers": [container], **without.pop("spec", {})}
    meta = {"name": "probe", "labels": LABELS, **without.pop("metadata", {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def assert_denials(namespace: Namespace) -> None:
    """Each policy, PodSecurity and the quota deny a pod that violates them, and none denies a valid pod."""
    lean = {"requests": SIZES["requests"], "limits": {"memory": "16Mi"}}
    denied = {
        "require-labels": probe(metadata={"labels": {"team": "shop"}}),
        "require-requests-limits": probe(container={"resources": {**SIZES, "limits": {"cpu": "10m"}}}),
        "PodSecurity": probe(spec={"hostNetwork": True}),
        "'restricted'": probe(container={"securityContext": {}}),
        "must specify limits.cpu": probe(container={"resources": lean}),
    }
    for by, body in denied.items():
        kind = "v1 Pod" if by != "'restricted'" else "apps/v1 Deployment"  # PodSecurity checks only pods

        async def enforced(by: str = by, body: Object = body, kind: str = kind) -> bool:
            return by in dry_run_error(namespace, kind, body)

        try:
            asyncio.run(until(enforced, 60))
        except AssertionError:
            raise AssertionError(f"not denied by {by}: {dry_run_error(namespace, kind, body)}") from None
    assert dry_run_error(namespace, "v1 Pod", probe()) == ""


def dry_run_error(namespace: Namespace, kind: str, pod: Object) -> str:
    """The API server's error for a dry run; empty if it accepts the object."""
    body = pod
    if kind != "v1 Pod":
        selector = {"matchLabels": LABELS}
        template = {"metadata": {"labels": LABELS}, "spec": pod["spec"]}
        body = {
            **pod,
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "spec": {"selector": selector, "template": template},
        }
    command = ["kubectl", "--namespace", namespace.name, "create", "--dry-run=server", "--filename", "-"]
    return subprocess.run(command, input=json.dumps(body), capture_output=True, text=True, check=False).stderr


def test_the_readmes_commands_work_in_a_strict_cluster(strict: Cluster, tmp_path: Path) -> None:
    began, shop, home = now(), Namespace(strict, SHOP), Namespace(strict, HOME)
    (tmp_path / "strict.yaml").write_text(block("values: strict"))
    allowed = list(yaml.safe_load_all(block("objects: network")))

    def add_values(command: str) -> str:
        return f"{command} --values strict.yaml" if command.startswith("helm install") else command

    def after(command: str) -> None:
        if command.startswith("kubectl create namespace"):
            make_strict(strict, SHOP)
            for each in allowed:
                shop.apply(each)

    assert run_page("README.md", tmp_path, add_values, after) > 5

    shop.kubectl("create", "job", "--from=cronjob/close-abandoned-carts-tick", "tick-by-hand")
    job = shop.until("batch/v1 Job", "tick-by-hand", finished, what="the tick's Job ends", patience=120)
    assert job["status"].get("succeeded") == 1, job["status"]
    assert_nothing_was_denied(began, home, shop)
    assert_all_is_labelled(home, shop)
    assert_connections(home, shop)


def finished(job: Object) -> bool:
    return any(
        each["type"] in ("Complete", "Failed") and each["status"] == "True"
        for each in job["status"].get("conditions", [])
    )


def assert_nothing_was_denied(began: str, *namespaces: Namespace) -> None:
    """No request of the controller, and none that creates its pods, was denied, even temporarily."""
    names = {each.name for each in namespaces}
    ours = (f"system:serviceaccount:{HOME}:", "system:serviceaccount:kube-system:", "system:kube-controller-manager")
    found = [each for each in requests(began) if each.namespace in names and each.user.startswith(ours)]
    assert any(each.verb == "create" and each.resource == "pods" for each in found)
    assert [str(each) for each in found if each.code in (403, 422) and each.verb not in ("get", "list", "watch")] == []
    for each in namespaces:
        assert [one["message"] for one in each.all("v1 Event") if one["reason"] == "FailedCreate"] == []


def assert_all_is_labelled(*namespaces: Namespace) -> None:
    seen = {kind: [one for each in namespaces for one in each.all(kind)] for kind in WORKLOADS}
    assert all(seen.values()), {kind: len(found) for kind, found in seen.items()}
    for found in seen.values():
        assert [one["metadata"]["name"] for one in found if "team" not in one["metadata"]["labels"]] == []


def assert_connections(home: Namespace, shop: Namespace) -> None:
    """A connection that is not allowed fails, which shows that the policies were enforced."""
    queue = home.get("v1 Service", "kubesweep-redis")
    assert queue is not None
    address = f"/dev/tcp/{queue['spec']['clusterIP']}/6379"
    connect = f"timeout 5 bash -c '</dev/tcp/127.0.0.1/5432' && timeout 5 bash -c '<{address}'"
    command = ["kubectl", "--namespace", SHOP, "exec", "deploy/shop-db", "--", "sh", "-c", connect]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 124, "the database reaches the queue"
    policies = {each["metadata"]["name"] for each in home.all("networking.k8s.io/v1 NetworkPolicy")}
    assert policies == {"default-deny", "kubesweep", "kubesweep-redis"}
