"""A node's init process: it configures the network, starts every program and restarts those that exit.

The first node's is process 1 of the test bed's process namespace, and the mounts are in a mount namespace of their own. So however it ends, the
kernel removes every process, mount and interface of the test bed. The init process of another node is one of its programs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.cluster.components import commands
from tests.cluster.testbed import Bed, Node

PAUSE = 1.0
PRIVATE = {
    "/var/log": "log",
    "/var/lib/cni": "cni-state",
}  # folders that the kubelet and CNI use regardless of their options


def connect(bed: Bed) -> None:
    """Create the interface ``node0``. Its peer is that of the second node, in a new network namespace; of a single node, an unused one."""
    if others := bed.nodes[1:]:
        [other] = others
        ip(f"netns add {other.name}")
        ip(f"link add node0 type veth peer name node0 netns {other.name}")
    else:
        ip("link add node0 type veth peer name nowhere0")
        ip("link set nowhere0 up")


def network(node: Node) -> None:
    """Configure the node's network, also after a restart. The default route leads to no machine: no packet leaves the nodes."""
    ip("link set lo up")
    ip(f"addr replace {node.address}/24 dev node0")
    ip("link set node0 up")
    ip("route replace default via 10.90.0.254 dev node0")
    for other in node.bed.nodes:
        if other != node:
            ip(f"route replace {other.pods} via {other.address} dev node0")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    bridge = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if (
        bridge.exists()
    ):  # otherwise replies between pods of one bridge would bypass the translation of a Service's address
        bridge.write_text("1")


def ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True)


def mounts(node: Node) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    for place, own in PRIVATE.items():
        Path(place).mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "--bind", str(node.folder / own), place], check=True)


def start(node: Node, name: str, command: list[str]) -> int:
    log = os.open(node.folder / "log" / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        files = [(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
        return os.posix_spawn(command[0], command, os.environ, file_actions=files, setsid=True)
    finally:
        os.close(log)


def main() -> None:
    bed = Bed(sys.argv[1])
    node = bed.nodes[int(sys.argv[2]) - 1]
    mounts(node)
    if node.first:
        connect(bed)
    network(node)
    todo = commands(node)
    running = {start(node, name, command): name for name, command in todo.items()}
    while True:
        ended, status = os.wait()  # also orphans of containers
        if name := running.pop(ended, None):
            print(
                f"{time.strftime('%X')} {name} ended with {os.waitstatus_to_exitcode(status)}: restarting it",
                flush=True,
            )
            time.sleep(PAUSE)
            running[start(node, name, todo[name])] = name


if __name__ == "__main__":
    main()
