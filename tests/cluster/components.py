"""The programs of the nodes and their options.

Some options exist for containers and small machines: no fsync for etcd, cgroup v1, no CAP_SYS_RESOURCE. The HPA syncs every five seconds.
"""

from __future__ import annotations

import shutil
import sys
from string import Template

from tests.cluster.testbed import API_ADDRESS, DNS_SERVICE, HERE, PODS, SERVICES, Bed, Node

ETCD = "http://127.0.0.1:2379"


def write_files(node: Node) -> None:
    """Write the configuration files of the node's programs."""
    words = {"folder": str(node.folder), "pki": str(node.bed.pki), "node": node.name, "pods": node.pods}
    words |= {"cgroup": node.cgroup, "dns": DNS_SERVICE}
    for source, target in (
        ("containerd.toml", "."),
        ("kubelet.yaml", "."),
        ("audit.yaml", "."),
        ("bridge.conflist", "cni"),
    ):
        folder = node.folder / target
        folder.mkdir(exist_ok=True)
        (folder / source).write_text(Template((HERE / "node" / source).read_text()).substitute(words))


def commands(node: Node) -> dict[str, list[str]]:
    """The command line of each program that the node's first process starts, by its name, which is also its log's."""
    if not node.first:
        return _node(node)
    others = {other.name: _other(other) for other in node.bed.nodes[1:]}
    return _control_plane(node.bed) | _node(node) | others


def _control_plane(bed: Bed) -> dict[str, list[str]]:
    pki, folder = bed.pki, bed.folder
    return {
        "etcd": [bed.tool("etcd"), f"--data-dir={folder}/etcd", "--unsafe-no-fsync", "--log-level=warn",
                 f"--listen-client-urls={ETCD}", f"--advertise-client-urls={ETCD}", "--listen-peer-urls=http://127.0.0.1:2380"],
        "kube-apiserver": _api_server(bed),
        "kube-controller-manager": [
            bed.tool("kube-controller-manager"), f"--kubeconfig={pki}/controller-manager.kubeconfig", "--leader-elect=false",
            "--use-service-account-credentials", f"--service-account-private-key-file={pki}/accounts.key", f"--root-ca-file={pki}/ca.crt",
            f"--cluster-signing-cert-file={pki}/ca.crt", f"--cluster-signing-key-file={pki}/ca.key",
            "--horizontal-pod-autoscaler-sync-period=5s"],
        "kube-scheduler": [bed.tool("kube-scheduler"), f"--kubeconfig={pki}/scheduler.kubeconfig", "--leader-elect=false"],
    }  # fmt: skip


def _node(node: Node) -> dict[str, list[str]]:
    bed, pki, folder = node.bed, node.bed.pki, node.folder
    return {
        "containerd": [_installed("containerd"), "--config", f"{folder}/containerd.toml"],
        "kubelet": [bed.tool("kubelet"), f"--config={folder}/kubelet.yaml", f"--kubeconfig={pki}/{node.name}.kubeconfig",
                    f"--hostname-override={node.name}", f"--node-ip={node.address}",
                    f"--root-dir={folder}/kubelet", f"--cert-dir={folder}/kubelet/pki"],
        "kube-proxy": [bed.tool("kube-proxy"), f"--kubeconfig={pki}/proxy.kubeconfig", f"--hostname-override={node.name}",
                       f"--cluster-cidr={PODS}", "--proxy-mode=nftables", "--conntrack-max-per-core=0"],
    }  # fmt: skip


def _other(node: Node) -> list[str]:
    """The first process of another node, in its network and in namespaces of its own: two kubelets must not see each other's pods and logs."""
    apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    init = [sys.executable, "-m", "tests.cluster.node_init", node.bed.name, str(node.number)]
    return [_installed("nsenter"), f"--net=/run/netns/{node.name}", "--", *apart, *init]


def _installed(program: str) -> str:
    return shutil.which(program) or f"/usr/bin/{program}"


def _api_server(bed: Bed) -> list[str]:
    pki = bed.pki
    return [
        bed.tool("kube-apiserver"), f"--etcd-servers={ETCD}", f"--advertise-address={API_ADDRESS}", "--secure-port=6443",
        f"--service-cluster-ip-range={SERVICES}", "--allow-privileged=true",
        "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", f"--client-ca-file={pki}/ca.crt",
        f"--tls-cert-file={pki}/apiserver.crt", f"--tls-private-key-file={pki}/apiserver.key",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki}/accounts.pub", f"--service-account-signing-key-file={pki}/accounts.key",
        # the aggregation layer, through which KEDA serves external metrics
        "--enable-aggregator-routing=true", f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
        "--requestheader-allowed-names=front-proxy-client", "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group", "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={pki}/front-proxy-client.crt", f"--proxy-client-key-file={pki}/front-proxy-client.key",
        # logs, exec and port-forward
        "--kubelet-preferred-address-types=InternalIP", f"--kubelet-certificate-authority={pki}/ca.crt",
        f"--kubelet-client-certificate={pki}/apiserver-to-kubelet.crt", f"--kubelet-client-key={pki}/apiserver-to-kubelet.key",
        f"--audit-policy-file={bed.folder}/audit.yaml", f"--audit-log-path={bed.audit_log}",
    ]  # fmt: skip
