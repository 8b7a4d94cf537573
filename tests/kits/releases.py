"""Releases of the chart, installed with the helm program. Each has a namespace of its own, so several can run side by side."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.testbed import QUEUES
from tests.kits.deadlines import scaled
from tests.kits.kube_client import Cluster, Namespace, Object
from tests.kits.workloads import PRODUCT, REDIS, product_image

CHART = "charts/kubesweep"
PATIENCE = f"{scaled(180):.0f}s"
NAMESPACED = {"namespaced": "true"}  # serves only its own namespace; the CRD must exist
SCHEDULE = "kubesweep.dev/v1alpha1 SweepSchedule"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
OPEN_NAMESPACES: list[Namespace] = []  # the namespaces of this process's tests, for diagnostics


@dataclass(frozen=True)
class Release:
    """Runs helm. ``install`` and ``upgrade`` wait until everything is ready; each method returns what helm printed."""

    namespace: Namespace
    name: str = "ks"

    @property
    def fullname(self) -> str:
        return f"{self.name}-kubesweep"

    def install(self, values: Mapping[str, str], *words: str, chart: str = CHART) -> str:
        return self._helm("install", chart, *_set_flags(values), "--wait", f"--timeout={PATIENCE}", *words)

    def rendered(self, values: Mapping[str, str]) -> list[Object]:
        """The objects that an installation would create."""
        text = self._helm("template", CHART, *_set_flags(values))
        return [each for each in yaml.safe_load_all(text) if each]

    def upgrade(self, values: Mapping[str, str], chart: str = CHART) -> str:
        return self._helm("upgrade", chart, *_set_flags(values), "--wait", f"--timeout={PATIENCE}")

    def rollback(self, revision: int) -> str:
        return self._helm("rollback", str(revision), "--wait", f"--timeout={PATIENCE}")

    def uninstall(self) -> str:
        return self._helm("uninstall", "--wait")

    def test(self) -> str:
        """Run ``helm test``, which sweeps a row, and return its output with the log of its pod."""
        return self._helm("test", "--logs")

    def leader(self) -> str:
        """The pod that holds the Lease."""
        lease = self.namespace.get("coordination.k8s.io/v1 Lease", self.fullname)
        assert lease is not None
        return str(lease["spec"]["holderIdentity"])

    def password(self) -> str:
        """The bundled queue's password, from its Secret."""
        found = self.namespace.get("v1 Secret", f"{self.fullname}-redis")
        assert found is not None
        return base64.b64decode(found["data"]["password"]).decode()

    def redis(self, *words: str, user: str = "default", password: str) -> str:
        """Run a command as ``user`` in the bundled queue and return its answer."""
        script = 'export REDISCLI_AUTH="$1" && user="$2" && shift 2 && redis-cli --user "$user" "$@" 2>/dev/null'
        pod = f"{self.fullname}-redis-0"
        return self.namespace.exec(pod, "sh", "-c", script, "sh", password, user, *words).strip()

    def _helm(self, verb: str, *words: str) -> str:
        command = ["helm", verb, self.name, *words, "--namespace", self.namespace.name]
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=scaled(400))
        assert ran.returncode == 0, f"{' '.join(command)}:\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout


def _set_flags(values: Mapping[str, str]) -> list[str]:
    usual = {"keda.pollingInterval": "2"}
    if QUEUES["redis"] != REDIS:  # which is the chart's default
        registry, _, rest = REDIS.partition("/")
        repository, _, tag = rest.partition(":")
        usual |= {"redis.image.registry": registry, "redis.image.repository": repository, "redis.image.tag": tag}
    registry, _, folder = PRODUCT.partition("/")
    for part in ("controller", "worker"):
        usual |= {f"{part}.image.registry": registry, f"{part}.image.repository": f"{folder}/{part}"}
    return [word for key, value in {**usual, **values}.items() for word in ("--set", f"{key}={value}")]


@contextmanager
def temporary_namespace(cluster: Cluster, what: str) -> Iterator[Namespace]:
    """A namespace with PodSecurity ``restricted``, deleted at the end. Until then a failed test collects its diagnostics."""
    name = f"e2e-{what}-{uuid.uuid4().hex[:6]}"
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}})
    made = Namespace(cluster, name)
    OPEN_NAMESPACES.append(made)
    try:
        yield made
    finally:
        OPEN_NAMESPACES.remove(made)
        cluster.delete("v1 Namespace", name)


def sqlite_schedule(name: str, **spec: Any) -> list[Object]:
    """A Secret and a schedule. Its table, a SQLite file in the worker's pod, has one stale row."""
    program = (
        "import sqlite3\n"
        "with sqlite3.connect('/tmp/visits.db') as db:\n"
        "    db.execute('create table visits (id integer primary key, seen_at timestamp not null)')\n"
        "    db.execute(\"insert into visits (seen_at) values ('2020-01-01 00:00:00')\")\n"
    )
    table = {
        "name": "table",
        "image": product_image("worker"),
        "command": ["python3", "-c", program],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    worker = {"maxReplicas": 1, "cooldown": "5s", "podTemplate": {"spec": {"initContainers": [table]}}}
    body = {
        "match": [{"column": "seen_at", "before": "now-1h"}],
        "write": {"delete": {}},
        "worker": worker,
        **spec,
    }
    return sweep(name, "sqlite:////tmp/visits.db", "visits", **body)


def sweep(name: str, url: str, table: str, **spec: Any) -> list[Object]:
    """A Secret with the URL, and a schedule that sweeps once, immediately."""
    meta = {"name": name, "annotations": {"kubesweep.dev/trigger": "first"}}
    source = {"urlFrom": {"secretKeyRef": {"name": name, "key": "url"}}, "table": table}
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"url": url}},
        {
            "apiVersion": "kubesweep.dev/v1alpha1",
            "kind": "SweepSchedule",
            "metadata": meta,
            "spec": {"every": "24h", "source": source, **spec},
        },
    ]


def apply(namespace: Namespace, objects: list[Object]) -> None:
    for each in objects:
        namespace.apply(each)


def ready(found: Object) -> bool:
    """Whether Ready is True for the current generation."""
    status = found.get("status", {})
    current = status.get("observedGeneration") == found["metadata"]["generation"]
    return current and any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", []))


def swept(rows: int | None = None) -> Callable[[Object], bool]:
    """A condition: the latest sweep is Completed and, if ``rows`` is given, applied that many rows."""

    def condition(found: Object) -> bool:
        last = found.get("status", {}).get("lastSweep") or {}
        return last.get("state") == "Completed" and rows in (None, last.get("applied"))

    return condition


def chart_of_next_version(folder: Path) -> str:
    """The path of a copy of the chart with a higher version and the same images."""
    copy = folder / "kubesweep"
    shutil.copytree(CHART, copy)
    text = (copy / "Chart.yaml").read_text()
    (copy / "Chart.yaml").write_text(re.sub(r"^version: .*$", "version: 9.8.7", text, flags=re.MULTILINE))
    return str(copy)
