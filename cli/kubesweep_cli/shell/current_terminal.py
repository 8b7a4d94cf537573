"""The terminal of this process. The global options replace it before any command runs."""

from __future__ import annotations

from kubesweep_cli.shell.terminal import Terminal, open_terminal

__all__ = ["current_terminal", "set_terminal"]

_terminal: Terminal = open_terminal()


def current_terminal() -> Terminal:
    return _terminal


def set_terminal(terminal: Terminal) -> None:
    global _terminal  # noqa: PLW0603
    _terminal = terminal
