"""A Kubernetes API without nodes: etcd and kube-apiserver as two processes on loopback, in a folder that is removed at the end.

No controller manager runs, so nothing but the contestants reads or writes. The programs are those of tests/cluster, which
compiles them where they are missing.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import subprocess
import tempfile
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kubesweep_controller.kube.kubeconfig import Kubeconfig
from tests.cluster import testbed
from tests.kits.polling import until
from tests.kits.servers import free_port

TOKEN = "bench"
WRITES = {"POST", "PUT", "PATCH", "APPLY", "DELETE"}
REQUESTS = re.compile(r"^apiserver_request_total\{(.*)\} (\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class KubeApi:
    """``connection`` has all rights, and so has the file ``kubeconfig`` for a process."""

    connection: Kubeconfig
    kubeconfig: Path

    def writes(self) -> Counter[str]:
        """Write requests until now by resource, refused ones too."""
        found: Counter[str] = Counter()
        for labels, value in REQUESTS.findall(self._read("/metrics")):
            named = dict(LABEL.findall(labels))
            if named["verb"] in WRITES:
                found[named["resource"]] += int(float(value))
        return found

    def ready(self) -> bool:
        try:
            return self._read("/readyz") == "ok"
        except OSError:
            return False

    def _read(self, path: str) -> str:
        trust = ssl.create_default_context()
        trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
        asked = urllib.request.Request(self.connection.server + path, headers={"Authorization": f"Bearer {TOKEN}"})
        with urllib.request.urlopen(asked, context=trust, timeout=60) as answer:
            return str(answer.read().decode())


@asynccontextmanager
async def kube_api() -> AsyncIterator[KubeApi]:
    """Start both programs. They are killed at the end."""
    await asyncio.to_thread(testbed.build, ["etcd", "kube-apiserver"])
    etcd, peer, port = free_port(), free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="kubesweep-api-") as name:
        folder = Path(name)
        server = f"https://127.0.0.1:{port}"
        api = KubeApi(Kubeconfig(server, given_token=TOKEN, verify=False), _kubeconfig(folder, server))
        with _process(folder, _etcd(folder, etcd, peer)), _process(folder, _api_server(folder, etcd, port)):
            await until(lambda: asyncio.to_thread(api.ready))
            yield api


def _kubeconfig(folder: Path, server: str) -> Path:
    config: dict[str, Any] = {
        "clusters": [{"name": "c", "cluster": {"server": server, "insecure-skip-tls-verify": True}}],
        "users": [{"name": "u", "user": {"token": TOKEN}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


@contextmanager
def _process(folder: Path, command: list[str]) -> Iterator[None]:
    with (folder / f"{Path(command[0]).name}.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _etcd(folder: Path, port: int, peer: int) -> list[str]:
    url, peers = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer}"
    return [
        str(testbed.paths()["etcd"]), f"--data-dir={folder}/etcd", "--unsafe-no-fsync", "--log-level=warn",
        f"--listen-client-urls={url}", f"--advertise-client-urls={url}", f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}", f"--initial-cluster=default={peers}",
    ]  # fmt: skip


def _api_server(folder: Path, etcd: int, port: int) -> list[str]:
    """It makes its own certificate, so clients must not verify it."""
    (folder / "tokens.csv").write_text(f'{TOKEN},bench,bench,"system:masters"\n')
    key = folder / "accounts.key"
    testbed.run("openssl", "genrsa", "-out", key, "2048")
    return [
        str(testbed.paths()["kube-apiserver"]), f"--etcd-servers=http://127.0.0.1:{etcd}", f"--secure-port={port}",
        "--bind-address=127.0.0.1", f"--cert-dir={folder}/certificates", f"--token-auth-file={folder}/tokens.csv",
        "--authorization-mode=RBAC", "--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.96.0.0/16",
        "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
    ]  # fmt: skip
