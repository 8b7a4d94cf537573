"""SQLite files with a table, for tests of the source."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from kubesweep.api.plan import Assignment, Match, Plan, Source, Write
from kubesweep_worker.sources import open_source
from kubesweep_worker.sources.base import InspectableSource

STALE = (Match("in", "status", ("pending",)), Match("before", "expires_at"))


CLOSE = Write(update=(Assignment("status", value="expired"),))


CUTOFF = "2026-03-01 00:00:00.000"


def opened(path: Path, **changes: Any) -> InspectableSource:
    base = {"namespace": "d", "name": "n", "uid": "u", "source": Source(table="things"), "match": STALE, "write": CLOSE}
    return open_source(Plan(**{**base, **changes}), lambda: f"sqlite:///{path}")


def filled(path: Path, script: str) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    return path


TEN = """
CREATE TABLE things (id INTEGER PRIMARY KEY, status TEXT, expires_at TEXT);
WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 10) INSERT INTO things SELECT n, 'pending', '2026-01-01' FROM n;
"""
