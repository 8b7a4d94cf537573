"""Standard streams that are closed, full, or read by nobody. The work goes on without them.

A program that is started with one of them closed gets its number for the next file or socket that it opens, where every
message would go, and where libuv aborts. So each number is taken before anything else is opened.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import Any, TextIO

__all__ = ["Lenient", "be_lenient", "lost_output", "open_missing"]


def open_missing() -> None:
    """Give stdin, stdout and stderr to the null device where they are closed."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115 - for ever


class Lenient:
    """A text stream whose first error is kept; from then on what is written goes to the null device."""

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
            os.dup2(null, self._stream.fileno())  # what is left in a buffer goes there too
            os.close(null)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def be_lenient() -> None:
    """For stdout and stderr: no error of writing ends the work, and no character that the encoding lacks."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is getattr(sys, f"__{name}__"):  # not one that an embedding program put there
            stream.reconfigure(errors="backslashreplace")
            setattr(sys, name, Lenient(stream))


def lost_output() -> str:
    """Why not all of stdout was written, nothing where it was, or where its reader has left."""
    if not isinstance(sys.stdout, Lenient):
        return ""
    sys.stdout.flush()
    error = sys.stdout.error
    return "" if error is None or error.errno == errno.EPIPE else error.strerror or str(error)
