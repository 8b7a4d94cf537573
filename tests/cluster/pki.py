"""The test bed's certificates: one authority for the cluster, one for the aggregation layer, one client certificate for each component.

They are created with each test bed and deleted with its folder. OpenSSL creates them, so ``make cluster`` needs no Python package.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

from tests.cluster.testbed import API, API_ADDRESS, API_SERVICE, Bed, run

DAYS = "30"
CLIENTS = {
    "admin": "/O=system:masters/CN=admin",
    "controller-manager": "/CN=system:kube-controller-manager",
    "scheduler": "/CN=system:kube-scheduler",
    "proxy": "/CN=system:kube-proxy",
    "apiserver-to-kubelet": "/O=system:masters/CN=kube-apiserver",
}
API_NAMES = [
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "localhost",
]


def make(bed: Bed) -> None:
    """Write every key and certificate, and a kubeconfig for each client."""
    folder = bed.pki
    folder.mkdir(mode=0o700, parents=True)
    (folder / "openssl.cnf").write_text(
        "[req]\ndistinguished_name = dn\n[dn]\n"
    )  # Debian's default configuration adds extensions
    for name in ("ca", "front-proxy-ca"):
        _certificate(
            folder,
            name,
            f"/CN=kubesweep-bed-{name}",
            "basicConstraints=critical,CA:TRUE",
            "keyUsage=critical,keyCertSign,cRLSign",
        )
    _leaf(folder, "front-proxy-client", "/CN=front-proxy-client", authority="front-proxy-ca")
    addresses = [f"IP:{address}" for address in ("127.0.0.1", API_ADDRESS, API_SERVICE)]
    _leaf(folder, "apiserver", "/CN=kube-apiserver", names=[f"DNS:{name}" for name in API_NAMES] + addresses)
    run("openssl", "genrsa", "-out", folder / "accounts.key", "2048")
    run("openssl", "rsa", "-in", folder / "accounts.key", "-pubout", "-out", folder / "accounts.pub")
    clients = dict(CLIENTS)
    for node in bed.nodes:
        _leaf(folder, f"{node.name}-server", f"/CN={node.name}", names=[f"DNS:{node.name}", f"IP:{node.address}"])
        clients[node.name] = f"/O=system:nodes/CN=system:node:{node.name}"
    for name, subject in clients.items():
        _leaf(folder, name, subject)
        (folder / f"{name}.kubeconfig").write_text(_kubeconfig(folder, name))
    bed.kubeconfig.write_text(_kubeconfig(folder, "admin"))
    bed.kubeconfig.chmod(0o600)


def _leaf(folder: Path, name: str, subject: str, *, names: list[str] | None = None, authority: str = "ca") -> None:
    extensions = ["basicConstraints=critical,CA:FALSE", "extendedKeyUsage=serverAuth,clientAuth"]
    if names:
        extensions.append("subjectAltName=" + ",".join(names))
    _certificate(folder, name, subject, *extensions, authority=authority)


def _certificate(folder: Path, name: str, subject: str, *extensions: str, authority: str | None = None) -> None:
    signed: list[str | Path] = (
        ["-CA", folder / f"{authority}.crt", "-CAkey", folder / f"{authority}.key"] if authority else []
    )
    added = [word for extension in extensions for word in ("-addext", extension)]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", DAYS, "-subj", subject]
    files: list[str | Path] = [
        "-config",
        folder / "openssl.cnf",
        "-keyout",
        folder / f"{name}.key",
        "-out",
        folder / f"{name}.crt",
    ]
    run("openssl", "req", "-x509", *kind, *files, *signed, *added)


def _kubeconfig(folder: Path, client: str) -> str:
    def data(file: str) -> str:
        return base64.b64encode((folder / file).read_bytes()).decode()

    user = {"client-certificate-data": data(f"{client}.crt"), "client-key-data": data(f"{client}.key")}
    cluster = {"server": API, "certificate-authority-data": data("ca.crt")}
    context = {"cluster": "kubesweep-bed", "user": client}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "kubesweep-bed", "cluster": cluster}],
            "users": [{"name": client, "user": user}],
            "contexts": [{"name": "kubesweep-bed", "context": context}],
            "current-context": "kubesweep-bed",
        }
    )
