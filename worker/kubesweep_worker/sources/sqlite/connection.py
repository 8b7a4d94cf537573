"""Open a SQLite file, with the functions that the statements call."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable
from datetime import datetime
from urllib.parse import quote
from zoneinfo import ZoneInfo

from kubesweep.api.plan import Source
from kubesweep_worker.sources.sqlite.statements import IS_UTF8, MILLISECONDS
from kubesweep_worker.sources.sqlite.url import SqliteUrl

STEPS = 20_000  # virtual machine steps between two checks of the deadline: about a millisecond
BLANK = re.compile(r"\s+(?=[+-]\d\d(:?\d\d)?$|Z$)")  # before an offset, as Sequelize writes it


def naive_milliseconds(zone: str) -> Callable[[str], int | None]:
    """A function from ISO text to milliseconds since the epoch. Text without an offset is in ``zone``; a local time that occurs
    twice, or not at all, is read as the later one."""
    info = ZoneInfo(zone)

    def parse(text: str) -> int | None:
        try:
            moment = datetime.fromisoformat(BLANK.sub("", text))
        except ValueError:
            return None
        readings = [moment] if moment.tzinfo else [moment.replace(tzinfo=info, fold=fold) for fold in (0, 1)]
        return max(round(reading.timestamp() * 1000) for reading in readings)

    return parse


def is_utf8(data: bytes | None) -> bool:
    """Whether the bytes of a text are valid UTF-8."""
    try:
        (data or b"").decode()
    except UnicodeDecodeError:
        return False
    return True


def connect(found: SqliteUrl, source: Source, late: Callable[[], bool]) -> sqlite3.Connection:
    """``late``: a statement is interrupted once it returns True."""
    connection = sqlite3.connect(
        f"file:{quote(os.path.abspath(found.path))}?mode={'ro' if found.read_only else 'rw'}",
        uri=True,
        timeout=source.lock_timeout,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.set_progress_handler(late, STEPS)
    connection.execute(f"PRAGMA foreign_keys = {'ON' if found.foreign_keys else 'OFF'}")
    [(encoding,)] = connection.execute("PRAGMA encoding")
    check = is_utf8 if encoding == "UTF-8" else lambda _: True  # SQLite converts UTF-16 itself
    connection.create_function(IS_UTF8, 1, check, deterministic=True)
    if source.zone != "UTC":
        connection.create_function(MILLISECONDS, 1, naive_milliseconds(source.zone), deterministic=True)
    return connection
