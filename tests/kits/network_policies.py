"""Enforces NetworkPolicies during one test: kube-network-policies decides about every new connection from or to a pod of the test bed.

It runs as a process on each node. It reads the policies and pods from the API server and decides about each packet that netfilter queues. This module
adds the rules that queue packets: the program's own rules need a kernel with ``CONFIG_NFT_QUEUE``, the older NFQUEUE target does not.
https://github.com/kubernetes-sigs/kube-network-policies
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.cluster.testbed import API_ADDRESS, PODS, Bed, Node, build, paths
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
def enforced_network_policies(cluster: Cluster, bed: Bed, folder: Path) -> Iterator[None]:
    """Existing policies are enforced on entry, later ones a moment after they are created."""
    (folder / "token").write_text(_create_account(cluster))
    (folder / "ca.crt").write_bytes((bed.pki / "ca.crt").read_bytes())
    with ExitStack() as nodes:
        for node in bed.nodes:
            nodes.enter_context(_enforced_on(node, folder))
        yield


@contextmanager
def _enforced_on(node: Node, folder: Path) -> Iterator[None]:
    host, port = f"KUBERNETES_SERVICE_HOST={API_ADDRESS}", "KUBERNETES_SERVICE_PORT=6443"
    program = [str(paths()[TOOL]), f"--hostname-override={node.name}", "--netfilter-bug-1766-fix=false"]
    program += ["--metrics-bind-address=127.0.0.1:0", f"--nfqueue-id={QUEUE}", "-v=2"]
    command = _on(node, "unshare", "--mount", "sh", "-euc", START, "sh", "env", host, port, *program)
    log = folder / f"{TOOL}-{node.name}.log"
    with log.open("w") as out, subprocess.Popen(command, cwd=folder, stdout=out, stderr=out) as process:
        try:
            _until_listening(node, process, log)
            _add_rules(node)
            yield
            assert process.poll() is None, log.read_text()
        finally:
            _remove_rules(node)
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


def _on(node: Node, *command: str) -> list[str]:
    """The command, run in the node's network."""
    return ["nsenter", f"--net={node.network}", "--", *command]


def _listens(node: Node) -> bool:
    command = _on(node, "cat", "/proc/thread-self/net/netfilter/nfnetlink_queue")
    queues = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return any(line.split()[:1] == [QUEUE] for line in queues.splitlines())


def _until_listening(node: Node, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the program listens and has read the policies. A packet without a listener would be dropped."""
    deadline = scaled(30)
    while not (_listens(node) and "synced" in log.read_text()):
        try:
            code = process.wait(0.1)
        except subprocess.TimeoutExpired:
            deadline -= 0.1
        else:
            raise AssertionError(f"{TOOL} ended with {code}:\n{log.read_text()}")
        assert deadline > 0, log.read_text()


def _add_rules(node: Node) -> None:
    _remove_rules(node)
    _iptables(node, "-N", CHAIN)
    for rule in RULES:
        _iptables(node, "-A", CHAIN, *rule.split())
    _iptables(node, "-A", "POSTROUTING", "-j", CHAIN)


def _remove_rules(node: Node) -> None:
    for words in (("-D", "POSTROUTING", "-j", CHAIN), ("-F", CHAIN), ("-X", CHAIN)):
        _iptables(node, *words, check=False)


def _iptables(node: Node, *words: str, check: bool = True) -> None:
    """In mangle/POSTROUTING, the addresses of Services are already translated to pods and nothing is masqueraded yet."""
    command = _on(node, "iptables", "--wait", "--table", "mangle", *words)
    subprocess.run(command, check=check, capture_output=True)
