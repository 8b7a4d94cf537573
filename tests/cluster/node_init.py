"""The node's init process: it configures the network, starts every program and restarts those that exit.

It is process 1 of the test bed's process namespace, and the mounts are in a mount namespace of their own. So however it ends, the kernel removes
every process, mount and interface of the test bed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.cluster.components import commands
from tests.cluster.testbed import NODE_ADDRESS, Bed

PAUSE = 1.0
PRIVATE = {
    "/var/log": "log",
    "/var/lib/cni": "cni-state",
}  # folders that the kubelet and CNI use regardless of their options


def network() -> None:
    """Configure an interface without a peer: the node has an address and a default route, but no packet leaves."""
    for words in (
        "link set lo up",
        "link add node0 type veth peer name nowhere0",
        "link set nowhere0 up",
        f"addr add {NODE_ADDRESS}/24 dev node0",
        "link set node0 up",
        "route add default via 10.90.0.254 dev node0",
    ):
        subprocess.run(["ip", *words.split()], check=True)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    bridge = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if (
        bridge.exists()
    ):  # otherwise replies between pods of one bridge would bypass the translation of a Service's address
        bridge.write_text("1")


def mounts(bed: Bed) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    for place, own in PRIVATE.items():
        Path(place).mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "--bind", str(bed.folder / own), place], check=True)


def start(bed: Bed, name: str, command: list[str]) -> int:
    log = os.open(bed.folder / "log" / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        files = [(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
        return os.posix_spawn(command[0], command, os.environ, file_actions=files, setsid=True)
    finally:
        os.close(log)


def main() -> None:
    bed = Bed(sys.argv[1])
    mounts(bed)
    network()
    todo = commands(bed)
    running = {start(bed, name, command): name for name, command in todo.items()}
    while True:
        ended, status = os.wait()  # also orphans of containers
        if name := running.pop(ended, None):
            print(
                f"{time.strftime('%X')} {name} ended with {os.waitstatus_to_exitcode(status)}: restarting it",
                flush=True,
            )
            time.sleep(PAUSE)
            running[start(bed, name, todo[name])] = name


if __name__ == "__main__":
    main()
