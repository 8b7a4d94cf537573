"""The first lines that the controller's pod runs: it listens to SIGTERM before it imports anything that takes time.

The first process of a container gets no signal that it has not asked for (pid_namespaces(7)). One that did not hear it would
take the Lease and keep it until it is killed.
"""

from __future__ import annotations

import os
import signal


def main() -> None:
    """The entry point of ``kubesweep-controller``."""
    signal.signal(signal.SIGTERM, lambda number, _: os._exit(128 + number))
    from kubesweep_controller.main import main

    main()
