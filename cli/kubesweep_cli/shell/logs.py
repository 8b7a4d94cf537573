"""Log records of the command line: everything goes to a file, warnings also to the terminal.

While the live view is open nothing else may print, so warnings go through the open screen.
"""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
from collections.abc import Callable, Iterator

from kubesweep.errors import KubesweepError
from kubesweep.logging import JsonFormatter, fields
from kubesweep_cli.shell.current_terminal import current_terminal
from kubesweep_cli.shell.state_paths import log_file

__all__ = ["UNEXPECTED", "ScreenHandler", "start_logs", "warnings_through"]

_MEGABYTE = 1 << 20
UNEXPECTED = "kubesweep.unexpected"  # logger for the file only: the terminal gets a better message
ShowMessage = Callable[[str, str], None]


class ScreenHandler(logging.Handler):
    """Passes each record to ``show_message`` as one short line, without immediate repetitions."""

    def __init__(self, show_message: ShowMessage, level: int) -> None:
        super().__init__(level)
        self.show_message = show_message
        self._last = ""

    def emit(self, record: logging.LogRecord) -> None:
        text = f"{record.getMessage()}{extras(record)}"
        if record.exc_info and self.level <= logging.INFO:
            text += "\n" + (self.formatter or logging.Formatter()).formatException(record.exc_info)
        if text != self._last:
            self._last = text
            self.show_message(
                text, "bad" if record.levelno >= logging.ERROR else "warn" if record.levelno > logging.INFO else ""
            )


def extras(record: logging.LogRecord) -> str:
    """The fields of a structured record that fit on a line: ``  schedule=a  rows=3``."""
    texts = ((name, str(value)) for name, value in fields(record).items())
    return "".join(f"  {name}={text}" for name, text in texts if "\n" not in text)


def start_logs(verbosity: int) -> None:
    """``verbosity`` as in Terminal. Call once per process. Without a writable state folder the command works, but has no log file."""
    root = logging.getLogger("kubesweep")
    root.setLevel(logging.INFO)
    root.propagate = False
    root.handlers.clear()
    level = {-1: logging.ERROR, 0: logging.WARNING}.get(verbosity, logging.INFO)
    screen = ScreenHandler(_print, level)
    screen.addFilter(lambda record: record.name != UNEXPECTED)
    root.addHandler(screen)
    with contextlib.suppress(OSError, KubesweepError):
        file = logging.handlers.RotatingFileHandler(log_file(), maxBytes=4 * _MEGABYTE, backupCount=2, delay=True)
        file.setFormatter(JsonFormatter())
        root.addHandler(file)
        logging.getLogger("asyncio").addHandler(file)
    logging.getLogger("asyncio").propagate = False


def _print(text: str, style: str) -> None:
    current_terminal().err.print(text, style=style or None, soft_wrap=True)


@contextlib.contextmanager
def warnings_through(show_message: ShowMessage) -> Iterator[None]:
    """While a screen is open, warnings appear through it."""
    handlers = [one for one in logging.getLogger("kubesweep").handlers if isinstance(one, ScreenHandler)]
    before = [each.show_message for each in handlers]
    for each in handlers:
        each.show_message = show_message
    try:
        yield
    finally:
        for each, former in zip(handlers, before, strict=True):
            each.show_message = former
