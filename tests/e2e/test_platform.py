"""A small test for each feature of Kubernetes that Kubesweep or its tests depend on."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
import redis
from kubernetes.client import ApiException

from tests.kits.kube_client import Cluster, Namespace, Object
from tests.kits.releases import temporary_namespace
from tests.kits.workloads import PYTHON, pod, pod_spec, start_postgres, start_redis

WAIT = "import signal; signal.signal(signal.SIGTERM, lambda *_: exit()); print('here', flush=True); signal.pause()"


@pytest.fixture(scope="module", autouse=True)
def minutely(cluster: Cluster) -> Iterator[Namespace]:
    """A namespace with a CronJob for each minute. It is created first and its test is the last, so that the minute passes meanwhile."""
    label = {"fieldRef": {"fieldPath": "metadata.labels['batch.kubernetes.io/job-name']"}}
    container = {"env": [{"name": "JOB", "valueFrom": label}]}
    command = ["python3", "-c", "import os; print(os.environ['JOB'])"]
    template = {"spec": pod_spec(PYTHON, command, container=container, restartPolicy="Never")}
    spec = {"schedule": "* * * * *", "concurrencyPolicy": "Forbid", "jobTemplate": {"spec": {"template": template}}}
    with temporary_namespace(cluster, "minutely") as namespace:
        namespace.apply({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "minutely"}, "spec": spec})
        yield namespace


def running(found: Object) -> bool:
    return bool(found["status"].get("phase") == "Running")


def test_a_node_is_ready_and_all_pods_of_the_platform_run(cluster: Cluster) -> None:
    for node in cluster.all("v1 Node"):
        assert {"type": "Ready", "status": "True"}.items() <= next(
            c for c in node["status"]["conditions"] if c["type"] == "Ready"
        ).items()
    for namespace in ("kube-system", "keda"):
        pods = cluster.all("v1 Pod", namespace)
        assert pods
        assert {found["status"]["phase"] for found in pods} == {"Running"}


def test_exec_and_logs_reach_into_a_pod(namespace: Namespace) -> None:
    namespace.apply(pod("one", WAIT))
    namespace.until("v1 Pod", "one", running, what="it runs")
    assert namespace.exec("one", "python3", "-c", "print(6 * 7)") == "42\n"
    assert "here" in namespace.logs("one")


def test_a_port_is_forwarded_from_outside(namespace: Namespace) -> None:
    server = start_redis(namespace)
    with (
        namespace.forwarded(f"service/{server.service}", server.port) as port,
        closing(redis.Redis(port=port)) as client,
    ):
        assert client.set("key", "value")
        assert client.get("key") == b"value"


def test_postgres_runs_as_a_pod(namespace: Namespace) -> None:
    server = start_postgres(namespace)
    with namespace.forwarded(f"service/{server.service}", server.port) as port:
        url = f"postgresql://postgres:{server.password}@127.0.0.1:{port}/postgres"
        with closing(psycopg.connect(url)) as connection:
            assert connection.execute("select current_setting('server_encoding')").fetchone() == ("UTF8",)


def test_a_pod_finds_a_service_by_its_name(namespace: Namespace) -> None:
    server = start_redis(namespace)
    namespace.apply(pod("client", PING, container={"args": [server.host]}))
    assert namespace.ended("client")["status"]["phase"] == "Succeeded"
    assert "+PONG" in namespace.logs("client")


PING = """
import socket, sys, time
while True: # a Service forwards a moment after its pods are ready
    try:
        server = socket.create_connection((sys.argv[1], 6379), 5)
        break
    except ConnectionRefusedError:
        time.sleep(0.1)
server.sendall(b"PING\\r\\n")
print(server.recv(99))
"""


def test_mounted_config_maps_and_secrets_are_updated(namespace: Namespace) -> None:
    for kind, name in (("ConfigMap", "settings"), ("Secret", "password")):
        namespace.apply(
            {
                "apiVersion": "v1",
                "kind": kind,
                "metadata": {"name": name},
                f"{'stringData' if kind == 'Secret' else 'data'}": {"it": "first"},
            }
        )
    # as in the workers' pods: an optional volume whose Secret is created later
    volumes = [
        {"name": "settings", "configMap": {"name": "settings"}},
        {"name": "password", "secret": {"secretName": "password"}},
        {"name": "later", "secret": {"secretName": "later", "optional": True}},
    ]
    mounts = [{"name": volume["name"], "mountPath": f"/etc/{volume['name']}"} for volume in volumes]
    namespace.apply(pod("reader", FOLLOW, container={"volumeMounts": mounts}, volumes=volumes))
    namespace.until("v1 Pod", "reader", running, what="it runs")
    namespace.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "later"}, "stringData": {"it": "third"}}
    )
    namespace.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "password"}, "stringData": {"it": "second"}}
    )
    assert namespace.ended("reader", patience=120)["status"]["phase"] == "Succeeded"
    assert namespace.logs("reader").split() == ["settings=first", "password=second", "later=third"]


FOLLOW = """
import pathlib, time
wanted = {"settings": "first", "password": "second", "later": "third"}
def read(name):
    file = pathlib.Path("/etc", name, "it")
    return file.read_text() if file.exists() else None
while {name: read(name) for name in wanted} != wanted:
    time.sleep(0.1)
print(*(f"{name}={read(name)}" for name in wanted))
"""


def test_pod_security_refuses_a_pod_that_may_be_root(namespace: Namespace) -> None:
    careless = pod("careless", "0")
    del careless["spec"]["securityContext"]
    with pytest.raises(ApiException) as refused:
        namespace.apply(careless)
    assert refused.value.status == 403
    assert "violates PodSecurity" in str(refused.value.body)


def test_server_side_apply_keeps_fields_of_their_managers_and_writes_nothing_twice(
    cluster: Cluster, namespace: Namespace
) -> None:
    def settings(data: dict[str, str]) -> Object:
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shared"}, "data": data}

    cluster.apply(settings({"ours": "1"}), namespace.name, manager="us")
    (theirs,) = cluster.apply(settings({"theirs": "1"}), namespace.name, manager="them")
    (again,) = cluster.apply(settings({"ours": "1"}), namespace.name, manager="us")
    assert again["data"] == {"ours": "1", "theirs": "1"}
    assert again["metadata"]["resourceVersion"] == theirs["metadata"]["resourceVersion"]
    (less,) = cluster.apply(settings({"other": "1"}), namespace.name, manager="us")
    assert less["data"] == {"other": "1", "theirs": "1"}


@pytest.fixture
def widgets_role(cluster: Cluster, namespace: Namespace) -> Iterator[str]:
    name = namespace.name
    rule = {"apiGroups": [f"{name}.example"], "resources": ["widgets"], "verbs": ["get"]}
    labels = {"rbac.authorization.k8s.io/aggregate-to-edit": "true"}
    cluster.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name, "labels": labels},
            "rules": [rule],
        }
    )
    yield rule["apiGroups"][0]
    cluster.delete("rbac.authorization.k8s.io/v1 ClusterRole", name)


def test_a_role_is_aggregated_into_edit_and_not_into_view(cluster: Cluster, widgets_role: str) -> None:
    def has(role: Object) -> bool:
        return any(widgets_role in rule["apiGroups"] for rule in role["rules"])

    kind = "rbac.authorization.k8s.io/v1 ClusterRole"
    cluster.until(kind, lambda found: has(found[0]), what="edit has the rule", name="edit")
    view = cluster.get(kind, "view")
    assert view is not None
    assert not has(view)


def test_a_network_policy_is_accepted(namespace: Namespace) -> None:
    spec = {"podSelector": {}, "policyTypes": ["Ingress"]}
    (made,) = namespace.apply(
        {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "closed"}, "spec": spec}
    )
    assert made["spec"]["policyTypes"] == ["Ingress"]


@pytest.mark.bed
def test_the_audit_log_has_user_and_verb(namespace: Namespace) -> None:
    namespace.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "noted"}})
    wanted = f"/api/v1/namespaces/{namespace.name}/configmaps/noted"
    with Path(os.environ["KUBESWEEP_AUDIT_LOG"]).open() as log:
        entries = [json.loads(line) for line in log if wanted in line]
    assert [(entry["verb"], entry["user"]["username"]) for entry in entries] == [("patch", "admin")]


def test_a_cron_job_fires_and_its_pod_knows_the_name_of_its_job(minutely: Namespace) -> None:
    done = lambda found: any(job["status"].get("succeeded") for job in found)  # noqa: E731
    jobs = minutely.until_all("batch/v1 Job", "", done, what="a job of the CronJob succeeds", patience=130)
    job = max(each["metadata"]["name"] for each in jobs if each["status"].get("succeeded"))
    assert minutely.kubectl("logs", f"job/{job}").strip() == job
    # the nominal time of the tick is in the name: minutes since the epoch
    assert abs(int(job.removeprefix("minutely-")) * 60 - time.time()) < 300
