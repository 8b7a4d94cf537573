"""The entry points of ``kubectl-sweep``, which kubectl runs for ``kubectl sweep``, and of its completion.

It imports nothing that an installation without the extra ``kubectl`` lacks, so that it can say what to install.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import NoReturn

from kubesweep_cli.shell.missing_package import exit_if_missing

__all__ = ["complete", "main"]

# Objects between two collections of cycles: these took a third of the processor time for 1,000 schedules, which have no cycles.
FEW_CYCLES = 500_000


def main(argv: list[str] | None = None) -> NoReturn:
    """Run the command and exit with its code: docs/kubectl.md has them."""
    gc.set_threshold(FEW_CYCLES)
    try:
        from kubectl_sweep.app import run
    except ModuleNotFoundError as error:
        exit_if_missing(error, "kubectl")
        raise
    run(sys.argv[1:] if argv is None else argv)


def complete() -> NoReturn:
    """The entry point of ``kubectl_complete-sweep``, which kubectl runs where it completes ``kubectl sweep``."""
    os.environ["_KUBECTL_SWEEP_COMPLETE"] = "kubectl"
    main()
