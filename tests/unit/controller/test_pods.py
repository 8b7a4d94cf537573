"""Pods of workers and producers: security, overlays, environment, resources."""

from __future__ import annotations

from typing import Any

import pytest

from kubesweep.api.plan import Plan
from kubesweep.grace_period import grace_seconds
from kubesweep_controller.children.pod_settings import PodSettings
from tests.unit.controller.test_children import (
    SINCE,
    cronjob,
    deployment,
    env_of,
    plan,
    producer_of,
    schedule,
    worker_of,
)


@pytest.mark.parametrize(
    "pod", [deployment()["spec"]["template"], cronjob()["spec"]["jobTemplate"]["spec"]["template"]]
)
def test_both_kinds_of_pods_live_under_the_restricted_standard(pod: dict[str, Any]) -> None:
    spec = pod["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    [container] = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]
    assert all(set(volume) & {"secret", "emptyDir"} for volume in spec["volumes"])
    assert all(volume["secret"]["optional"] is True for volume in spec["volumes"] if "secret" in volume)


def test_the_worker_gets_its_plan_its_queue_and_the_paths_of_secrets() -> None:
    env = env_of(worker_of(deployment()))
    assert Plan.from_json(env["KUBESWEEP_PLAN"]) == plan(schedule())
    assert env["KUBESWEEP_QUEUE"] == "redis://ks@redis.kubesweep.svc:6379/0?password_file=/run/kubesweep/queue/password"
    assert env["KUBESWEEP_DATABASE_URL_FILE"] == "/run/kubesweep/database/url"
    assert env["KUBESWEEP_DATABASE_SECRET"] == "shop-db/url"
    assert "KUBESWEEP_HEADERS_DIR" not in env
    assert worker_of(deployment())["command"] == ["kubesweep-worker", "work"]


METRICS = {"name": "metrics", "containerPort": 8080, "protocol": "TCP"}


def with_worker(**container: Any) -> dict[str, Any]:
    return {"podTemplate": {"spec": {"containers": [{"name": "worker", **container}]}}}


def test_a_worker_is_scraped_and_a_producer_is_not() -> None:
    pod = deployment()["spec"]["template"]
    scraped = {"prometheus.io/scrape": "true", "prometheus.io/port": "8080", "prometheus.io/path": "/metrics"}
    assert pod["metadata"]["annotations"].items() >= scraped.items()
    assert worker_of(deployment())["ports"] == [METRICS]
    producer = cronjob()["spec"]["jobTemplate"]["spec"]["template"]
    assert not scraped.keys() & producer["metadata"]["annotations"].keys()
    assert "ports" not in producer_of(cronjob())


def test_the_pods_of_workers_name_their_release() -> None:
    labels = deployment(PodSettings("worker:1", release="ks"))["spec"]["template"]["metadata"]["labels"]
    assert labels["kubesweep.dev/release"] == "ks"
    assert "kubesweep.dev/release" not in deployment()["spec"]["template"]["metadata"]["labels"]


@pytest.mark.parametrize(
    "port",
    [{"name": "metrics", "containerPort": 9000}, {"name": "web", "containerPort": 8080}, {"containerPort": 8080}],
)
def test_a_port_of_the_users_own_with_its_name_or_number_stays_alone(port: dict[str, Any]) -> None:
    """The API server refuses two ports with one name."""
    assert worker_of(deployment(worker=with_worker(ports=[port])))["ports"] == [port]


def test_another_port_is_kept_beside_it() -> None:
    web = {"name": "web", "containerPort": 80}
    assert worker_of(deployment(worker=with_worker(ports=[web])))["ports"] == [web, METRICS]


def test_on_the_hosts_network_no_port_is_declared() -> None:
    """It would become a host port, of which a node has one."""
    assert "ports" not in worker_of(deployment(worker={"podTemplate": {"spec": {"hostNetwork": True}}}))


def test_scraping_can_be_turned_off_for_the_workers_of_a_schedule() -> None:
    off = {"podTemplate": {"metadata": {"annotations": {"prometheus.io/scrape": None}}}}
    annotations = deployment(worker=off)["spec"]["template"]["metadata"]["annotations"]
    assert "prometheus.io/scrape" not in annotations
    assert annotations["prometheus.io/port"] == "8080"


def test_headers_of_a_webhook_are_mounted_where_there_are_any() -> None:
    hook = {"webhook": {"url": "https://example.com", "headersFrom": {"secretRef": {"name": "hook"}}}}
    made = deployment(effect=hook)
    assert env_of(worker_of(made))["KUBESWEEP_HEADERS_DIR"] == "/run/kubesweep/headers"
    assert {"name": "headers", "secret": {"secretName": "hook", "optional": True}} in made["spec"]["template"]["spec"][
        "volumes"
    ]


def test_only_the_entry_that_signs_is_mounted_from_its_secret() -> None:
    secret = {"secretKeyRef": {"name": "hook", "key": "current"}}
    made = deployment(effect={"webhook": {"url": "https://example.com", "signWith": secret}})
    assert env_of(worker_of(made))["KUBESWEEP_SIGNING_DIR"] == "/run/kubesweep/signing"
    items = [{"key": "current", "path": "secrets"}]
    volume = {"name": "signing", "secret": {"secretName": "hook", "optional": True, "items": items}}
    assert volume in made["spec"]["template"]["spec"]["volumes"]
    assert {"name": "signing", "mountPath": "/run/kubesweep/signing", "readOnly": True} in worker_of(made)[
        "volumeMounts"
    ]


def test_the_producer_gets_the_default_image_its_job_and_the_deadline() -> None:
    container = producer_of(cronjob(worker={"image": "app:7"}, startingDeadlineSeconds=90))
    assert container["image"] == "worker:1"
    assert container["command"] == ["kubesweep-worker", "tick"]
    env = env_of(container)
    assert env["KUBESWEEP_STARTING_DEADLINE"] == "90"
    assert env["KUBESWEEP_TICKS_SINCE"] == SINCE
    assert env["KUBESWEEP_JOB_NAME"]["fieldRef"]["fieldPath"] == "metadata.labels['batch.kubernetes.io/job-name']"
    assert "KUBESWEEP_DATABASE_URL_FILE" not in env
    assert "KUBESWEEP_STARTING_DEADLINE" not in env_of(producer_of(cronjob()))
    assert worker_of(deployment(worker={"image": "app:7"}))["image"] == "app:7"


def test_an_overlay_adds_to_the_worker_and_cannot_remove_our_fields() -> None:
    overlay = {
        "metadata": {"annotations": {"team": "support"}, "labels": {"kubesweep.dev/schedule": "other", "tier": "back"}},
        "spec": {
            "nodeSelector": {"disk": "fast"},
            "containers": [
                {"name": "worker", "command": ["sh"], "volumeMounts": [{"name": "cache", "mountPath": "/cache"}]},
                {"name": "proxy", "image": "proxy:1"},
            ],
            "volumes": [{"name": "cache", "emptyDir": {}}],
        },
    }
    template = deployment(worker={"podTemplate": overlay})["spec"]["template"]
    assert template["metadata"]["annotations"]["team"] == "support"
    assert template["metadata"]["labels"]["kubesweep.dev/schedule"] == "carts"
    assert template["metadata"]["labels"]["tier"] == "back"
    worker, proxy = template["spec"]["containers"]
    assert proxy == {"name": "proxy", "image": "proxy:1"}
    assert worker["command"] == ["kubesweep-worker", "work"]
    assert {mount["mountPath"] for mount in worker["volumeMounts"]} >= {"/cache", "/tmp", "/run/kubesweep/queue"}
    assert {volume["name"] for volume in template["spec"]["volumes"]} == {"tmp", "queue", "database", "cache"}
    producer = cronjob(worker={"podTemplate": overlay})["spec"]["jobTemplate"]["spec"]["template"]
    assert producer["spec"]["nodeSelector"] == {"disk": "fast"}
    assert len(producer["spec"]["containers"]) == 1
    assert producer["metadata"]["annotations"]["team"] == "support"
    assert producer["metadata"]["labels"]["kubesweep.dev/schedule"] == "carts"
    assert producer["metadata"]["labels"]["app.kubernetes.io/component"] == "producer"


def test_where_and_as_whom_pods_run_holds_for_ticks_too_and_they_have_settings_of_their_own() -> None:
    shared: dict[str, Any] = {
        "serviceAccountName": "sweeper",
        "imagePullSecrets": [{"name": "corp"}],
        "dnsConfig": {"options": [{"name": "ndots", "value": "1"}]},
        "securityContext": {"runAsUser": 1234},
        "tolerations": [{"key": "batch", "operator": "Exists"}],
    }
    sidecar = {"initContainers": [{"name": "proxy", "image": "proxy:1"}]}
    tick = {
        "resources": {"limits": {"cpu": "100m"}},
        "podTemplate": {"metadata": {"labels": {"mesh": "off"}}, "spec": {"priorityClassName": "low"}},
        "ttlSecondsAfterFinished": 600,
        "failedJobsHistoryLimit": 3,
    }
    made = cronjob(worker={"podTemplate": {"spec": shared | sidecar}}, tick=tick)["spec"]
    pod = made["jobTemplate"]["spec"]["template"]
    assert pod["spec"].items() >= {name: each for name, each in shared.items() if name != "securityContext"}.items()
    assert pod["spec"]["securityContext"]["runAsUser"] == 1234
    assert pod["spec"]["priorityClassName"] == "low"
    assert "initContainers" not in pod["spec"]
    assert pod["metadata"]["labels"]["mesh"] == "off"
    assert pod["spec"]["containers"][0]["resources"] == {"limits": {"cpu": "100m"}}
    assert made["jobTemplate"]["spec"]["ttlSecondsAfterFinished"] == 600
    assert made["failedJobsHistoryLimit"] == 3


@pytest.mark.parametrize("lifecycle", [None, {}, {"postStart": {"sleep": {"seconds": 1}}}, "nonsense"])
def test_a_worker_is_sent_sigterm_only_when_it_listens(lifecycle: Any) -> None:
    made = worker_of(deployment(worker=with_lifecycle(lifecycle)))
    assert made["lifecycle"]["preStop"] == {"exec": {"command": ["kubesweep-worker", "prestop"]}}
    if isinstance(lifecycle, dict):
        assert made["lifecycle"].items() >= lifecycle.items()


def test_a_hook_of_the_user_s_own_takes_the_place_of_ours() -> None:
    own = {"preStop": {"sleep": {"seconds": 3}}}
    assert worker_of(deployment(worker=with_lifecycle(own)))["lifecycle"] == own
    assert "lifecycle" not in producer_of(cronjob(worker=with_lifecycle(own)))


def with_lifecycle(lifecycle: Any) -> dict[str, Any]:
    return {"podTemplate": {"spec": {"containers": [{"name": "worker", "lifecycle": lifecycle}]}}}


def test_variables_of_the_user_stand_beside_ours_and_never_replace_one() -> None:
    env = [{"name": "APP", "value": "1"}, {"name": "KUBESWEEP_PLAN", "valueFrom": {"fieldRef": {"fieldPath": "a"}}}]
    container = worker_of(deployment(worker={"env": env, "envFrom": [{"secretRef": {"name": "app"}}]}))
    assert env_of(container)["APP"] == "1"
    assert isinstance(env_of(container)["KUBESWEEP_PLAN"], str)
    assert container["envFrom"] == [{"secretRef": {"name": "app"}}]


def test_resources_of_the_user_replace_the_default_as_a_whole() -> None:
    assert worker_of(deployment())["resources"] == {"requests": {"cpu": "50m", "memory": "128Mi"}}
    own = {"limits": {"memory": "1Gi"}}
    assert worker_of(deployment(worker={"resources": own}))["resources"] == own


def test_pods_get_the_time_that_an_effect_and_a_statement_may_take() -> None:
    hook = {"webhook": {"url": "https://example.com", "timeout": "7s"}}
    assert grace_seconds(plan(schedule())) == 45
    assert grace_seconds(plan(schedule(effect=hook))) == 52
    assert grace_seconds(plan(schedule(effect={"handler": "app:close", "timeout": "1500ms"}))) == 46


def test_pull_policy_and_secrets_are_those_of_the_installation() -> None:
    made = deployment(PodSettings("worker:1", "Never", ("registry",)))
    assert worker_of(made)["imagePullPolicy"] == "Never"
    assert made["spec"]["template"]["spec"]["imagePullSecrets"] == [{"name": "registry"}]
