"""What each result code of SQLite means for a sweep. Data, and pure functions.

Every primary code is decided, and every extended code whose meaning differs from its primary code.
"""

from __future__ import annotations

import sqlite3

from kubesweep.errors import KubesweepError, Outage, RowError, ScopeOutage, SweepFailure
from kubesweep.queue.model import MESSAGE
from kubesweep.text import clip
from kubesweep_worker.sources.postgres.sqlstates import LOCKED, STATEMENT_TIMEOUT, Decision, Verdict

FILE_LOCKED = "another connection holds the database's lock"


def _sweep(reason: str, why: str) -> Decision:
    return Decision(Verdict.SWEEP, reason, why)


def _outage(reason: str, why: str) -> Decision:
    return Decision(Verdict.OUTAGE, reason, why)


def _row(why: str) -> Decision:
    return Decision(Verdict.ROW, "", why)


def _defect(why: str) -> Decision:
    return Decision(Verdict.DEFECT, "WorkerDefect", why)


PRIMARY: dict[str, Decision] = {
    "SQLITE_ERROR": _sweep(
        "SqlInvalid", "correct the sql of the spec; `kubesweep check --sql` shows the exact statement"
    ),
    "SQLITE_INTERNAL": _defect("SQLite failed internally"),
    "SQLITE_PERM": _sweep("PermissionDenied", "the file may not be opened: correct its permissions"),
    "SQLITE_ABORT": _outage("Interrupted", "the statement was aborted"),
    "SQLITE_BUSY": _outage(LOCKED, FILE_LOCKED),
    "SQLITE_LOCKED": _outage(LOCKED, FILE_LOCKED),
    "SQLITE_NOMEM": _outage("OutOfMemory", "no memory for the statement"),
    "SQLITE_READONLY": _sweep(
        "ReadOnly", "the file or its folder is not writable for this process: correct the permissions"
    ),
    "SQLITE_INTERRUPT": _outage(STATEMENT_TIMEOUT, "a statement took longer than spec.source.statementTimeout"),
    "SQLITE_IOERR": _outage("InputOutput", "the disk reported an error"),
    "SQLITE_CORRUPT": _sweep("DatabaseCorrupt", "restore the file, or rescue it with the .recover command of sqlite3"),
    "SQLITE_NOTFOUND": _defect("SQLite does not support the operation"),
    "SQLITE_FULL": _outage("DiskFull", "the disk is full: free some space, then the sweep continues automatically"),
    "SQLITE_CANTOPEN": _sweep(
        "DatabaseMissing", "the file cannot be opened: correct the URL or the permissions of its folder"
    ),
    "SQLITE_PROTOCOL": _outage(LOCKED, "the database's lock could not be taken"),
    "SQLITE_EMPTY": _defect("SQLite does not use this code"),
    "SQLITE_SCHEMA": _outage("TableChanged", "the table was altered while a statement ran"),
    "SQLITE_TOOBIG": _row("a value is longer than SQLite's limit"),
    "SQLITE_CONSTRAINT": _row("a constraint, or RAISE in a trigger, refuses this row"),
    "SQLITE_MISMATCH": _row("a value of this row does not fit its column"),
    "SQLITE_MISUSE": _defect("the sweep misused SQLite"),
    "SQLITE_NOLFS": _outage("DiskFull", "the file system does not support larger files"),
    "SQLITE_AUTH": _sweep("PermissionDenied", "the statement is not authorized"),
    "SQLITE_FORMAT": _defect("SQLite does not use this code"),
    "SQLITE_RANGE": _defect("the sweep binds no parameters"),
    "SQLITE_NOTADB": _sweep("DatabaseCorrupt", "the file is not a SQLite database: correct the URL"),
    "SQLITE_NOTICE": _outage("DatabaseError", "SQLite cannot do it now"),
    "SQLITE_WARNING": _outage("DatabaseError", "SQLite cannot do it now"),
}
EXTENDED: dict[str, Decision] = {
    "SQLITE_ERROR_RETRY": _outage("TableChanged", "the table was altered while a statement ran"),
    "SQLITE_ERROR_SNAPSHOT": _outage("Conflict", "the snapshot no longer exists"),
    "SQLITE_READONLY_RECOVERY": _outage(LOCKED, "another process has to recover the journal first"),
    "SQLITE_READONLY_DBMOVED": _outage("TableChanged", "the file was moved, and is opened again"),
    "SQLITE_CORRUPT_INDEX": _sweep("DatabaseCorrupt", "an index does not fit its table: REINDEX"),
    "SQLITE_IOERR_NOMEM": _outage("OutOfMemory", "no memory for the statement"),
    "SQLITE_IOERR_CORRUPTFS": _sweep("DatabaseCorrupt", "the file system is damaged: restore the file"),
    "SQLITE_IOERR_LOCK": _outage(LOCKED, "the file's lock could not be taken"),
    "SQLITE_CONSTRAINT_FUNCTION": _row("an extension's function refuses this row"),
}
SQL_INVALID = "SqlInvalid"
_BY_NUMBER = {getattr(sqlite3, name): name for name in PRIMARY if hasattr(sqlite3, name)}
UNKNOWN = _outage("DatabaseError", "SQLite cannot do it now")


def decide(code: int, name: str) -> Decision:
    """``code`` is the extended one; the primary one is its lowest byte."""
    return EXTENDED.get(name) or PRIMARY.get(_BY_NUMBER.get(code & 0xFF, ""), UNKNOWN)


def classify_sqlite(error: sqlite3.Error) -> KubesweepError:
    code: int | None = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return SweepFailure(SQL_INVALID, clip(f"SQLite refuses: {error}", MESSAGE))
    name = error.sqlite_errorname
    decision = decide(code, name)
    match decision.verdict:
        case Verdict.ROW:
            return RowError(name, clip(str(error), MESSAGE))
        case Verdict.SWEEP:
            return SweepFailure(decision.reason, clip(f"SQLite refuses ({name}): {error}; {decision.why}", MESSAGE))
        case Verdict.DEFECT:
            return SweepFailure(decision.reason, clip(f"{decision.why} ({name}: {error}). Report it.", MESSAGE))
        case Verdict.OUTAGE:
            # A lock covers the whole file, so a smaller scope only helps against a timeout.
            kind = ScopeOutage if decision.reason == STATEMENT_TIMEOUT else Outage
            return kind(decision.reason, clip(f"{decision.why} ({name}: {error})", MESSAGE))
