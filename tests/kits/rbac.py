"""Service accounts with the rights that the chart grants the controller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from kubesweep_controller.kube.client import Kind, KubeClient
from tests.cluster.testbed import REPOSITORY

RBAC = "rbac.authorization.k8s.io"
ACCOUNTS = Kind("v1", "ServiceAccount", "serviceaccounts")
Right = tuple[str, str, str]  # API group, resource with its subresource, verb


def rules_of_the_chart() -> list[dict[str, Any]]:
    """The RBAC rules of the controller, from the plain manifest that the chart renders."""
    rules: list[dict[str, Any]] = []
    for each in yaml.safe_load_all((REPOSITORY / "manifests" / "install.yaml").read_text("utf-8")):
        if each and each["kind"] in ("ClusterRole", "Role") and _is_controllers(each["metadata"]):
            rules += each["rules"]
    return rules


def _is_controllers(meta: dict[str, Any]) -> bool:
    """The other Roles are for people."""
    return bool(meta["labels"]["app.kubernetes.io/component"] == "controller")


def rights_of_the_chart() -> set[Right]:
    return {
        (group, resource, verb)
        for rule in rules_of_the_chart()
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


async def create_account(api: KubeClient, namespace: str, name: str, folder: Path) -> Path:
    """Create a ServiceAccount with the chart's rights in ``namespace``. Returns the file of its token, once RBAC grants the rights."""
    meta = {"name": name, "namespace": namespace}
    await api.create(ACCOUNTS, {"metadata": meta})
    rules = rules_of_the_chart()
    for rule in rules:
        if "leases" in rule["resources"]:
            rule.pop("resourceNames", None)  # the Lease has another name in each release
    await api.create(Kind(f"{RBAC}/v1", "Role", "roles"), {"metadata": meta, "rules": rules})
    binding = {
        "metadata": meta,
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
    }
    await api.create(Kind(f"{RBAC}/v1", "RoleBinding", "rolebindings"), binding)
    while not await _may_list(api, namespace, name):
        pass
    token_request = Kind("v1", "TokenRequest", f"serviceaccounts/{name}/token")
    answer = await api.create(token_request, {"metadata": meta, "spec": {}})
    file = folder / f"token-{name}"
    file.write_text(answer["status"]["token"])
    return file


async def _may_list(api: KubeClient, namespace: str, name: str) -> bool:
    about = {"group": "kubesweep.dev", "resource": "sweepschedules", "verb": "list", "namespace": namespace}
    review = {
        "metadata": {"namespace": ""},
        "spec": {"user": f"system:serviceaccount:{namespace}:{name}", "resourceAttributes": about},
    }
    kind = Kind("authorization.k8s.io/v1", "SubjectAccessReview", "subjectaccessreviews")
    return bool((await api.create(kind, review))["status"]["allowed"])
