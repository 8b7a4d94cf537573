"""``python3 -m tests.cluster.stress``: create and delete a cluster ten times, kill its creation at several moments, and kill each of its processes.

A new pod must run on each node after each step. It takes a quarter of an hour. Run it by hand after a change in this folder, also with ``NODES=2``;
it uses a test bed of its own.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from tests.cluster.__main__ import down, up
from tests.cluster.addons import kubectl
from tests.cluster.lifecycle import processes
from tests.cluster.testbed import Bed, BedError, hierarchies, say, selected_nodes

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
    "init": r"^\S+ -m tests\.cluster\.node_init \S+ 1",
    "unshare": r"^unshare --net ",
}
if selected_nodes() == 2:
    PROGRAMS["init of the second node"] = r"^\S+ -m tests\.cluster\.node_init \S+ 2"
ROUNDS = 10
CREATION_KILLED_AFTER = (0.5, 1, 2, 3, 5, 8, 13, 21)


def find_process(program: str) -> int:
    for pid, line in processes(BED):
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
    """On each node a new pod gets an address, resolves a name and succeeds."""
    ask = "import socket; socket.getaddrinfo('kubernetes.default.svc.cluster.local', 443)"
    image = "--image=docker.io/library/python:3.11-slim"
    for node in BED.nodes:
        place = f'--overrides={{"spec": {{"nodeSelector": {{"kubernetes.io/hostname": "{node.name}"}}}}}}'
        pod = f"{name}-{node.number}"
        kubectl(BED, "run", pod, image, place, "--restart=Never", "--command", "--", "python3", "-c", ask)
        kubectl(BED, "wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{pod}", "--timeout=60s")


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
        assert_pod_runs(f"after-{program.replace(' ', '-')}")
        say(f"== {program} was killed: a new pod ran {time.monotonic() - began:.0f} s later")
    down(BED)
    if found := leftovers():
        sys.exit(f"left behind: {found}")


if __name__ == "__main__":
    main()
