"""The two network namespaces of these tests: only the cluster's reaches the API server, and only the original one can build images."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tests.cluster.testbed import Bed

ORIGINAL = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
T = TypeVar("T")


def enter_cluster_network(bed: Bed) -> None:
    """Move this process, and the processes that it starts later, into the cluster's network, as tests/cluster/exec does."""
    pid = (bed.folder / "pid").read_text()
    with open(f"/proc/{pid}/ns/net") as network:
        _enter(network.fileno())
    os.environ |= {
        "KUBECONFIG": str(bed.kubeconfig),
        "KUBESWEEP_AUDIT_LOG": str(bed.audit_log),
        "PATH": f"{bed.folder}/bin:{os.environ['PATH']}",
    }


def in_original_network(work: Callable[[], T]) -> T:
    """Run ``work`` in the original network. A network namespace belongs to a thread, so a thread of its own runs it."""
    with ThreadPoolExecutor(1, initializer=_enter, initargs=(ORIGINAL,)) as thread:
        return thread.submit(work).result()


def _enter(network: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(network, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot enter the other network namespace")
