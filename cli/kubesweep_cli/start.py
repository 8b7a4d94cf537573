"""The first lines of ``kubesweep``: a package that is missing becomes a message, whichever import needs it first."""

from __future__ import annotations

from typing import NoReturn

from kubesweep_cli.shell.missing_package import exit_if_missing

__all__ = ["main"]


def main() -> NoReturn:
    """The entry point of ``kubesweep``."""
    try:
        from kubesweep_cli.main import main as run
    except ModuleNotFoundError as error:
        exit_if_missing(error)
        raise
    run()
