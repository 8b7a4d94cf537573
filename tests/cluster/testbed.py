"""The names, folders and addresses of a test bed, which is one cluster on this machine.

Each test bed has a network, process and mount namespace of its own, so test beds use the same addresses without conflicts. They share the cache of
binaries and images. ``KUBESWEEP_CLUSTER`` selects the test bed. What a new one consists of is selected by ``KUBERNETES`` and ``KEDA`` (minors, which
the script ``build`` reads), ``NODES`` and ``QUEUE``.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kubesweep"
CGROUPS = Path("/sys/fs/cgroup")

SERVICES = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
DNS_SERVICE = "10.96.0.10"
PODS = "10.244.0.0/16"
API_ADDRESS = "10.90.0.1"
API = f"https://{API_ADDRESS}:6443"
QUEUES = {"redis": "docker.io/library/redis:7.2.16", "valkey": "docker.io/valkey/valkey:8.1"}


class BedError(Exception):
    """An operation on the test bed failed; the text says where to look."""


@dataclass(frozen=True)
class Bed:
    """One cluster: its name and its files."""

    name: str

    @classmethod
    def selected(cls) -> Bed:
        name = os.environ.get("KUBESWEEP_CLUSTER") or "default"
        if not re.fullmatch(r"[a-z0-9]{1,20}", name):
            raise BedError(f"KUBESWEEP_CLUSTER={name}: a cluster's name is 1 to 20 small letters and digits")
        return cls(name)

    @property
    def folder(self) -> Path:
        return CACHE / "clusters" / self.name

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        return self.folder / "audit.log"

    @property
    def pki(self) -> Path:
        return self.folder / "pki"

    @property
    def nodes(self) -> list[Node]:
        """The nodes that the test bed was created with."""
        return [Node(self, number) for number in range(1, int((self.folder / "nodes").read_text()) + 1)]

    @property
    def cgroup(self) -> str:
        """The name of the cgroup that holds every process of the test bed, in each hierarchy of the machine."""
        return f"kubesweep-{self.name}"

    def tool(self, name: str) -> str:
        """The path of a compiled program; the folder has a link to each."""
        return str(self.folder / "bin" / name)


@dataclass(frozen=True)
class Node:
    """A node of a test bed, with its own network. The first one also runs the control plane, and its network is the one that tests enter."""

    bed: Bed
    number: int

    @property
    def first(self) -> bool:
        return self.number == 1

    @property
    def name(self) -> str:
        return f"node-{self.number}"

    @property
    def address(self) -> str:
        return f"10.90.0.{self.number}"

    @property
    def pods(self) -> str:
        """The addresses of the node's pods."""
        return f"10.244.{self.number - 1}.0/24"

    @property
    def folder(self) -> Path:
        return self.bed.folder if self.first else self.bed.folder / self.name

    @property
    def containerd(self) -> Path:
        return self.folder / "containerd" / "containerd.sock"

    @property
    def cgroup(self) -> str:
        """The cgroup that holds the node's pods: each kubelet deletes pods below its own that it has not started."""
        return self.bed.cgroup if self.first else f"{self.bed.cgroup}/{self.name}"

    @property
    def network(self) -> Path:
        """The node's network namespace, for processes outside of the test bed."""
        init = Path("/proc") / (self.bed.folder / "pid").read_text()
        return init / "ns/net" if self.first else init / "root/run/netns" / self.name


def selected_nodes() -> int:
    words = os.environ.get("NODES") or "1"
    if words not in ("1", "2"):
        raise BedError(f"NODES={words}: choose 1 or 2")
    return int(words)


def queue_image() -> str:
    """The image of the queue's server that ``QUEUE`` selects."""
    words = os.environ.get("QUEUE") or "redis"
    if words not in QUEUES:
        raise BedError(f"QUEUE={words}: choose {' or '.join(QUEUES)}")
    return QUEUES[words]


def hierarchies() -> list[Path]:
    """The machine's cgroup trees: one (v2), or one for each controller (v1)."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    return sorted(tree for tree in CGROUPS.iterdir() if (tree / "cgroup.procs").exists())


def membership(bed: Bed) -> Path:
    """The cgroup of all processes that the test bed starts, directly or indirectly."""
    tree = CGROUPS if (CGROUPS / "cgroup.controllers").exists() else CGROUPS / "pids"
    return tree / bed.cgroup


def run(*command: str | Path, stdin: str | None = None, timeout: float = 600) -> str:
    """Run a command and return its output. Raises BedError with the end of its output if it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(words, input=stdin or "", capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode != 0:
        raise BedError(f"{' '.join(words[:6])}: exit {done.returncode}\n{(done.stderr or done.stdout)[-2000:]}")
    return done.stdout


def say(text: str) -> None:
    print(f"cluster: {text}", flush=True)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Print ``what`` and its duration at the end."""
    began = time.monotonic()
    yield
    say(f"{what} ({time.monotonic() - began:.1f} s)")


def build(tools: Sequence[str] = ()) -> None:
    if subprocess.run([str(HERE / "build"), *tools], stdin=subprocess.DEVNULL, check=False).returncode != 0:
        raise BedError("compiling failed; the lines above say where")


def paths() -> dict[str, Path]:
    """The path of every program by name, whether it is built or not. Raises BedError if no such version can be built."""
    done = subprocess.run([str(HERE / "build"), "--paths"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BedError(done.stderr.strip())
    listed = done.stdout.split()
    return dict(zip(listed[::2], map(Path, listed[1::2]), strict=True))
