"""The first lines that the controller's pod runs: handle SIGTERM before importing anything slow.

The first process of a container receives no signal that it has no handler for (pid_namespaces(7)). A controller that ignored
SIGTERM during its imports would then take the Lease and keep it until it is killed.
"""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """The entry point of ``kubesweep-controller``."""
    signal.signal(signal.SIGTERM, lambda number, _: os._exit(128 + number))
    try:
        from kubesweep_controller.main import main
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package.startswith("kubesweep"):
            raise
        sys.exit(
            f'error: the Python package {package} is not installed. Install it:  pip install "kubesweep[controller]"'
        )
    main()
