"""What the chart renders, for each preset of installing it (charts/kubesweep/ci)."""

from __future__ import annotations

import tomllib

import kubernetes_validate
import pytest
import yaml

from tests.chart.rendering import (
    CHART,
    CLUSTER_SCOPED,
    CUSTOM_KINDS,
    NAMESPACE,
    PRESETS,
    ROOT,
    VERSIONS,
    Object,
    environment,
    helm,
    identity,
    kinds,
    one,
    pods,
    render,
    values_file,
)

RESTRICTED_VOLUMES = {
    "configMap",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("preset", PRESETS)
def test_kubernetes_knows_every_field(preset: str, version: str) -> None:
    for o in render(preset):
        if o["kind"] not in CUSTOM_KINDS:
            assert kubernetes_validate.validate(o, version, strict=True) == version


def test_an_unknown_field_of_a_kubernetes_object_is_found() -> None:
    service = one(render(), "Service", "ks-kubesweep-metrics")
    service["spec"]["selectr"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="selectr"):
        kubernetes_validate.validate(service, VERSIONS[0], strict=True)


@pytest.mark.parametrize("preset", PRESETS)
def test_helm_lint_reports_no_problem(preset: str) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART), "--values", str(values_file(preset)))


@pytest.mark.parametrize("preset", PRESETS)
def test_no_object_is_rendered_twice(preset: str) -> None:
    seen = [identity(o) for o in render(preset)]
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"preset": "watch-namespaces"}, {"preset": "second-release", "namespace": "other"}),
        ({"preset": "watch-namespaces"}, {"preset": "second-release", "release": "other"}),
        ({"preset": "namespaced"}, {"preset": "namespaced", "namespace": "other"}),
    ],
)
def test_two_releases_in_one_cluster_share_no_object(first: dict[str, str], second: dict[str, str]) -> None:
    here = {identity(o) for o in render(**first)}
    there = {identity(o, second.get("namespace", NAMESPACE)) for o in render(**second)}
    assert here & there == set()


@pytest.mark.parametrize("preset", PRESETS)
def test_other_releases_identify_a_release_by_its_deployment(preset: str) -> None:
    """``status.servedBy`` has the release's namespace and the name of its Lease, which is also the Deployment's."""
    objects = render(preset)
    deployment = one(objects, "Deployment")
    assert environment(objects)["KUBESWEEP_LEASE_NAME"] == deployment["metadata"]["name"]
    assert "KUBESWEEP_NAMESPACES" in environment(objects)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_pod_is_restricted(preset: str) -> None:
    found = dict(pods(render(preset)))
    assert found
    for where, spec in found.items():
        assert spec["securityContext"]["runAsNonRoot"] is True, where
        assert spec["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault", where
        assert spec["securityContext"].get("runAsUser") != 0, where
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), where
        for container in spec["containers"] + spec.get("initContainers", []):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, where
            assert context["readOnlyRootFilesystem"] is True, where
            assert context["capabilities"] == {"drop": ["ALL"]}, where
        for volume in spec.get("volumes", []):
            assert volume.keys() - {"name"} <= RESTRICTED_VOLUMES, where


@pytest.mark.parametrize("preset", PRESETS)
def test_every_container_has_requests_and_only_the_controller_has_a_token(preset: str) -> None:
    for where, spec in pods(render(preset)):
        assert spec["enableServiceLinks"] is False
        assert spec["automountServiceAccountToken"] is not where.startswith("StatefulSet/")
        for container in spec["containers"]:
            assert "memory" in container["resources"]["limits"], where
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), where


def test_namespaced_renders_nothing_outside_its_namespace() -> None:
    objects = render("namespaced")
    assert CLUSTER_SCOPED & {o["kind"] for o in objects} == set()
    assert {o["metadata"].get("namespace", NAMESPACE) for o in objects} == {NAMESPACE}
    assert environment(objects)["KUBESWEEP_NAMESPACES"] == NAMESPACE
    assert kinds(render("default", "namespaced=true"), *CLUSTER_SCOPED) == [], "also with crds.enabled"


def test_every_optional_value_is_rendered() -> None:
    objects = render("everything")
    for o in objects:
        if o["metadata"]["name"] not in ("sweeper-extra", "ks-as-text"):
            assert o["metadata"]["labels"]["team"] == "data"
            assert o["metadata"]["annotations"]["example.com/owner"] == "data-team"
    assert one(objects, "ConfigMap", "sweeper-extra")["data"] == {"release": "ks"}
    assert one(objects, "PodDisruptionBudget")["spec"]["maxUnavailable"] == "50%"
    assert one(objects, "PersistentVolumeClaim")["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert one(objects, "PersistentVolumeClaim")["spec"]["storageClassName"] == ""
    assert "helm.sh/resource-policy" not in one(objects, "CustomResourceDefinition")["metadata"]["annotations"]
    for kind in ("ServiceMonitor", "PodMonitor", "PrometheusRule"):
        assert one(objects, kind)["metadata"]["labels"]["release"] == "prometheus"
    controller = one(objects, "Deployment")["spec"]
    assert controller["replicas"] == 2
    assert controller["template"]["spec"]["securityContext"]["runAsUser"] == 12345
    assert controller["strategy"] == {"type": "Recreate"}, "the API server rejects Recreate together with rollingUpdate"
    assert (controller["revisionHistoryLimit"], one(objects, "StatefulSet")["spec"]["revisionHistoryLimit"]) == (2, 2)
    pod = controller["template"]["spec"]
    liveness = pod["containers"][0]["livenessProbe"]
    assert (liveness["timeoutSeconds"], liveness["periodSeconds"], liveness["httpGet"]["path"]) == (10, 15, "/healthz")
    for each in (pod, one(objects, "StatefulSet")["spec"]["template"]["spec"]):
        assert each["runtimeClassName"] == "gvisor"
    assert one(objects, "Service", "sweeper-metrics")["metadata"]["labels"]["example.com/tenant"] == "data"
    assert one(objects, "ServiceMonitor")["spec"]["targetLabels"] == ["example.com/tenant"]
    [spread] = controller["template"]["spec"]["topologySpreadConstraints"]
    assert spread["labelSelector"] == {"matchLabels": controller["selector"]["matchLabels"]}
    redis_conf = one(objects, "ConfigMap", "sweeper-redis")["data"]["redis.conf"]
    assert redis_conf.endswith("maxmemory 1gb\ntimeout 0\ntcp-keepalive 60\n")


def test_extra_containers_and_init_containers_are_added_to_the_controller() -> None:
    more = '{"extraContainers": [{"name": "refresher", "image": "r:1"}], "extraInitContainers": [{"name": "first", "image": "f:1"}]}'
    deployment = one(render(json=f"controller={more}"), "Deployment")
    assert kubernetes_validate.validate(deployment, VERSIONS[0], strict=True) == VERSIONS[0]
    pod = deployment["spec"]["template"]["spec"]
    assert [each["name"] for each in pod["containers"]] == ["controller", "refresher"]
    assert [each["name"] for each in pod["initContainers"]] == ["first"]


def test_a_disruption_budget_may_set_min_available() -> None:
    on = "controller.podDisruptionBudget.enabled=true"
    assert one(render("default", on), "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    budget = one(render("default", on, "controller.podDisruptionBudget.minAvailable=1"), "PodDisruptionBudget")["spec"]
    assert (budget["minAvailable"], "maxUnavailable" in budget) == (1, False)


def test_selectors_match_only_their_pods() -> None:
    objects = render("everything")
    labels = {
        o["kind"]: o["spec"]["template"]["metadata"]["labels"] for o in kinds(objects, "Deployment", "StatefulSet")
    }

    def selected(selector: dict[str, str]) -> set[str]:
        return {kind for kind, have in labels.items() if selector.items() <= have.items()}

    assert selected(one(objects, "Service", "sweeper-redis")["spec"]["selector"]) == {"StatefulSet"}
    assert selected(one(objects, "Service", "sweeper-metrics")["spec"]["selector"]) == {"Deployment"}
    assert selected(one(objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"]) == {"Deployment"}
    for kind, name in (("Deployment", "sweeper"), ("StatefulSet", "sweeper-redis")):
        assert selected(one(objects, kind)["spec"]["selector"]["matchLabels"]) == {kind}
        policy = one(objects, "NetworkPolicy", name)
        assert selected(policy["spec"]["podSelector"]["matchLabels"]) == {kind}


def test_the_network_policy_admits_workers_of_served_namespaces() -> None:
    def workers(preset: str) -> Object:
        [rule] = one(render(preset, "networkPolicy.enabled=true"), "NetworkPolicy", "ks-kubesweep-redis")["spec"][
            "ingress"
        ]
        [peer] = [
            p
            for p in rule["from"]
            if "kubesweep" in str(p.get("podSelector", {}).get("matchLabels", {}).get("app.kubernetes.io/managed-by"))
        ]
        return dict(peer["namespaceSelector"])

    assert workers("default") == {}
    assert workers("watch-namespaces")["matchExpressions"][0]["values"] == ["shop", "support"]


def test_the_alerts_are_those_of_the_file_with_prometheus_templates_unchanged() -> None:
    alerts = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
    plain = render("default", "metrics.prometheusRule.enabled=true")
    assert one(plain, "PrometheusRule")["spec"] == alerts
    named = str(one(render("everything"), "PrometheusRule")["spec"])
    own = f'absent(kubesweep_leader{{namespace="{NAMESPACE}", job="sweeper-metrics"}})'
    assert named == str(alerts).replace("absent(kubesweep_leader)", own) != str(alerts)
    assert "{{ $labels" in str(alerts)
    assert kinds(render(), "PrometheusRule") == []


def test_the_crd_is_the_generated_one_with_helms_metadata() -> None:
    generated = yaml.safe_load((CHART / "files" / "crd.yaml").read_text())
    rendered = one(render(), "CustomResourceDefinition")
    assert rendered["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    assert rendered["metadata"].pop("labels")["app.kubernetes.io/managed-by"] == "Helm"
    assert rendered == generated
    assert kinds(render("default", "crds.enabled=false"), "CustomResourceDefinition") == []


def test_the_chart_has_the_projects_version_and_announces_its_images() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert chart["version"] == chart["appVersion"] == project
    announced = {image["image"] for image in yaml.safe_load(chart["annotations"]["artifacthub.io/images"])}
    objects = render()
    used = {c["image"] for _, spec in pods(objects) for c in spec["containers"]}
    assert announced == used | {environment(objects)["KUBESWEEP_WORKER_IMAGE"]}
