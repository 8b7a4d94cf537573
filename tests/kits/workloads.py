"""Manifests of pods and servers for tests. They satisfy PodSecurity ``restricted`` and use images that any cluster can pull."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from tests.cluster.testbed import queue_image
from tests.kits.kube_client import Namespace, Object

PYTHON = "docker.io/library/python:3.11-slim"
REDIS = queue_image()
POSTGRES = "docker.io/library/postgres:15"
PRODUCT = os.environ.get("E2E_IMAGES") or "ghcr.io/kubesweep"
SECURE = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
DATA = {"volumes": [{"name": "data", "emptyDir": {}}]}
POSTGRES_START = """
umask 077
if [ ! -e /data/pg ]; then # a restarted container keeps its data
  printf %s "$POSTGRES_PASSWORD" >/data/password
  initdb --pgdata=/data/pg --username=postgres --pwfile=/data/password --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8
  echo 'host all all all scram-sha-256' >>/data/pg/pg_hba.conf # initdb allows connections from this pod only
fi
exec postgres -D /data/pg -c listen_addresses='*' -c unix_socket_directories=/data
"""


def pod_spec(
    image: str, command: list[str], *, user: int = 65532, container: Object | None = None, **spec: Any
) -> Object:
    """The spec of a pod with one container, ``main``. ``container`` and ``spec`` add fields."""
    main = {"name": "main", "image": image, "command": command, "securityContext": SECURE, **(container or {})}
    identity = {"runAsNonRoot": True, "runAsUser": user, "fsGroup": user, "seccompProfile": {"type": "RuntimeDefault"}}
    return {"securityContext": identity, "terminationGracePeriodSeconds": 2, "containers": [main], **spec}


def pod(name: str, program: str, **more: Any) -> Object:
    """A pod that runs a Python program once."""
    spec = pod_spec(PYTHON, ["python3", "-c", program], restartPolicy="Never", **more)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def deployment(name: str, spec: Object, replicas: int = 1) -> Object:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": spec}
    body = {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "strategy": {"type": "Recreate"},
        "template": template,
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": body}


def service(name: str, port: int) -> Object:
    spec = {"selector": {"app": name}, "ports": [{"port": port}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def product_image(name: str) -> str:
    """The reference of the project's image ``controller`` or ``worker``."""
    return f"{PRODUCT}/{name}:{version('kubesweep')}"


@dataclass(frozen=True)
class Server:
    """A server in the cluster: its Service, and its host name for pods. From outside, use ``Namespace.forwarded``."""

    service: str
    port: int
    host: str
    password: str = ""


Adapt = Callable[[Object], Object]  # changes the spec of a server's pod


def _as_it_is(spec: Object) -> Object:
    return spec


def start_redis(namespace: Namespace, name: str = "redis", *, password: str = "", adapt: Adapt = _as_it_is) -> Server:
    """Start a Redis, by default without authentication, and wait until it is ready."""
    container = {"readinessProbe": _open(6379), "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    command = ["redis-server", "--dir", "/data", "--protected-mode", "no", "--maxmemory-policy", "noeviction"]
    command += ["--requirepass", password] if password else []
    spec = adapt(pod_spec(REDIS, command, user=999, container=container, **DATA))
    return _start(namespace, name, 6379, spec, password)


def start_postgres(namespace: Namespace, name: str = "postgres", *, adapt: Adapt = _as_it_is) -> Server:
    """Start a Postgres with the superuser ``postgres`` and a database of that name, and wait until it is ready."""
    password = secrets.token_hex(8)
    container = {
        "env": [{"name": "POSTGRES_PASSWORD", "value": password}],
        # A startup probe only: each exec probe costs a tenth of a second of CPU.
        "startupProbe": {
            "exec": {"command": ["pg_isready", "--host=127.0.0.1"]},
            "periodSeconds": 1,
            "failureThreshold": 120,
        },
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    spec = adapt(pod_spec(POSTGRES, ["sh", "-ec", POSTGRES_START], user=999, container=container, **DATA))
    return _start(namespace, name, 5432, spec, password)


def _start(namespace: Namespace, name: str, port: int, spec: Object, password: str = "") -> Server:
    namespace.apply(deployment(name, spec))
    namespace.apply(service(name, port))
    namespace.rolled_out(name, patience=120)
    return Server(name, port, f"{name}.{namespace.name}.svc", password)


def _open(port: int) -> Object:
    return {"tcpSocket": {"port": port}, "periodSeconds": 1}
