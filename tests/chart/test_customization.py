"""Settings that installations need: labels, registries, pull secrets, long names, policies, monitors, and values of an older release."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubesweep_controller.children.pod_policy import PodPolicy
from kubesweep_controller.settings import from_environment
from tests.chart.rendering import CHART, NAMESPACE, Refused, environment, helm, kinds, one, pods, render, text

MIRROR = "mirror.corp.example:5000"


class UniqueKeyLoader(yaml.SafeLoader):
    """Rejects duplicate keys, as strict YAML parsers do."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key) for key, _ in node.value]
        assert len(set(map(str, keys))) == len(keys), keys
        return super().construct_mapping(node, deep)


@pytest.mark.parametrize(
    "sets",
    [
        "controller.podLabels.app\\.kubernetes\\.io/part-of=data-platform",
        "redis.podLabels.app\\.kubernetes\\.io/name=redis",
        "commonLabels.app\\.kubernetes\\.io/name=data-platform",
        "commonLabels.app\\.kubernetes\\.io/managed-by=me",
        "serviceAccount.labels.helm\\.sh/chart=x",
        "controller.podAnnotations.kubectl\\.kubernetes\\.io/default-container=other",
        "redis.podAnnotations.checksum/config=x",
        "metrics.serviceMonitor.enabled=true,metrics.serviceMonitor.labels.app\\.kubernetes\\.io/component=x",
    ],
)
def test_a_users_label_appears_once_and_never_breaks_a_selector(sets: str) -> None:
    made = text("default", *sets.split(","))
    for document in yaml.load_all(made, UniqueKeyLoader):
        if document and document["kind"] in ("Deployment", "StatefulSet"):
            wanted = document["spec"]["selector"]["matchLabels"]
            assert wanted.items() <= document["spec"]["template"]["metadata"]["labels"].items()
            assert wanted["app.kubernetes.io/name"] == "kubesweep"


def test_a_mirror_and_its_secret_reach_every_image() -> None:
    made = render(json=f'global={{"imageRegistry": "{MIRROR}", "imagePullSecrets": ["corp", {{"name": "other"}}]}}')
    for _, pod in pods(made):
        assert pod["imagePullSecrets"] == [{"name": "corp"}, {"name": "other"}]
        assert all(each["image"].startswith(f"{MIRROR}/") for each in pod["containers"])
    env = {
        each["name"]: each.get("value")
        for each in one(made, "Deployment")["spec"]["template"]["spec"]["containers"][0]["env"]
    }
    assert env["KUBESWEEP_WORKER_IMAGE"].startswith(f"{MIRROR}/")
    assert env["KUBESWEEP_WORKER_PULL_SECRETS"] == "corp,other"
    [init] = one(made, "SweepSchedule")["spec"]["worker"]["podTemplate"]["spec"]["initContainers"]
    assert init["image"].startswith(f"{MIRROR}/")


def test_common_labels_reach_the_controllers_children() -> None:
    env = one(render("default", "commonLabels.team=data", "worker.copiedLabels={cost}"), "Deployment")["spec"][
        "template"
    ]
    given = {each["name"]: each.get("value") for each in env["spec"]["containers"][0]["env"]}
    assert given["KUBESWEEP_LABELS"] == '{"team":"data"}'
    assert given["KUBESWEEP_COPIED_LABELS"] == "cost"


@pytest.mark.parametrize("release", ["x" * 31, "kubesweep-system-kubesweep-production-eu1", "a" * 53])
def test_names_stay_within_limits_for_any_release(release: str) -> None:
    made = render(release=release)
    assert len(one(made, "SweepSchedule")["metadata"]["name"]) <= 45
    # Each pod of a StatefulSet has a label with the name and a hash of ten characters.
    assert len(one(made, "StatefulSet")["metadata"]["name"]) <= 52
    assert all(len(each["metadata"]["name"]) <= 63 for each in kinds(made, "Service", "Deployment"))


@pytest.mark.parametrize("namespace", ["123", "1e5", "true"])
def test_a_name_that_looks_like_a_number_stays_text(namespace: str) -> None:
    made = render(namespace=namespace, json=f'watchNamespaces=["{namespace}"]')
    assert all(isinstance(each["metadata"].get("namespace", ""), str) for each in made)
    [subject] = one(made, "RoleBinding", "ks-kubesweep-lease")["subjects"]
    assert subject["namespace"] == namespace


def test_namespace_override_moves_all_objects() -> None:
    made = render("default", "namespaceOverride=elsewhere")
    homes = {each["metadata"].get("namespace") for each in made if "namespace" in each["metadata"]}
    assert homes == {"elsewhere"}
    env = one(made, "Deployment")["spec"]["template"]["spec"]["containers"][0]["env"]
    assert any("kubesweep-redis.elsewhere.svc" in each.get("value", "") for each in env)


@pytest.mark.parametrize("block", sorted(yaml.safe_load((CHART / "values.yaml").read_text()).keys() - {"enabled"}))
def test_values_of_an_older_release_may_lack_whole_blocks(block: str, tmp_path: Path) -> None:
    """`helm upgrade --reuse-values` renders without the blocks that were added since."""
    whole = render()
    file = tmp_path / "older.yaml"
    file.write_text(f"{block}: null\n")
    made = helm("template", "ks", str(CHART), "--namespace", NAMESPACE, "--values", str(file))
    assert len([each for each in yaml.safe_load_all(made) if each]) == len(whole)


@pytest.mark.parametrize("part", ["controller", "redis", "worker"])
def test_values_of_an_older_release_may_lack_new_keys(part: str, tmp_path: Path) -> None:
    older = {
        "controller": dict.fromkeys(
            (
                "strategy",
                "revisionHistoryLimit",
                "livenessProbe",
                "readinessProbe",
                "runtimeClassName",
                "extraContainers",
            )
        ),
        "redis": dict.fromkeys(("revisionHistoryLimit", "runtimeClassName")),
        "worker": dict.fromkeys(("podTemplate", "defaults")),
    }
    file = tmp_path / "older.yaml"
    file.write_text(yaml.safe_dump({part: older[part]}))
    made = list(
        yaml.safe_load_all(helm("template", "ks", str(CHART), "--values", str(file), "--skip-schema-validation"))
    )
    controller = one([each for each in made if each], "Deployment")["spec"]
    assert controller["strategy"]["type"] == "RollingUpdate"
    assert controller["template"]["spec"]["containers"][0]["livenessProbe"]["failureThreshold"] == 4


def test_the_pod_policy_reaches_the_controller_and_is_restrictive_by_default() -> None:
    def policy(values: str = "") -> PodPolicy:
        return from_environment(environment(render(json=values)) | {"POD_NAMESPACE": "a", "POD_NAME": "b"}).pod_policy

    assert policy() == PodPolicy(privileged=False, token=False, service_accounts=("*",))
    given = {"allowPrivileged": True, "allowToken": True, "serviceAccounts": ["carts-iam", "jobs"]}
    assert policy(f"worker={json.dumps({'podTemplate': given})}") == PodPolicy(True, True, ("carts-iam", "jobs"))
    assert policy('worker={"podTemplate": {"serviceAccounts": []}}').service_accounts == ()
    with pytest.raises(Refused):
        policy('worker={"podTemplate": {"allowHostPath": true}}')


def test_a_value_set_to_null_is_omitted() -> None:
    made = render(json='redis={"podSecurityContext": {"runAsUser": null, "runAsGroup": null, "fsGroup": null}}')
    pod = one(made, "StatefulSet")["spec"]["template"]["spec"]["securityContext"]
    assert not {"runAsUser", "runAsGroup", "fsGroup"} & pod.keys()


def test_monitors_honor_labels_and_accept_relabelings_and_rule_labels() -> None:
    monitor = {
        "enabled": True, "namespace": "monitoring", "annotations": {"a": "b"}, "relabelings": [{"action": "labeldrop", "regex": "pod"}],
    }  # fmt: skip
    rule = {"enabled": True, "namespace": "monitoring", "additionalRuleLabels": {"team": "data"}}
    metrics = json.dumps({"serviceMonitor": monitor, "prometheusRule": rule})
    made = render(json=f"metrics={metrics}")
    found = one(made, "ServiceMonitor")
    assert found["metadata"]["namespace"] == "monitoring"
    assert found["spec"]["namespaceSelector"] == {"matchNames": [NAMESPACE]}
    [endpoint] = found["spec"]["endpoints"]
    assert endpoint["honorLabels"] is True
    release = {"sourceLabels": ["__meta_kubernetes_service_label_app_kubernetes_io_instance"], "targetLabel": "release"}
    assert endpoint["relabelings"] == [release, {"action": "labeldrop", "regex": "pod"}]
    alerts = [each for group in one(made, "PrometheusRule")["spec"]["groups"] for each in group["rules"]]
    assert alerts
    assert all(each["labels"]["team"] == "data" for each in alerts)


def test_the_controllers_egress_can_be_limited() -> None:
    policy = one(
        render("default", "networkPolicy.enabled=true", "networkPolicy.egress.enabled=true"),
        "NetworkPolicy",
        "ks-kubesweep",
    )
    ports = {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}
    assert ports == {53, 443, 6443, "redis"}
    assert "Egress" in policy["spec"]["policyTypes"]


@pytest.mark.parametrize(
    "more",
    [
        {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "x"}, "data": {"about": "kind: SweepSchedule"}},
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {about: a SweepSchedule}\n",
    ],
)
def test_an_extra_object_that_only_mentions_a_schedule_is_accepted(more: Any, tmp_path: Path) -> None:
    file = tmp_path / "more.yaml"
    file.write_text(yaml.safe_dump({"extraObjects": [more]}))
    made = helm("template", "ks", str(CHART), "--namespace", NAMESPACE, "--values", str(file))
    assert "SweepSchedule" in made


@pytest.mark.parametrize(
    ("sets", "error"),
    [
        ("redis.persistence.existingClaim=mine", "redis.persistence.enabled"),
        ("redis.enabled=false,externalRedis.url=redis://cache:6379/0", "A queue without a password is not supported"),
    ],
)
def test_values_without_effect_are_rejected(sets: str, error: str) -> None:
    with pytest.raises(Refused, match=error):
        render("default", *sets.split(","))


def test_services_have_the_configured_ip_families() -> None:
    made = render(
        "default", "service.ipFamilyPolicy=PreferDualStack", "service.ipFamilies={IPv6,IPv4}", "enabled=false"
    )
    for service in kinds(made, "Service"):
        assert service["spec"]["ipFamilyPolicy"] == "PreferDualStack"
        assert service["spec"]["ipFamilies"] == ["IPv6", "IPv4"]
