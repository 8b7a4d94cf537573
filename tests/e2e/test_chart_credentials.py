"""Access control: workers and KEDA in the queue, users in the Kubernetes API, and an external queue's credentials."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest

from tests.cluster.testbed import REPOSITORY
from tests.kits.kube_client import Cluster, Namespace, Object
from tests.kits.redis_topologies import certificate, rights_of_a_controller_with_users
from tests.kits.releases import NAMESPACED, SCHEDULE, Release, apply, sqlite_schedule, swept, temporary_namespace
from tests.kits.workloads import DATA, REDIS, deployment, pod_spec, service

HOST = "queue"
PASSWORD = 'a "long" one \\ with / odd : @ signs'


@pytest.fixture(autouse=True)
def crd(cluster: Cluster) -> None:
    cluster.apply((REPOSITORY / "manifests" / "crd.yaml").read_text())


def queue_credentials(namespace: Namespace) -> dict[str, str]:
    found = namespace.get("v1 Secret", "kubesweep-queue")
    assert found is not None
    return {key: base64.b64decode(value).decode() for key, value in found["data"].items()}


def test_a_worker_cannot_access_another_namespaces_keys(cluster: Cluster, namespace: Namespace) -> None:
    with temporary_namespace(cluster, "shop") as shop, temporary_namespace(cluster, "support") as support:
        release = Release(namespace)
        release.install({"watchNamespaces": f"{{{shop.name},{support.name}}}", "crds.enabled": "false"})
        for home in (shop, support):
            apply(home, sqlite_schedule("visits"))
        for home in (shop, support):
            home.until(SCHEDULE, "visits", swept(1), what="its row is swept", patience=120)
        keys = release.redis("--raw", "keys", "*", password=release.password()).splitlines()
        [mine, *_] = [key for key in keys if key.startswith("{") and f"/{shop.name}/" in key]
        [theirs, *_] = [key for key in keys if key.startswith("{") and f"/{support.name}/" in key]
        have = queue_credentials(shop)
        me = {"user": have["username"], "password": have["password"]}
        assert "NOPERM" not in release.redis("exists", mine, **me)
        for command, *rest in (
            *(["exists"], ["hgetall"], ["xrange", "-", "+"], ["unlink"], ["hset", "a", "b"], ["zadd", "1", "x"]),
            *(["xadd", "*", "a", "b"], ["pexpire", "1"]),
        ):
            assert "NOPERM" in release.redis(command, theirs, *rest, **me), command
        assert "NOPERM" in release.redis("eval", "return redis.call('exists', KEYS[1])", "1", theirs, **me)
        hidden = release.redis("eval", f"return redis.call('exists', '{theirs}')", "0", **me)
        assert "can't access at least one of the keys" in hidden  # a key that is not declared
        for words in (
            ["keys", "*"],
            ["scan", "0"],
            ["flushall"],
            ["config", "get", "*"],
            ["acl", "list"],
            ["randomkey"],
        ):
            assert "NOPERM" in release.redis(*words, **me), words
        keda = {"user": have["kedaUsername"], "password": have["kedaPassword"]}
        tag, other = (key.partition("}")[0] for key in (mine, theirs))
        assert release.redis("xlen", f"{tag}}}:work", **keda).isdecimal()
        assert "NOPERM" in release.redis("xlen", f"{other}}}:work", **keda)
        assert "NOPERM" in release.redis("unlink", mine, **keda)
        assert "NOPERM" in release.redis("eval", "return 1", "0", **keda)
        assert "NOPERM" in release.redis("exists", mine, **keda)


def test_users_read_and_write_schedules_by_their_role(cluster: Cluster, namespace: Namespace) -> None:
    Release(namespace).install({"watchNamespaces": f"{{{namespace.name}}}", "crds.enabled": "false"})
    for role in ("view", "edit"):
        namespace.kubectl("create", "rolebinding", role, f"--clusterrole={role}", f"--user={role}er")

    def aggregated(found: list[Object]) -> bool:
        return any("sweepschedules" in rule.get("resources", []) for each in found for rule in each["rules"])

    for role in ("view", "edit"):
        cluster.until(
            "rbac.authorization.k8s.io/v1 ClusterRole", aggregated, what=f"{role} includes schedules", name=role
        )

    def may(who: str, *verbs: str) -> set[bool]:
        answers = set()
        for verb in verbs:
            asked = {"group": "kubesweep.dev", "resource": "sweepschedules", "verb": verb, "namespace": namespace.name}
            spec = {"user": who, "resourceAttributes": asked}
            review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
            review_answer = namespace.kubectl("create", "-f", "-", "--output=json", stdin=json.dumps(review))
            answers.add(bool(json.loads(review_answer)["status"]["allowed"]))
        return answers

    assert may("viewer", "get", "list", "watch") == {True}
    assert may("viewer", "create", "update", "patch", "delete", "deletecollection") == {False}
    assert may("editer", "get", "list", "watch", "create", "update", "patch", "delete") == {True}


def start_tls_redis(namespace: Namespace, rules: str, folder: Path) -> None:
    """Start a Redis that accepts TLS only, with a self-signed certificate and one user, ``kubesweep-admin``."""
    name = f"{HOST}.{namespace.name}.svc"
    digest = hashlib.sha256(PASSWORD.encode()).hexdigest()
    files = {
        **certificate(name, folder),
        "users.acl": f"user default off\nuser kubesweep-admin on #{digest} {rules}\n",
    }
    namespace.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": HOST}, "stringData": files})
    words = "redis-server --dir /data --port 0 --tls-port 6380 --tls-auth-clients no --aclfile /tls/users.acl"
    pair = "--tls-cert-file /tls/tls.crt --tls-key-file /tls/tls.key --maxmemory-policy noeviction"
    mounts = [{"name": "data", "mountPath": "/data"}, {"name": "tls", "mountPath": "/tls"}]
    probe = {"tcpSocket": {"port": 6380}, "periodSeconds": 1}
    volumes = [*DATA["volumes"], {"name": "tls", "secret": {"secretName": HOST}}]
    container = {"volumeMounts": mounts, "readinessProbe": probe}
    spec = pod_spec(REDIS, [*words.split(), *pair.split()], user=999, container=container, volumes=volumes)
    namespace.apply(deployment(HOST, spec))
    namespace.apply(service(HOST, 6380))
    namespace.rolled_out(HOST, patience=120)
    secret = {"password": PASSWORD, "user": "kubesweep-admin", "ca.crt": files["tls.crt"]}
    namespace.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "queue-credentials"}, "stringData": secret}
    )


def external(namespace: Namespace, user: str = "") -> dict[str, str]:
    return {
        **NAMESPACED,
        "redis.enabled": "false",
        "externalRedis.url": f"rediss://{user}{HOST}.{namespace.name}.svc:6380/0",
        "externalRedis.existingSecret.name": "queue-credentials",
        "externalRedis.existingSecret.caKey": "ca.crt",
    }


def test_on_a_redis_with_tls_a_least_privileged_controller_creates_a_user_per_namespace(
    namespace: Namespace, tmp_path: Path
) -> None:
    start_tls_redis(namespace, rights_of_a_controller_with_users(), tmp_path)
    release = Release(namespace)
    release.install({**external(namespace, "kubesweep-admin@"), "externalRedis.usersPerNamespace": "true"})
    assert "one row swept" in release.test()
    have = queue_credentials(namespace)
    assert re.fullmatch(rf"ks-[0-9a-f]{{8}}-{namespace.name}", have["username"])
    assert PASSWORD not in have.values()
    assert namespace.all("apps/v1 StatefulSet") == []


def test_on_a_managed_redis_all_parts_share_the_secrets_user(namespace: Namespace, tmp_path: Path) -> None:
    start_tls_redis(namespace, "~* &* +@all -@admin -@dangerous", tmp_path)
    release = Release(namespace)
    release.install({**external(namespace), "externalRedis.existingSecret.usernameKey": "user"})
    assert "one row swept" in release.test()
    assert (queue_credentials(namespace)["username"], queue_credentials(namespace)["password"]) == (
        "kubesweep-admin",
        PASSWORD,
    )
