"""The names, folders and addresses of a test bed, which is one cluster on this machine.

Each test bed has a network, process and mount namespace of its own, so test beds use the same addresses without conflicts. They share the cache of
binaries and images. ``KUBESWEEP_CLUSTER`` selects the test bed.
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

NODE = "node-1"
NODE_ADDRESS = "10.90.0.1"
SERVICES = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
DNS_SERVICE = "10.96.0.10"
PODS = "10.244.0.0/24"
API = f"https://{NODE_ADDRESS}:6443"


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
    def containerd(self) -> Path:
        return self.folder / "containerd" / "containerd.sock"

    @property
    def cgroup(self) -> str:
        """The name of the cgroup that holds every process of the test bed, in each hierarchy of the machine."""
        return f"kubesweep-{self.name}"

    def tool(self, name: str) -> str:
        """The path of a compiled program; the folder has a link to each."""
        return str(self.folder / "bin" / name)


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
    """The path of every program by name, whether it is built or not."""
    listed = run(HERE / "build", "--paths").split()
    return dict(zip(listed[::2], map(Path, listed[1::2]), strict=True))
