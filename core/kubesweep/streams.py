"""Handles standard streams that are closed, full, or have no reader. The program continues without them.

If a standard stream is closed at the start, the next file or socket gets its file descriptor. Messages would then go there,
and libuv aborts. So these descriptors are opened before anything else.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import Any, TextIO

__all__ = ["TolerantStream", "ignore_write_errors", "is_output_closed", "lost_output", "open_missing"]


def open_missing() -> None:
    """Open the null device for stdin, stdout and stderr where they are closed."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115 - for ever


class TolerantStream:
    """A text stream that keeps its first error, and writes to the null device after that."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            self._give_up(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self.error = self.error or error
        with contextlib.suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())  # the rest of the buffer goes there too
            os.close(null)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def ignore_write_errors() -> None:
    """Make stdout and stderr ignore write errors, and escape characters that their encoding lacks."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is getattr(sys, f"__{name}__"):  # not one that an embedding program set
            stream.reconfigure(errors="backslashreplace")
            setattr(sys, name, TolerantStream(stream))


def lost_output() -> str:
    """The error for which stdout was not written completely; empty without one, or if its reader closed the pipe."""
    if not isinstance(sys.stdout, TolerantStream):
        return ""
    sys.stdout.flush()
    error = sys.stdout.error
    return "" if error is None or error.errno == errno.EPIPE else error.strerror or str(error)


def is_output_closed() -> bool:
    """Whether stdout could not be written: for programs that print until somebody stops them, such as ``... -w | head``."""
    return isinstance(sys.stdout, TolerantStream) and sys.stdout.error is not None
