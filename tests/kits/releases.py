"""Releases of the chart, through the helm that people use; each in a namespace of its own, so that several never meet."""

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

from tests.kits.deadlines import scaled
from tests.kits.kube_client import Cluster, Namespace, Object
from tests.kits.workloads import PRODUCT, product_image

CHART = "charts/kubesweep"
PATIENCE = f"{scaled(180):.0f}s"
OWN = {"namespaced": "true"}  # serves its own namespace, and needs the CRD to be there
SCHEDULE = "kubesweep.dev/v1alpha1 SweepSchedule"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
OPEN: list[Namespace] = []  # the namespaces that the tests of this process have now


@dataclass(frozen=True)
class Release:
    """``install`` and its like return when Helm has waited for all to be ready; what they return is what helm printed."""

    namespace: Namespace
    name: str = "ks"

    @property
    def fullname(self) -> str:
        return f"{self.name}-kubesweep"

    def install(self, values: Mapping[str, str], *words: str) -> str:
        return self._helm("install", CHART, *_sets(values), "--wait", f"--timeout={PATIENCE}", *words)

    def upgrade(self, values: Mapping[str, str], chart: str = CHART) -> str:
        return self._helm("upgrade", chart, *_sets(values), "--wait", f"--timeout={PATIENCE}")

    def rollback(self, revision: int) -> str:
        return self._helm("rollback", str(revision), "--wait", f"--timeout={PATIENCE}")

    def uninstall(self) -> str:
        return self._helm("uninstall", "--wait")

    def test(self) -> str:
        """``helm test``, which sweeps a row; with the log of its pod."""
        return self._helm("test", "--logs")

    def leader(self) -> str:
        """The pod that holds the Lease."""
        lease = self.namespace.get("coordination.k8s.io/v1 Lease", self.fullname)
        assert lease is not None
        return str(lease["spec"]["holderIdentity"])

    def password(self) -> str:
        """The bundled queue's, as its Secret has it."""
        found = self.namespace.get("v1 Secret", f"{self.fullname}-redis")
        assert found is not None
        return base64.b64decode(found["data"]["password"]).decode()

    def redis(self, *words: str, user: str = "default", password: str) -> str:
        """What the bundled queue answers to this user's command."""
        script = 'export REDISCLI_AUTH="$1" && user="$2" && shift 2 && redis-cli --user "$user" "$@" 2>/dev/null'
        pod = f"{self.fullname}-redis-0"
        return self.namespace.exec(pod, "sh", "-c", script, "sh", password, user, *words).strip()

    def _helm(self, verb: str, *words: str) -> str:
        command = ["helm", verb, self.name, *words, "--namespace", self.namespace.name]
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=scaled(400))
        assert ran.returncode == 0, f"{' '.join(command)}:\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout


def _sets(values: Mapping[str, str]) -> list[str]:
    registry, _, folder = PRODUCT.partition("/")
    usual = {"keda.pollingInterval": "2"}
    for part in ("controller", "worker"):
        usual |= {f"{part}.image.registry": registry, f"{part}.image.repository": f"{folder}/{part}"}
    return [word for key, value in {**usual, **values}.items() for word in ("--set", f"{key}={value}")]


@contextmanager
def another(cluster: Cluster, what: str) -> Iterator[Namespace]:
    """A namespace under PodSecurity ``restricted``, gone afterwards. While it is there, a test that fails dumps it."""
    name = f"e2e-{what}-{uuid.uuid4().hex[:6]}"
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}})
    made = Namespace(cluster, name)
    OPEN.append(made)
    try:
        yield made
    finally:
        OPEN.remove(made)
        cluster.delete("v1 Namespace", name)


def visits(name: str, **spec: Any) -> list[Object]:
    """A Secret and a schedule whose table, with one stale row, is a SQLite file in the worker's own pod."""
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
    """A Secret with the URL, and a schedule that sweeps once, now."""
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
    """Checked, and for the newest spec."""
    status = found.get("status", {})
    current = status.get("observedGeneration") == found["metadata"]["generation"]
    return current and any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", []))


def swept(rows: int | None = None) -> Callable[[Object], bool]:
    """Whether the latest sweep completed, and wrote that many rows."""

    def condition(found: Object) -> bool:
        last = found.get("status", {}).get("lastSweep") or {}
        return last.get("state") == "Completed" and rows in (None, last.get("applied"))

    return condition


def later_chart(folder: Path) -> str:
    """The path of the chart as it will be one version on; with the images of this one."""
    copy = folder / "kubesweep"
    shutil.copytree(CHART, copy)
    text = (copy / "Chart.yaml").read_text()
    (copy / "Chart.yaml").write_text(re.sub(r"^version: .*$", "version: 9.8.7", text, flags=re.MULTILINE))
    return str(copy)
