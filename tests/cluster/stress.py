"""``python3 -m tests.cluster.stress``: create and delete a cluster ten times, kill its creation at several moments, and kill each of its processes.

A new pod must run after each step. It takes a quarter of an hour. Run it by hand after a change in this folder; it uses a test bed of its own.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tests.cluster.__main__ import down, up
from tests.cluster.addons import kubectl
from tests.cluster.testbed import Bed, BedError, hierarchies, membership, say

BED = Bed("stress")
PROGRAMS = {  # the programs to kill, and patterns of their command lines
    "etcd": r"/bin/etcd ",
    "kube-apiserver": r"/bin/kube-apiserver ",
    "containerd": r"/containerd --config ",
    "kube-controller-manager": r"/bin/kube-controller-manager ",
    "kube-scheduler": r"/bin/kube-scheduler ",
    "kubelet": r"/bin/kubelet ",
    "kube-proxy": r"/bin/kube-proxy ",
    "containerd-shim": r"/containerd-shim",
    "pause": r"^/program $",
    "coredns": r"^/program -conf ",
    "keda": r"^/keda ",
    "keda-adapter": r"^/keda-adapter ",
    "init": r"^\S+ -m tests\.cluster\.node_init ",
    "unshare": r"^unshare ",
}
ROUNDS = 10
CREATION_KILLED_AFTER = (0.5, 1, 2, 3, 5, 8, 13, 21)


def processes() -> Iterator[tuple[int, str]]:
    """The ID and command line of every process of the test bed."""
    for folder, _, _ in os.walk(membership(BED)):
        for pid in (Path(folder) / "cgroup.procs").read_text().split():
            words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
            yield int(pid), " ".join(words)


def find_process(program: str) -> int:
    for pid, line in processes():
        if re.search(PROGRAMS[program], line):
            return pid
    raise BedError(f"no process of {BED.name} is {program}")


def leftovers() -> list[str]:
    """Cgroups, mounts, processes and folders that a deleted test bed left on the machine."""
    found = [str(tree / BED.cgroup) for tree in hierarchies() if (tree / BED.cgroup).exists()]
    found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f"{BED.folder}/" in line]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"{BED.folder}/" in (process / "cmdline").read_text():
                found.append(f"process {process.name}")
        except OSError:
            continue
    return found + ([str(BED.folder)] if BED.folder.exists() else [])


def assert_pod_runs(name: str) -> None:
    """A new pod is scheduled, gets an address, resolves a name and succeeds."""
    ask = "import socket; socket.getaddrinfo('kubernetes.default.svc.cluster.local', 443)"
    image = "--image=docker.io/library/python:3.11-slim"
    kubectl(BED, "run", name, image, "--restart=Never", "--command", "--", "python3", "-c", ask)
    kubectl(BED, "wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{name}", "--timeout=60s")


def main() -> None:
    down(BED)
    for round_ in range(1, ROUNDS + 1):
        began = time.monotonic()
        up(BED)
        ready = time.monotonic() - began
        assert_pod_runs("first")
        down(BED)
        if found := leftovers():
            sys.exit(f"round {round_}: left behind: {found}")
        say(f"== round {round_} of {ROUNDS}: ready in {ready:.0f} s, nothing left behind")
    up(BED)
    for seconds in CREATION_KILLED_AFTER:
        down(BED)
        creation = subprocess.Popen(
            [sys.executable, "-m", "tests.cluster", "up"], env=os.environ | {"KUBESWEEP_CLUSTER": BED.name}
        )
        with suppress(subprocess.TimeoutExpired):
            creation.wait(seconds)
        creation.kill()
        creation.wait()
        up(BED)
        assert_pod_runs("first")
        say(f"== killed after {seconds} s of make cluster: the next one worked")
    for program in PROGRAMS:
        os.kill(find_process(program), signal.SIGKILL)
        began = time.monotonic()
        up(BED)
        assert_pod_runs(f"after-{program}")
        say(f"== {program} was killed: a new pod ran {time.monotonic() - began:.0f} s later")
    down(BED)
    if found := leftovers():
        sys.exit(f"left behind: {found}")


if __name__ == "__main__":
    main()
