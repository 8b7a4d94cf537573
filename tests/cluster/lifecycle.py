"""Starts and deletes the node, from any state that a killed run has left."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from tests.cluster import pki
from tests.cluster.components import write_files
from tests.cluster.testbed import REPOSITORY, Bed, BedError, hierarchies, membership, paths, selected_nodes, step
from tests.kits.deadlines import scaled

GRACE = 120.0
PATIENCE = 240.0  # seconds; a successful run does not wait for it
INTERVAL = 0.2
VERSIONED = ("kube-apiserver", "keda-operator")  # programs whose version a variable selects


def running(bed: Bed) -> bool:
    """Whether the node's first process runs. Its cgroup distinguishes it from a later process with the same ID."""
    try:
        pid = (bed.folder / "pid").read_text()
        return f"/{bed.cgroup}/" in Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return False


def as_selected(bed: Bed) -> bool:
    """Whether the test bed has the versions and the number of nodes that are selected."""
    try:
        same = all((bed.folder / "bin" / name).readlink() == paths()[name] for name in VERSIONED)
        return same and len(bed.nodes) == selected_nodes()
    except OSError:  # created by an older version of this module, or not completely
        return False


def up(bed: Bed) -> None:
    """Start the nodes in a new folder."""
    bed.folder.mkdir(parents=True)
    (bed.folder / "bin").mkdir()
    for name, path in paths().items():  # a program that is not built yet may follow later
        (bed.folder / "bin" / name).symlink_to(path)
    (bed.folder / "nodes").write_text(str(selected_nodes()))
    with step("certificates"):
        pki.make(bed)
    for node in bed.nodes:
        for name in ("log", "cni-state"):
            (node.folder / name).mkdir(parents=True)
        write_files(node)
        for tree in hierarchies():
            _group(tree / node.cgroup)
    _group(membership(bed) / "node")
    enter = f'echo $$ > "{membership(bed)}/node/cgroup.procs" && exec "$@"'
    apart = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    with (bed.folder / "log" / "init.log").open("wb") as log:
        started = subprocess.Popen(
            ["sh", "-c", enter, "sh", *apart, sys.executable, "-m", "tests.cluster.node_init", bed.name, "1"],
            cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    (bed.folder / "pid").write_text(str(started.pid))


def down(bed: Bed) -> None:
    """Kill every process of the test bed, then remove its cgroups and its folder. Does nothing where there is none."""
    _kill_all(bed)
    for tree in hierarchies():
        until(partial(_removed, tree / bed.cgroup), f"{tree / bed.cgroup} is empty", GRACE)
    if bed.folder.exists():
        until(lambda: not _mounts(bed), f"nothing is mounted under {bed.folder}", GRACE)
        shutil.rmtree(bed.folder)


def until(condition: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
    patience = scaled(patience)
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise BedError(f"not within {patience:.0f} s: {what}")
        time.sleep(INTERVAL)


def processes(bed: Bed) -> Iterator[tuple[int, str]]:
    """The ID and command line of every process of the test bed."""
    for pid in _members(membership(bed)):
        with suppress(OSError):  # the process ended meanwhile
            yield pid, Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def _kill_all(bed: Bed) -> None:
    members = membership(bed)

    def ended() -> bool:
        alive = _members(members)
        for pid in alive:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return not alive

    until(ended, f"the processes in {members} are gone", GRACE)


def _members(group: Path) -> set[int]:
    alive = set[int]()
    for folder, _, _ in os.walk(group):
        try:
            alive |= {int(pid) for pid in (Path(folder) / "cgroup.procs").read_text().split()}
        except OSError:  # the group was removed meanwhile
            continue
    return alive


def _removed(group: Path) -> bool:
    for folder, _, _ in os.walk(group, topdown=False):
        try:
            os.rmdir(folder)
        except OSError:
            continue
    return not group.exists()


def _group(path: Path) -> None:
    path.mkdir(exist_ok=True)
    for file in ("cpuset.cpus", "cpuset.mems"):  # v1 does not inherit them, and requires them
        if (path / file).exists() and not (path / file).read_text().strip():
            (path / file).write_text((path.parent / file).read_text())


def _mounts(bed: Bed) -> list[str]:
    return [line for line in Path("/proc/self/mounts").read_text().splitlines() if f" {bed.folder}/" in line]
