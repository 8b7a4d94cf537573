"""Queues that are several servers: a primary with a replica under Sentinels, and a cluster of masters with a replica each.

All processes of one are in one pod, each on a port of its own, and announce the pod's address: clients meet what they would
meet with a pod for each, and one can be killed without being started again at once. Logins have the rights of docs/redis-acl.md.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.testbed import REPOSITORY
from tests.kits.kube_client import Namespace, Object
from tests.kits.workloads import DATA, REDIS, deployment, pod_spec

PAGE = REPOSITORY / "docs" / "redis-acl.md"
NAME = "queue"
LOGIN = "queue-login"
SERVERS = (6379, 6380)
SENTINELS = (26379, 26380, 26381)
NODES = (7001, 7002, 7003, 7004, 7005, 7006)
SERVE = """
cd /data
serve() {
  port=$1 && shift && mkdir "$port"
  redis-server /conf/server.conf $PORT "$port" --dir "/data/$port" --pidfile "/data/$port.pid" "$@" &
}
"""
START_SENTINELS = f"""{SERVE}
serve 6379 --replica-announce-ip "$NAME"
serve 6380 --replica-announce-ip "$NAME" --replicaof "$NAME" 6379
for port in {" ".join(map(str, SENTINELS))}; do
  cp /conf/sentinel.conf "$port.conf"
  redis-server "$port.conf" --sentinel $PORT "$port" &
done
wait
"""
START_CLUSTER = f"""{SERVE}
nodes=
for port in {" ".join(map(str, NODES))}; do
  serve "$port" --cluster-enabled yes --cluster-announce-ip "$POD_IP" --cluster-node-timeout 3000 \
    --cluster-announce-hostname "$NAME" --cluster-preferred-endpoint-type hostname
  nodes="$nodes $POD_IP:$port"
done
until $CLI --cluster create $nodes --cluster-replicas 1 --cluster-yes; do :; done
wait
"""
TLS = """
port 0
tls-cert-file /conf/tls.crt
tls-key-file /conf/tls.key
tls-ca-cert-file /conf/tls.crt
tls-auth-clients no
tls-replication yes
tls-cluster yes
"""
KNOWN = "; ".join(
    f"$CLI -p {port} sentinel master queue | tr '\\n' ' ' | grep -q 'flags master .*num-slaves 1 num-other-sentinels 2 '"
    for port in SENTINELS
)
WHOLE = "; ".join(
    f"$CLI -p {port} cluster info | grep -q cluster_state:ok; "
    f"test $($CLI -p {port} cluster slots | grep -c ^70) = {len(NODES)}"
    for port in NODES
)


@dataclass(frozen=True)
class Queue:
    """``values`` of the chart lead to it, once the Secret that they name is there."""

    namespace: Namespace
    values: Mapping[str, str]

    def ask(self, port: int, *words: str) -> list[str]:
        """The lines that the process on this port answers to a command of somebody with all rights."""
        return self._run('$CLI -p "$@"', str(port), *words).splitlines()

    def kill(self, port: int) -> None:
        """The way a machine dies."""
        self._run('kill -9 "$(cat "/data/$1.pid")"', str(port))

    def _run(self, script: str, *words: str) -> str:
        return self.namespace.exec(f"deployment/{NAME}", "sh", "-ec", script, "sh", *words)


def rights(program: str) -> str:
    """What docs/redis-acl.md gives a program, for any install."""
    [rules] = re.findall(rf"^user kubesweep-{program} on >PASSWORD (.*)$", PAGE.read_text(), re.MULTILINE)
    return str(rules.replace("{ks:INSTALL/*", "{ks:*"))


def rights_of_a_controller_with_users() -> str:
    """What the page gives a controller that makes users and looks after the server."""
    section = PAGE.read_text().partition("## Controller\n")[2].partition("\n## ")[0]
    return " ".join([rights("controller"), *re.findall(r"`(\+[^`]*)`", section)])


def more_rights(topic: str) -> str:
    """What the page gives on top of that for a kind of server."""
    [rules] = re.findall(rf"^- {topic}:[^`]*`([^`]*)`", PAGE.read_text(), re.MULTILINE)
    return " ".join(rules.split())


def start_sentinels(namespace: Namespace, folder: Path) -> Queue:
    """Ready when each of three Sentinels knows the primary, its replica and the two others."""
    password, name = secrets.token_hex(8), f"{NAME}.{namespace.name}.svc"
    watch = (
        "resolve-hostnames yes",
        "announce-hostnames yes",
        f"monitor queue {name} {SERVERS[0]} 2",
        f"auth-pass queue {password}",
        "down-after-milliseconds queue 3000",
        "failover-timeout queue 10000",
        f"announce-ip {name}",
        f"sentinel-pass {password}",
    )
    conf = {
        **certificate(name, folder),
        "server.conf": _server(password, f"{rights_of_a_controller_with_users()}") + TLS,
        "sentinel.conf": "\n".join(
            (
                TLS,
                f"requirepass {password}",
                _user(password, more_rights("Sentinel")),
                *(f"sentinel {line}" for line in watch),
            )
        ),
    }
    _start(namespace, START_SENTINELS, KNOWN, conf, password, (*SERVERS, *SENTINELS))
    url = f"rediss+sentinel://kubesweep@{_hosts(namespace, SENTINELS)}/queue?db=0&sentinel_username=kubesweep"
    return Queue(
        namespace,
        _values(url)
        | {
            "externalRedis.existingSecret.sentinelPasswordKey": "password",
            "externalRedis.existingSecret.caKey": "ca.crt",
        },
    )


def start_cluster(namespace: Namespace, folder: Path) -> Queue:
    """Of nodes that speak TLS only, and announce the Service's name. Ready when each knows three masters of all slots, and a
    replica of each."""
    password = secrets.token_hex(8)
    pair = certificate(f"{NAME}.{namespace.name}.svc", folder)
    conf = {
        **pair,
        "server.conf": _server(password, f"{rights_of_a_controller_with_users()} {more_rights('Redis Cluster')}") + TLS,
    }
    _start(namespace, START_CLUSTER, WHOLE, conf, password, NODES)
    url = f"rediss+cluster://kubesweep@{_hosts(namespace, NODES[:3])}"
    return Queue(namespace, _values(url) | {"externalRedis.existingSecret.caKey": "ca.crt"})


def certificate(name: str, folder: Path) -> dict[str, str]:
    """tls.key and tls.crt of a host, which is its own authority."""
    command = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={name}"
    extra = f"-addext subjectAltName=DNS:{name} -keyout {folder}/tls.key -out {folder}/tls.crt"
    subprocess.run([*command.split(), *extra.split()], check=True, capture_output=True)
    return {file: (folder / file).read_text() for file in ("tls.key", "tls.crt")}


def _start(
    namespace: Namespace, start: str, ready: str, conf: dict[str, str], password: str, ports: Sequence[int]
) -> None:
    login = {"password": password, "ca.crt": conf.get("tls.crt", "")}
    for name, files in ((NAME, conf), (LOGIN, login)):
        namespace.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": files})
    tls = "tls.crt" in conf
    plain = {
        "NAME": f"{NAME}.{namespace.name}.svc",
        "PORT": "--tls-port" if tls else "--port",
        "CLI": f"redis-cli{' --tls --cacert /conf/tls.crt' if tls else ''}",
    }
    container: Object = {
        "env": [
            *({"name": name, "value": value} for name, value in plain.items()),
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "REDISCLI_AUTH", "valueFrom": {"secretKeyRef": {"name": LOGIN, "key": "password"}}},
        ],
        "startupProbe": {"exec": {"command": ["sh", "-ec", ready]}, "periodSeconds": 1, "failureThreshold": 120},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "conf", "mountPath": "/conf"}],
    }
    volumes = [*DATA["volumes"], {"name": "conf", "secret": {"secretName": NAME}}]
    spec = pod_spec(REDIS, ["sh", "-ec", start], user=999, container=container, volumes=volumes)
    opened = [{"name": f"p{port}", "port": port} for port in ports]
    wanted = {"selector": {"app": NAME}, "ports": opened, "publishNotReadyAddresses": True}  # they meet by this name
    namespace.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": NAME}, "spec": wanted})
    namespace.apply(deployment(NAME, spec))
    namespace.rolled_out(NAME, patience=120)


def _server(password: str, rights: str) -> str:
    """A configuration. The servers know each other by the password of the default user, which nobody else is told."""
    login = f"requirepass {password}\nmasterauth {password}\n{_user(password, rights)}"
    return f'{login}\nsave ""\nmaxmemory-policy noeviction\nrepl-diskless-sync-delay 0\n'


def _user(password: str, rights: str) -> str:
    return f"user kubesweep on #{hashlib.sha256(password.encode()).hexdigest()} {rights}"


def _hosts(namespace: Namespace, ports: Sequence[int]) -> str:
    return ",".join(f"{NAME}.{namespace.name}.svc:{port}" for port in ports)


def _values(url: str) -> dict[str, str]:
    return {
        "redis.enabled": "false",
        "externalRedis.url": url.replace(",", r"\,"),  # helm --set splits at commas
        "externalRedis.existingSecret.name": LOGIN,
        "externalRedis.usersPerNamespace": "true",
    }
