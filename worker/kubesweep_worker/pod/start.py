"""The first lines that a worker's pod runs, and the hook that waits for them.

The first process of a container gets no signal that it has not asked for (pid_namespaces(7)): a SIGTERM that comes before its
handler is there is lost, and a worker that never heard it goes on claiming until it is killed amid its rows. So the handler
comes before every import that takes time, and the pod's preStop hook, which Kubernetes runs before it sends SIGTERM
(https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/), returns only when the handler is there.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

HOOK = "prestop"
_LOOK = 0.02  # seconds between two looks


def main() -> None:
    """The entry point of ``kubesweep-worker``."""
    if sys.argv[1:] == [HOOK]:
        wait_for_handler()
        return
    # Nothing is in hand yet. An exception instead would be swallowed where it met a finalizer, of which imports run many.
    signal.signal(signal.SIGTERM, lambda number, _: os._exit(128 + number))
    from kubesweep_worker.pod.main import main

    main()


def wait_for_handler(process: str = "1") -> None:
    """Return once the process catches SIGTERM, or is not there. No end of its own: the pod's grace period ends it."""
    while not _listens(process):
        time.sleep(_LOOK)


def _listens(process: str) -> bool:
    try:
        status = Path("/proc", process, "status").read_text()
    except OSError:
        return True
    caught = next((line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")), None)
    return caught is None or bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)
