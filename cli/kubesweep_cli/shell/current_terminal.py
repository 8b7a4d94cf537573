"""The terminal of this process, opened when something is printed first: a help page then needs no terminal library."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kubesweep_cli.shell.terminal import Terminal

__all__ = ["choose_terminal", "current_terminal"]

_color, _verbosity = True, 0
_terminal: Terminal | None = None


def choose_terminal(*, color: bool, verbosity: int) -> None:
    """What the global options say. They replace a terminal that is open already."""
    global _color, _verbosity, _terminal
    _color, _verbosity, _terminal = color, verbosity, None


def current_terminal() -> Terminal:
    global _terminal  # noqa: PLW0603
    if _terminal is None:
        from kubesweep_cli.shell.terminal import open_terminal

        _terminal = open_terminal(color=_color, verbosity=_verbosity)
    return _terminal
