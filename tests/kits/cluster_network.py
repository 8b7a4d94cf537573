"""The two networks of these tests: the cluster's, from which alone it can be reached, and the one that they came from, in which alone
images can be built."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tests.cluster.testbed import Bed

OUTSIDE = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
T = TypeVar("T")


def enter(bed: Bed) -> None:
    """As tests/cluster/exec does, for this process: also what it starts later is inside."""
    pid = (bed.folder / "pid").read_text()
    with open(f"/proc/{pid}/ns/net") as network:
        _move(network.fileno())
    os.environ |= {
        "KUBECONFIG": str(bed.kubeconfig),
        "KUBESWEEP_AUDIT_LOG": str(bed.audit_log),
        "PATH": f"{bed.folder}/bin:{os.environ['PATH']}",
    }


def outside(work: Callable[[], T]) -> T:
    """Do ``work``, and what it starts, in the network that the tests came from: a network is a thread's, not a process's."""
    with ThreadPoolExecutor(1, initializer=_move, initargs=(OUTSIDE,)) as thread:
        return thread.submit(work).result()


def _move(network: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(network, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot go into the other network")
