"""What to install where a package is missing, also that of the terminal. Imports nothing but Python's own modules."""

from __future__ import annotations

import sys

__all__ = ["exit_if_missing"]

EXTRAS = {"kubernetes": "kubectl", "kopf": "controller"}  # packages that only an extra installs


def exit_if_missing(error: ModuleNotFoundError, extra: str = "") -> None:
    """End with a message for people. Returns where the missing module is one of Kubesweep's own, which is a bug.

    ``extra``: of the program, whose packages it installs too.
    """
    package = (error.name or "").partition(".")[0]
    if not package or package.startswith(("kubesweep", "kubectl_sweep")):
        return
    extra = EXTRAS.get(package, extra)
    install = f'pip install "kubesweep[{extra}]"' if extra else "pip install --force-reinstall kubesweep"
    sys.stderr.write(
        f"error: the Python package {package} is not installed, which this command needs.\nInstall it:  {install}\n"
    )
    if not extra:
        sys.stderr.write("The images of the worker and of the controller have only what their own programs need.\n")
    sys.exit(1)
