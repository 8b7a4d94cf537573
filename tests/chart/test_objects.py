"""What the chart renders, for each way of installing it (charts/kubesweep/ci)."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from kubesweep.queue.redis.connections import parse
from tests.chart.rendering import (
    CHART,
    CLUSTER_SCOPED,
    HOUSE,
    NAMESPACE,
    WAYS,
    Object,
    environment,
    helm,
    identity,
    is_hook,
    kinds,
    one,
    pods,
    render,
    text,
    values_file,
)

VERSIONS = ("1.33", "1.34", "1.35", "1.36")
NOT_OF_KUBERNETES = {"SweepSchedule", "ServiceMonitor", "PrometheusRule"}
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
@pytest.mark.parametrize("way", WAYS)
def test_kubernetes_knows_every_field(way: str, version: str) -> None:
    for o in render(way):
        if o["kind"] not in NOT_OF_KUBERNETES:
            assert kubernetes_validate.validate(o, version, strict=True) == version


def test_an_unknown_field_of_a_kubernetes_object_is_found() -> None:
    service = one(render(), "Service", "ks-kubesweep-metrics")
    service["spec"]["selectr"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="selectr"):
        kubernetes_validate.validate(service, VERSIONS[0], strict=True)


@pytest.mark.parametrize("way", WAYS)
def test_helm_lint_reports_no_problem(way: str) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART), "--values", str(values_file(way)))


@pytest.mark.parametrize("way", WAYS)
def test_no_object_is_rendered_twice(way: str) -> None:
    seen = [identity(o) for o in render(way)]
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"way": "watch-namespaces"}, {"way": "second-release", "namespace": "other"}),
        ({"way": "watch-namespaces"}, {"way": "second-release", "release": "other"}),
        ({"way": "namespaced"}, {"way": "namespaced", "namespace": "other"}),
    ],
)
def test_two_releases_in_one_cluster_share_no_object(first: dict[str, str], second: dict[str, str]) -> None:
    here = {identity(o) for o in render(**first)}
    there = {identity(o, second.get("namespace", NAMESPACE)) for o in render(**second)}
    assert here & there == set()


@pytest.mark.parametrize("way", WAYS)
def test_other_releases_identify_a_release_by_its_deployment(way: str) -> None:
    """They look for it by what it writes into ``status.servedBy``: its namespace and the name of its Lease."""
    objects = render(way)
    deployment = one(objects, "Deployment")
    assert environment(objects)["KUBESWEEP_LEASE_NAME"] == deployment["metadata"]["name"]
    assert "KUBESWEEP_NAMESPACES" in environment(objects)


@pytest.mark.parametrize("way", WAYS)
def test_every_pod_is_restricted(way: str) -> None:
    found = dict(pods(render(way)))
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


@pytest.mark.parametrize("way", WAYS)
def test_every_container_has_requests_and_only_the_controller_has_a_token(way: str) -> None:
    for where, spec in pods(render(way)):
        assert spec["enableServiceLinks"] is False
        assert spec["automountServiceAccountToken"] is not where.startswith("StatefulSet/")
        for container in spec["containers"]:
            assert "memory" in container["resources"]["limits"], where
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), where


@pytest.mark.parametrize("way", WAYS)
def test_the_controller_parses_the_queues_url(way: str) -> None:
    settings = environment(render(way))
    url = settings["KUBESWEEP_QUEUE"].replace("$(KUBESWEEP_QUEUE_USER)", "who")
    target = parse(url)  # the controller's own parser: raises where it would
    provider: Any = target.options["credential_provider"]
    assert provider._path.as_posix() == "/run/kubesweep/admin/password"
    assert provider._username
    if "sentinel" in url:
        assert target.sentinel["credential_provider"]._path.as_posix() == "/run/kubesweep/admin/sentinel-password"
    assert settings["KUBESWEEP_QUEUE_USERS"] in ("per-namespace", "shared")


def test_each_installation_uses_the_expected_queue() -> None:
    found = {
        way: (target.kind, target.tls, "ssl_ca_certs" in target.options, settings["KUBESWEEP_QUEUE_USERS"])
        for way in WAYS
        for settings in [environment(render(way))]
        for target in [parse(settings["KUBESWEEP_QUEUE"])]
    }
    own = ("server", False, False, "per-namespace")
    assert found == {
        "cluster-redis": ("cluster", True, True, "shared"),
        "default": own,
        "everything": ("server", False, False, "shared"),
        "external-redis": ("server", True, True, "per-namespace"),
        "gitops": own,
        "managed-redis": ("server", True, False, "shared"),
        "namespaced": own,
        "second-release": own,
        "sentinel": ("sentinel", False, False, "shared"),
        "watch-namespaces": own,
    }


def test_an_external_redis_replaces_the_bundled_one_and_its_files_come_from_its_secret() -> None:
    objects = render("external-redis")
    assert kinds(objects, "StatefulSet", "PersistentVolumeClaim") == []
    assert [o["metadata"]["name"] for o in kinds(objects, "Secret") if not is_hook(o)] == []
    [_, queue] = one(objects, "Deployment")["spec"]["template"]["spec"]["volumes"]
    assert queue["secret"] == {
        "secretName": "queue-login",
        "items": [{"key": "ca.crt", "path": "ca.crt"}, {"key": "password", "path": "password"}],
    }
    [_, queue] = one(render("sentinel"), "Deployment")["spec"]["template"]["spec"]["volumes"]
    assert {"key": "sentinel", "path": "sentinel-password"} in queue["secret"]["items"]


def test_the_user_of_a_managed_redis_comes_from_its_secret() -> None:
    [container] = one(render("managed-redis"), "Deployment")["spec"]["template"]["spec"]["containers"]
    names = [entry["name"] for entry in container["env"]]
    assert names.index("KUBESWEEP_QUEUE_USER") < names.index("KUBESWEEP_QUEUE")  # else $(...) is not replaced
    assert environment(render("managed-redis"))["KUBESWEEP_QUEUE"].startswith("rediss://$(KUBESWEEP_QUEUE_USER)@queue.")


@pytest.mark.parametrize("way", WAYS)
def test_two_renderings_are_identical(way: str) -> None:
    assert text(way) == text.__wrapped__(way)


def test_no_password_is_rendered_and_the_controller_gets_the_name_of_the_secret() -> None:
    objects = render()
    secret = one([o for o in objects if not is_hook(o)], "Secret")
    assert not {"data", "stringData"} & secret.keys()
    name = secret["metadata"]["name"]
    assert environment(objects)["KUBESWEEP_QUEUE_SECRET"] == name
    [_, queue] = one(objects, "Deployment")["spec"]["template"]["spec"]["volumes"]
    assert (queue["secret"]["secretName"], queue["secret"]["optional"]) == (name, True), (
        "or the one that makes it never starts"
    )
    [_, password, *_] = one(objects, "StatefulSet")["spec"]["template"]["spec"]["volumes"]
    assert (password["secret"]["secretName"], "optional" in password["secret"]) == (name, False)


@pytest.mark.parametrize("way", ["gitops", "external-redis", "sentinel"])
def test_an_existing_password_is_required_and_never_generated(way: str) -> None:
    objects = render(way)
    assert "KUBESWEEP_QUEUE_SECRET" not in environment(objects)
    [_, queue] = one(objects, "Deployment")["spec"]["template"]["spec"]["volumes"]
    assert "optional" not in queue["secret"]


def test_an_existing_secret_replaces_the_charts() -> None:
    objects = render("gitops")
    assert kinds(objects, "Secret") == []


def test_an_upgrade_of_the_chart_does_not_restart_the_queue(tmp_path: Path) -> None:
    later = tmp_path / "kubesweep"
    shutil.copytree(CHART, later)
    meta = (later / "Chart.yaml").read_text()
    (later / "Chart.yaml").write_text(re.sub(r"^(version|appVersion): .*$", r'\1: "9.8.7"', meta, flags=re.MULTILINE))
    rendered = yaml.safe_load_all(helm("template", "ks", str(later), "--namespace", NAMESPACE))
    after = one([each for each in rendered if each], "StatefulSet")
    before = one(render(release="ks"), "StatefulSet")
    assert after["metadata"]["labels"] != before["metadata"]["labels"]
    assert after["spec"] == before["spec"]


def test_a_change_of_its_settings_restarts_the_queue() -> None:
    before, after = (one(render("default", *sets), "StatefulSet") for sets in ((), ("redis.maxmemory=64mb",)))
    assert before["spec"]["template"]["metadata"] != after["spec"]["template"]["metadata"]


def test_namespaced_renders_nothing_outside_its_namespace() -> None:
    objects = render("namespaced")
    assert CLUSTER_SCOPED & {o["kind"] for o in objects} == set()
    assert {o["metadata"].get("namespace", NAMESPACE) for o in objects} == {NAMESPACE}
    assert environment(objects)["KUBESWEEP_NAMESPACES"] == NAMESPACE
    assert kinds(render("default", "namespaced=true"), *CLUSTER_SCOPED) == [], "with crds.enabled too"


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
    for kind in ("ServiceMonitor", "PrometheusRule"):
        assert one(objects, kind)["metadata"]["labels"]["release"] == "prometheus"
    controller = one(objects, "Deployment")["spec"]
    assert controller["replicas"] == 2
    assert controller["template"]["spec"]["securityContext"]["runAsUser"] == 12345
    assert controller["strategy"] == {"type": "Recreate"}, "with rollingUpdate beside it the API server refuses it"
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
    def workers(way: str) -> Object:
        [rule] = one(render(way, "networkPolicy.enabled=true"), "NetworkPolicy", "ks-kubesweep-redis")["spec"][
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
    project = tomllib.loads((HOUSE / "pyproject.toml").read_text())["project"]["version"]
    assert chart["version"] == chart["appVersion"] == project
    announced = {image["image"] for image in yaml.safe_load(chart["annotations"]["artifacthub.io/images"])}
    objects = render()
    used = {c["image"] for _, spec in pods(objects) for c in spec["containers"]}
    assert announced == used | {environment(objects)["KUBESWEEP_WORKER_IMAGE"]}
