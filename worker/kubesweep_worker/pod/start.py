"""The entry point of a worker's pod: install a handler for SIGTERM, then import the rest. It also has the preStop hook.

The kernel drops a signal to the first process of a container unless the process has a handler for it (pid_namespaces(7)). A
worker that misses SIGTERM continues to claim jobs until it is killed. So the handler is installed before any slow import, and
the preStop hook, which Kubernetes runs before it sends SIGTERM
(https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/), returns only when the handler exists.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

HOOK = "prestop"
_POLL = 0.02  # seconds


def main() -> None:
    """The entry point of ``kubesweep-worker``."""
    if sys.argv[1:] == [HOOK]:
        wait_for_handler()
        return
    # No job is claimed yet. An exception instead of _exit would be lost inside a finalizer, and imports run many of those.
    signal.signal(signal.SIGTERM, lambda number, _: os._exit(128 + number))
    from kubesweep_worker.pod.main import main

    main()


def wait_for_handler(process: str = "1") -> None:
    """Return once the process has a handler for SIGTERM, or is gone. It has no timeout: the pod's grace period ends it."""
    while not _has_handler(process):
        time.sleep(_POLL)


def _has_handler(process: str) -> bool:
    try:
        status = Path("/proc", process, "status").read_text()
    except OSError:
        return True
    caught = next((line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")), None)
    return caught is None or bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)
