"""The programs of the node and their options.

Some options exist for containers and small machines: no fsync for etcd, cgroup v1, no CAP_SYS_RESOURCE. The HPA syncs every five seconds.
"""

from __future__ import annotations

import shutil
from string import Template

from tests.cluster.testbed import DNS_SERVICE, HERE, NODE, NODE_ADDRESS, PODS, SERVICES, Bed

ETCD = "http://127.0.0.1:2379"


def write_files(bed: Bed) -> None:
    """Write the configuration files of the programs."""
    words = {"folder": str(bed.folder), "cgroup": bed.cgroup, "dns": DNS_SERVICE, "pods": PODS}
    for source, target in (
        ("containerd.toml", "."),
        ("kubelet.yaml", "."),
        ("audit.yaml", "."),
        ("bridge.conflist", "cni"),
    ):
        folder = bed.folder / target
        folder.mkdir(exist_ok=True)
        (folder / source).write_text(Template((HERE / "node" / source).read_text()).substitute(words))


def commands(bed: Bed) -> dict[str, list[str]]:
    """The command line of each program by its name, which is also its log's."""
    pki, folder = bed.pki, bed.folder
    containerd = shutil.which("containerd") or "/usr/bin/containerd"
    return {
        "etcd": [bed.tool("etcd"), f"--data-dir={folder}/etcd", "--unsafe-no-fsync", "--log-level=warn",
                 f"--listen-client-urls={ETCD}", f"--advertise-client-urls={ETCD}", "--listen-peer-urls=http://127.0.0.1:2380"],
        "kube-apiserver": _api_server(bed),
        "containerd": [containerd, "--config", f"{folder}/containerd.toml"],
        "kube-controller-manager": [
            bed.tool("kube-controller-manager"), f"--kubeconfig={pki}/controller-manager.kubeconfig", "--leader-elect=false",
            "--use-service-account-credentials", f"--service-account-private-key-file={pki}/accounts.key", f"--root-ca-file={pki}/ca.crt",
            f"--cluster-signing-cert-file={pki}/ca.crt", f"--cluster-signing-key-file={pki}/ca.key",
            "--horizontal-pod-autoscaler-sync-period=5s"],
        "kube-scheduler": [bed.tool("kube-scheduler"), f"--kubeconfig={pki}/scheduler.kubeconfig", "--leader-elect=false"],
        "kubelet": [bed.tool("kubelet"), f"--config={folder}/kubelet.yaml", f"--kubeconfig={pki}/kubelet.kubeconfig",
                    f"--hostname-override={NODE}", f"--node-ip={NODE_ADDRESS}",
                    f"--root-dir={folder}/kubelet", f"--cert-dir={folder}/kubelet/pki"],
        "kube-proxy": [bed.tool("kube-proxy"), f"--kubeconfig={pki}/proxy.kubeconfig", f"--hostname-override={NODE}",
                       f"--cluster-cidr={PODS}", "--proxy-mode=nftables", "--conntrack-max-per-core=0"],
    }  # fmt: skip


def _api_server(bed: Bed) -> list[str]:
    pki = bed.pki
    return [
        bed.tool("kube-apiserver"), f"--etcd-servers={ETCD}", f"--advertise-address={NODE_ADDRESS}", "--secure-port=6443",
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
