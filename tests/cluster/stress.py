"""``python3 -m tests.cluster.stress``: up and down ten times, a start that is killed half way,
SIGKILL for each process; a new pod must run after each.

It takes a quarter of an hour, so it is run by hand after a change in this folder, on a bed of its own beside yours.
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
from tests.cluster.testbed import Bed, Broken, hierarchies, membership, say

BED = Bed("stress")
PROGRAMS = {  # what is killed, and how its command line looks
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
TIMES = 10
CUT = (0.5, 1, 2, 3, 5, 8, 13, 21)


def processes() -> Iterator[tuple[int, str]]:
    """Every process of the bed with its command line."""
    for folder, _, _ in os.walk(membership(BED)):
        for pid in (Path(folder) / "cgroup.procs").read_text().split():
            words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
            yield int(pid), " ".join(words)


def of(program: str) -> int:
    for pid, line in processes():
        if re.search(PROGRAMS[program], line):
            return pid
    raise Broken(f"no process of {BED.name} is {program}")


def left() -> list[str]:
    """What a bed that is down has left on the machine."""
    found = [str(tree / BED.cgroup) for tree in hierarchies() if (tree / BED.cgroup).exists()]
    found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f"{BED.folder}/" in line]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"{BED.folder}/" in (process / "cmdline").read_text():
                found.append(f"process {process.name}")
        except OSError:
            continue
    return found + ([str(BED.folder)] if BED.folder.exists() else [])


def works(name: str) -> None:
    """A new pod is scheduled, gets an address, resolves a name and ends."""
    ask = "import socket; socket.getaddrinfo('kubernetes.default.svc.cluster.local', 443)"
    image = "--image=docker.io/library/python:3.11-slim"
    kubectl(BED, "run", name, image, "--restart=Never", "--command", "--", "python3", "-c", ask)
    kubectl(BED, "wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{name}", "--timeout=60s")


def main() -> None:
    down(BED)
    for round_ in range(1, TIMES + 1):
        began = time.monotonic()
        up(BED)
        ready = time.monotonic() - began
        works("first")
        down(BED)
        if found := left():
            sys.exit(f"round {round_}: left behind: {found}")
        say(f"== round {round_} of {TIMES}: ready in {ready:.0f} s, nothing left behind")
    up(BED)
    for seconds in CUT:
        down(BED)
        cut = subprocess.Popen(
            [sys.executable, "-m", "tests.cluster", "up"], env=os.environ | {"KUBESWEEP_CLUSTER": BED.name}
        )
        with suppress(subprocess.TimeoutExpired):
            cut.wait(seconds)
        cut.kill()
        cut.wait()
        up(BED)
        works("first")
        say(f"== killed after {seconds} s of make cluster: the next one worked")
    for program in PROGRAMS:
        os.kill(of(program), signal.SIGKILL)
        began = time.monotonic()
        up(BED)
        works(f"after-{program}")
        say(f"== {program} was killed: a new pod ran {time.monotonic() - began:.0f} s later")
    down(BED)
    if found := left():
        sys.exit(f"left behind: {found}")


if __name__ == "__main__":
    main()
