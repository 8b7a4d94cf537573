"""Runs the coroutine of a command, and exits with its code."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from kubesweep_cli.shell.current_terminal import current_terminal

if TYPE_CHECKING:
    from kubesweep_cli.shell.exit_codes import Exit
    from kubesweep_cli.shell.terminal import Terminal

__all__ = ["run_command"]


def run_command(work: Callable[[Terminal], Coroutine[Any, Any, Exit]]) -> NoReturn:
    """Run a command and exit with its code."""
    from kubesweep_worker.runtime.event_loop import run

    raise typer.Exit(int(run(work(current_terminal()))))
