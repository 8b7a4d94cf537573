"""Queues of several Redis servers: a primary with a replica under Sentinels, and a Redis Cluster of three masters with a replica each.

All servers of a topology run in one pod, each on a port of its own, and announce a name or address that other pods reach. A server can be killed
and stays down, because the pod does not restart it. The users have the rights of docs/redis-acl.md.
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
CREDENTIALS = "queue-login"
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
SENTINELS_READY = "; ".join(
    f"$CLI -p {port} sentinel master queue | tr '\\n' ' ' | grep -q 'flags master .*num-slaves 1 num-other-sentinels 2 '"
    for port in SENTINELS
)
CLUSTER_READY = "; ".join(
    f"$CLI -p {port} cluster info | grep -q cluster_state:ok; "
    f"test $($CLI -p {port} cluster slots | grep -c ^70) = {len(NODES)}"
    for port in NODES
)


@dataclass(frozen=True)
class RedisTopology:
    """``values`` are the chart's values that connect to it. The Secret that they name exists."""

    namespace: Namespace
    values: Mapping[str, str]

    def command(self, port: int, *words: str) -> list[str]:
        """Run a command as a user with all rights on the server of this port. Returns the lines of its answer."""
        return self._run('$CLI -p "$@"', str(port), *words).splitlines()

    def kill(self, port: int) -> None:
        """Kill the server with SIGKILL."""
        self._run('kill -9 "$(cat "/data/$1.pid")"', str(port))

    def _run(self, script: str, *words: str) -> str:
        return self.namespace.exec(f"deployment/{NAME}", "sh", "-ec", script, "sh", *words)


def rights(program: str) -> str:
    """The rules that docs/redis-acl.md gives a program, for any install ID."""
    [rules] = re.findall(rf"^user kubesweep-{program} on >PASSWORD (.*)$", PAGE.read_text(), re.MULTILINE)
    return str(rules.replace("{ks:INSTALL/*", "{ks:*"))


def rights_of_a_controller_with_users() -> str:
    """The rules that the page gives a controller that creates users and monitors the server."""
    section = PAGE.read_text().partition("## Controller\n")[2].partition("\n## ")[0]
    return " ".join([rights("controller"), *re.findall(r"`(\+[^`]*)`", section)])


def more_rights(topic: str) -> str:
    """The additional rules that the page gives for a kind of server."""
    [rules] = re.findall(rf"^- {topic}:[^`]*`([^`]*)`", PAGE.read_text(), re.MULTILINE)
    return " ".join(rules.split())


def start_sentinels(namespace: Namespace, folder: Path) -> RedisTopology:
    """Start a primary, a replica and three Sentinels. Returns when each Sentinel knows the others and both servers."""
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
        "server.conf": _server_config(password, f"{rights_of_a_controller_with_users()}") + TLS,
        "sentinel.conf": "\n".join(
            (
                TLS,
                f"requirepass {password}",
                _user(password, more_rights("Sentinel")),
                *(f"sentinel {line}" for line in watch),
            )
        ),
    }
    _start(namespace, START_SENTINELS, SENTINELS_READY, conf, password, (*SERVERS, *SENTINELS))
    url = f"rediss+sentinel://kubesweep@{_hosts(namespace, SENTINELS)}/queue?db=0&sentinel_username=kubesweep"
    return RedisTopology(
        namespace,
        _values(url)
        | {
            "externalRedis.existingSecret.sentinelPasswordKey": "password",
            "externalRedis.existingSecret.caKey": "ca.crt",
        },
    )


def start_cluster(namespace: Namespace, folder: Path) -> RedisTopology:
    """Start a Redis Cluster whose nodes accept TLS only and announce the Service's name.

    Returns when each node knows three masters, which serve all slots, and a replica of each.
    """
    password = secrets.token_hex(8)
    pair = certificate(f"{NAME}.{namespace.name}.svc", folder)
    conf = {
        **pair,
        "server.conf": _server_config(password, f"{rights_of_a_controller_with_users()} {more_rights('Redis Cluster')}")
        + TLS,
    }
    _start(namespace, START_CLUSTER, CLUSTER_READY, conf, password, NODES)
    url = f"rediss+cluster://kubesweep@{_hosts(namespace, NODES[:3])}"
    return RedisTopology(namespace, _values(url) | {"externalRedis.existingSecret.caKey": "ca.crt"})


def certificate(name: str, folder: Path) -> dict[str, str]:
    """tls.key and tls.crt of a self-signed certificate for ``name``."""
    command = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={name}"
    extra = f"-addext subjectAltName=DNS:{name} -keyout {folder}/tls.key -out {folder}/tls.crt"
    subprocess.run([*command.split(), *extra.split()], check=True, capture_output=True)
    return {file: (folder / file).read_text() for file in ("tls.key", "tls.crt")}


def _start(
    namespace: Namespace, start: str, ready: str, conf: dict[str, str], password: str, ports: Sequence[int]
) -> None:
    credentials = {"password": password, "ca.crt": conf.get("tls.crt", "")}
    for name, files in ((NAME, conf), (CREDENTIALS, credentials)):
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
            {"name": "REDISCLI_AUTH", "valueFrom": {"secretKeyRef": {"name": CREDENTIALS, "key": "password"}}},
        ],
        # The probe asks each server through TLS, which takes more than the default of one second on a loaded machine.
        "startupProbe": {
            "exec": {"command": ["sh", "-ec", ready]},
            "periodSeconds": 1,
            "timeoutSeconds": 30,
            "failureThreshold": 300,
        },
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "conf", "mountPath": "/conf"}],
    }
    volumes = [*DATA["volumes"], {"name": "conf", "secret": {"secretName": NAME}}]
    spec = pod_spec(REDIS, ["sh", "-ec", start], user=999, container=container, volumes=volumes)
    opened = [{"name": f"p{port}", "port": port} for port in ports]
    wanted = {
        "selector": {"app": NAME},
        "ports": opened,
        "publishNotReadyAddresses": True,
    }  # the servers find each other by this name
    namespace.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": NAME}, "spec": wanted})
    namespace.apply(deployment(NAME, spec))
    namespace.rolled_out(NAME, patience=300)


def _server_config(password: str, rights: str) -> str:
    """A server's configuration. The servers authenticate to each other with the default user's password, which no client has."""
    users = f"requirepass {password}\nmasterauth {password}\n{_user(password, rights)}"
    return f'{users}\nsave ""\nmaxmemory-policy noeviction\nrepl-diskless-sync-delay 0\n'


def _user(password: str, rights: str) -> str:
    return f"user kubesweep on #{hashlib.sha256(password.encode()).hexdigest()} {rights}"


def _hosts(namespace: Namespace, ports: Sequence[int]) -> str:
    return ",".join(f"{NAME}.{namespace.name}.svc:{port}" for port in ports)


def _values(url: str) -> dict[str, str]:
    return {
        "redis.enabled": "false",
        "externalRedis.url": url.replace(",", r"\,"),  # helm --set splits at commas
        "externalRedis.existingSecret.name": CREDENTIALS,
        "externalRedis.usersPerNamespace": "true",
    }
