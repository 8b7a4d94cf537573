"""SQLite's result codes -> what to do. Pure."""

from __future__ import annotations

import sqlite3

from kubesweep.errors import KubesweepError, Outage, RowError, SweepFailure
from kubesweep_worker.sources.classify import bounded

OUTAGE = {
    sqlite3.SQLITE_BUSY: ("Locked", "somebody else holds the database's lock"),
    sqlite3.SQLITE_LOCKED: ("Locked", "somebody else holds the database's lock"),
    sqlite3.SQLITE_FULL: ("DiskFull", "the disk is full: make room, the sweep goes on by itself"),
    sqlite3.SQLITE_IOERR: ("InputOutput", "the disk answers with an error"),
    sqlite3.SQLITE_INTERRUPT: ("StatementTimeout", "a statement took longer than spec.source.statementTimeout"),
    sqlite3.SQLITE_SCHEMA: ("TableChanged", "the table was altered while a statement ran"),
    sqlite3.SQLITE_NOMEM: ("OutOfMemory", "no memory for the statement"),
    sqlite3.SQLITE_PROTOCOL: ("Locked", "the database's lock could not be taken"),
}
SWEEP = {
    sqlite3.SQLITE_READONLY: (
        "ReadOnly",
        "the file or its folder is not writable for this process: correct the rights",
    ),
    sqlite3.SQLITE_CORRUPT: ("DatabaseCorrupt", "restore the file, or rescue it with the .recover command of sqlite3"),
    sqlite3.SQLITE_NOTADB: ("DatabaseCorrupt", "the file is no SQLite database: correct the URL"),
    sqlite3.SQLITE_CANTOPEN: (
        "DatabaseMissing",
        "the file cannot be opened: correct the URL or the rights of its folder",
    ),
    sqlite3.SQLITE_PERM: ("PermissionDenied", "the file may not be opened: correct its rights"),
    sqlite3.SQLITE_AUTH: ("PermissionDenied", "the statement is not authorized"),
    sqlite3.SQLITE_ERROR: (
        "SqlInvalid",
        "correct the sql of the spec; `kubesweep check -f FILE` shows the exact statement",
    ),
}
ROW = frozenset({sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_RANGE})


def classify_sqlite(error: sqlite3.Error) -> KubesweepError:
    code: int | None = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return SweepFailure("SqlInvalid", bounded(f"SQLite refuses: {error}"))
    primary = code & 0xFF
    if primary in ROW:
        return RowError(error.sqlite_errorname, bounded(str(error)))
    if primary in SWEEP:
        reason, hint = SWEEP[primary]
        return SweepFailure(reason, bounded(f"SQLite refuses ({error.sqlite_errorname}): {error}; {hint}"))
    reason, text = OUTAGE.get(primary, ("DatabaseError", "SQLite cannot do it now"))
    return Outage(reason, bounded(f"{text} ({error.sqlite_errorname}: {error})"))
