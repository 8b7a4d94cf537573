"""Enforces NetworkPolicies during one test: kube-network-policies decides about every new connection from or to a pod of the test bed.

It runs as a process on the node. It reads the policies and pods from the API server and decides about each packet that netfilter queues. This module
adds the rules that queue packets: the program's own rules need a kernel with ``CONFIG_NFT_QUEUE``, the older NFQUEUE target does not.
https://github.com/kubernetes-sigs/kube-network-policies
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cluster.testbed import NODE, NODE_ADDRESS, PODS, Bed, build, paths
from tests.kits.cluster_network import in_original_network
from tests.kits.deadlines import scaled
from tests.kits.kube_client import Cluster, Namespace

TOOL, HOME, QUEUE = "kube-network-policies", "kube-system", "100"
CHAIN = "NETWORK-POLICIES"
# The program looks for its token where a pod has it, so it gets a mount namespace of its own.
START = """
mount -t tmpfs tmpfs /run
mkdir -p /run/secrets/kubernetes.io/serviceaccount
cp token ca.crt /run/secrets/kubernetes.io/serviceaccount/
exec "$@"
"""
# Packets of the node (such as the kubelet's probes) and of established connections are not queued.
RULES = (
    "-m owner --uid-owner 0 -j RETURN",
    "-m conntrack --ctstate ESTABLISHED,RELATED -j RETURN",
    f"-s {PODS} -j NFQUEUE --queue-num {QUEUE}",
    f"-d {PODS} -j NFQUEUE --queue-num {QUEUE}",
)


def build_tool() -> None:
    """Compile the program where it is missing. Call it from a fixture, so that it does not count as the test's time."""
    in_original_network(lambda: build([TOOL]))


@contextmanager
def enforced_network_policies(cluster: Cluster, bed: Bed, folder: Path) -> Iterator[Path]:
    """Yields the program's log file. Existing policies are enforced on entry, later ones a moment after they are created."""
    (folder / "token").write_text(_create_account(cluster))
    (folder / "ca.crt").write_bytes((bed.pki / "ca.crt").read_bytes())
    host, port = f"KUBERNETES_SERVICE_HOST={NODE_ADDRESS}", "KUBERNETES_SERVICE_PORT=6443"
    program = [str(paths()[TOOL]), f"--hostname-override={NODE}", "--netfilter-bug-1766-fix=false"]
    program += ["--metrics-bind-address=127.0.0.1:0", f"--nfqueue-id={QUEUE}", "-v=2"]
    command = ["unshare", "--mount", "sh", "-euc", START, "sh", "env", host, port, *program]
    log = folder / f"{TOOL}.log"
    with log.open("w") as out, subprocess.Popen(command, cwd=folder, stdout=out, stderr=out) as process:
        try:
            _until_listening(process, log)
            _add_rules()
            yield log
            assert process.poll() is None, log.read_text()
        finally:
            _remove_rules()
            process.send_signal(signal.SIGINT)
            try:
                process.wait(scaled(20))
            except subprocess.TimeoutExpired:
                process.kill()


def _create_account(cluster: Cluster) -> str:
    """A token that may read pods, namespaces and policies."""
    meta = {"name": TOOL}
    reads: list[dict[str, Any]] = [
        {"apiGroups": [""], "resources": ["pods", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ["list", "watch"]},
    ]
    rbac = "rbac.authorization.k8s.io"
    subject = {"kind": "ServiceAccount", "name": TOOL, "namespace": HOME}
    role = {"apiGroup": rbac, "kind": "ClusterRole", "name": TOOL}
    for each in (
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {**meta, "namespace": HOME}},
        {"apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": meta, "rules": reads},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": meta,
            "roleRef": role,
            "subjects": [subject],
        },
    ):
        cluster.apply(each, HOME if each["kind"] == "ServiceAccount" else None)
    return Namespace(cluster, HOME).kubectl("create", "token", TOOL, "--duration=2h").strip()


def _until_listening(process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the program listens and has read the policies. A packet without a listener would be dropped."""
    queues = Path("/proc/thread-self/net/netfilter/nfnetlink_queue")
    deadline = scaled(30)
    while not (
        any(line.split()[:1] == [QUEUE] for line in queues.read_text().splitlines()) and "synced" in log.read_text()
    ):
        try:
            code = process.wait(0.1)
        except subprocess.TimeoutExpired:
            deadline -= 0.1
        else:
            raise AssertionError(f"{TOOL} ended with {code}:\n{log.read_text()}")
        assert deadline > 0, log.read_text()


def _add_rules() -> None:
    _remove_rules()
    _iptables("-N", CHAIN)
    for rule in RULES:
        _iptables("-A", CHAIN, *rule.split())
    _iptables("-A", "POSTROUTING", "-j", CHAIN)


def _remove_rules() -> None:
    for words in (("-D", "POSTROUTING", "-j", CHAIN), ("-F", CHAIN), ("-X", CHAIN)):
        _iptables(*words, check=False)


def _iptables(*words: str, check: bool = True) -> None:
    """In mangle/POSTROUTING, the addresses of Services are already translated to pods and nothing is masqueraded yet."""
    subprocess.run(["iptables", "--wait", "--table", "mangle", *words], check=check, capture_output=True)
