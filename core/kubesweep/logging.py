"""Log formats: one JSON object a line for log collectors, and one short line for people.

It uses only the standard library's logging. A program that embeds Kubesweep keeps its own configuration if it does not call
``configure``. Pass fields as ``extra``, and URLs through ``safe_url``, so that no password is logged.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import sys
from typing import IO, Any
from urllib.parse import urlsplit

from kubesweep.text import escaped, printable
from kubesweep.urls import has_unescaped_login, shown_url

__all__ = ["JsonFormatter", "LineFormatter", "configure", "fields", "keep_loggers", "safe_url"]

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_COLOURS = {"WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[1;31m"}
_RESET = "\x1b[0m"


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """The fields that the caller passed as ``extra``."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


class JsonFormatter(logging.Formatter):
    """``{"time": ..., "level": ..., "logger": ..., "message": ..., <fields>}``; a traceback under ``exception``."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name, value in fields(record).items():
            line.setdefault(name, value)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return escaped(json.dumps(line, default=str, ensure_ascii=False))


class LineFormatter(logging.Formatter):
    """``12:00:01 warning the queue is unavailable  reason=QueueBusy``. Fields with several lines are printed below."""

    def __init__(self, *, colour: bool = False) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        at = dt.datetime.fromtimestamp(record.created, dt.UTC).astimezone().strftime("%H:%M:%S")
        level = record.levelname.lower()
        if self._colour and record.levelname in _COLOURS:
            level = f"{_COLOURS[record.levelname]}{level}{_RESET}"
        line = f"{at} {level} {printable(record.getMessage())}"
        below = ""
        for name, value in fields(record).items():
            text = printable(str(value))
            if "\n" in text:
                below += f"\n  {name}:\n" + "\n".join("    " + part for part in text.rstrip().split("\n"))
            else:
                line += f"  {name}={text}"
        if record.exc_info:
            below += "\n" + printable(self.formatException(record.exc_info))
        return line + below


def in_pod() -> bool:
    return "KUBERNETES_SERVICE_HOST" in os.environ


def configure(
    level: str = "info", *, stream: IO[str] | None = None, as_json: bool | None = None, all_loggers: bool = False
) -> None:
    """Send the logs of ``kubesweep`` to ``stream``, by default stderr; with ``all_loggers`` those of other loggers too.

    ``as_json`` None: JSON in a pod or without a terminal.
    """
    out = stream or sys.stderr
    terminal = out.isatty()
    if as_json is None:
        as_json = in_pod() or not terminal
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        JsonFormatter() if as_json else LineFormatter(colour=terminal and "NO_COLOR" not in os.environ)
    )
    logger = logging.getLogger("kubesweep")
    logger.handlers = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
    if all_loggers:
        logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class _AlwaysEnabled(logging.Logger):
    """A logger that stays enabled. ``logging.config`` disables every logger that it does not name."""

    @property
    def disabled(self) -> bool:
        return False

    @disabled.setter
    def disabled(self, value: bool) -> None:
        return None


def keep_loggers() -> None:
    """Keep our loggers enabled if an application configures logging. Call it before any code of the application is imported."""
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if name.partition(".")[0] == "kubesweep" and type(logger) is logging.Logger:
            logger.__class__ = _AlwaysEnabled


def safe_url(url: str) -> str:
    """The URL without password, query and fragment, each of which may be secret."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        user = parts.username
    except ValueError:
        return "(not a URL)"
    named = "@" in parts.path and ":" in parts.path  # both: the path may have a part of the password
    if named or has_unescaped_login(url) or "@" in parts.query + parts.fragment:
        return shown_url(url)
    if "@" in parts.netloc:
        host = f"{user}:***@{host}" if parts.password is not None else f"{user}@{host}"
    return f"{parts.scheme}://{host}{parts.path}"  # urlunsplit drops a slash of sqlite:////path
