"""Where log records go at a terminal: everything into a file, warnings to the person.

While the live view moves nothing may print beside it, so warnings go through whatever screen is open.
"""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
from collections.abc import Callable, Iterator

from kubesweep.errors import KubesweepError
from kubesweep.logging import JsonFormatter, fields
from kubesweep_cli.shell.state_paths import log_file
from kubesweep_cli.shell.terminal import Terminal

__all__ = ["UNFORESEEN", "ScreenHandler", "redirected", "start_logs"]

_MEGABYTE = 1 << 20
UNFORESEEN = "kubesweep.unforeseen"  # for the file: the person is told in a better way
Remark = Callable[[str, str], None]


class ScreenHandler(logging.Handler):
    """Hands each record to ``remark`` as one short line; a line that repeats itself is said once."""

    def __init__(self, remark: Remark, level: int) -> None:
        super().__init__(level)
        self.remark = remark
        self._last = ""

    def emit(self, record: logging.LogRecord) -> None:
        text = f"{record.getMessage()}{extras(record)}"
        if record.exc_info and self.level <= logging.INFO:
            text += "\n" + (self.formatter or logging.Formatter()).formatException(record.exc_info)
        if text != self._last:
            self._last = text
            self.remark(
                text, "bad" if record.levelno >= logging.ERROR else "warn" if record.levelno > logging.INFO else ""
            )


def extras(record: logging.LogRecord) -> str:
    """What a structured record carries besides its message, as far as it fits a line: ``  schedule=a  rows=3``."""
    texts = ((name, str(value)) for name, value in fields(record).items())
    return "".join(f"  {name}={text}" for name, text in texts if "\n" not in text)


def start_logs(terminal: Terminal) -> None:
    """Once per process. A state folder that cannot be written costs the log, not the command."""
    root = logging.getLogger("kubesweep")
    root.setLevel(logging.INFO)
    root.propagate = False
    root.handlers.clear()
    level = {-1: logging.ERROR, 0: logging.WARNING}.get(terminal.verbosity, logging.INFO)
    screen = ScreenHandler(lambda text, style: terminal.err.print(text, style=style or None, soft_wrap=True), level)
    screen.addFilter(lambda record: record.name != UNFORESEEN)
    root.addHandler(screen)
    with contextlib.suppress(OSError, KubesweepError):
        file = logging.handlers.RotatingFileHandler(log_file(), maxBytes=4 * _MEGABYTE, backupCount=2, delay=True)
        file.setFormatter(JsonFormatter())
        root.addHandler(file)
        logging.getLogger("asyncio").addHandler(file)
    logging.getLogger("asyncio").propagate = False


@contextlib.contextmanager
def redirected(remark: Remark) -> Iterator[None]:
    """While a screen is open, records for people appear through it."""
    screens = [one for one in logging.getLogger("kubesweep").handlers if isinstance(one, ScreenHandler)]
    before = [screen.remark for screen in screens]
    for screen in screens:
        screen.remark = remark
    try:
        yield
    finally:
        for screen, usual in zip(screens, before, strict=True):
            screen.remark = usual
