"""The SQLite file of a queue: opening it, transactions, and the meaning of its errors.

A queue may lose all its data but never a part of it. Each operation is one transaction that takes the write lock at its start,
so all processes see a sequence of complete operations. After an error about the file itself the connection is closed, and the
next operation opens the file again. So the queue recovers as soon as the file is usable.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

from kubesweep.errors import Damaged, Outage
from kubesweep.queue.model import UNREADABLE
from kubesweep.queue.sqlite.records import schema, statements
from kubesweep.text import clip

T = TypeVar("T")

VERSION = 12  # PRAGMA user_version; increased with every change of schema.sql
APPLICATION_ID = 0x4B535750  # "KSWP": distinguishes a queue from other databases
BUSY_SECONDS = 5.0  # default wait for another process's lock

_REASONS = {
    sqlite3.SQLITE_FULL: ("QueueFull", "the disk is full. Free some space: work continues automatically"),
    sqlite3.SQLITE_IOERR: (
        "QueueFull",
        "reading or writing the disk failed (full, over a quota or defective). Free some space, or see the kernel's log: "
        "work continues automatically",
    ),
    sqlite3.SQLITE_READONLY: ("QueueReadOnly", "the file or its folder is read-only. Give this user write permission"),
    sqlite3.SQLITE_PERM: ("QueueReadOnly", "the file or its folder is read-only. Give this user write permission"),
    sqlite3.SQLITE_BUSY: (
        "QueueBusy",
        f"another process holds its lock for more than {BUSY_SECONDS:g} seconds. Look for a stopped or debugged process",
    ),
    sqlite3.SQLITE_LOCKED: ("QueueBusy", "another connection of this process holds its lock. Try again"),
    sqlite3.SQLITE_CORRUPT: (
        "QueueCorrupt",
        "the file is damaged. Stop all workers and remove it with its -wal and -shm: the next tick starts over, "
        "only dead letters and retries are lost",
    ),
    sqlite3.SQLITE_NOTADB: (
        "QueueCorrupt",
        "the file is not an SQLite database. Name another file, or remove this one: the next tick starts over",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "QueueMissing",
        "the file cannot be opened. Check that its folder exists and is writable",
    ),
}
_UNRELATED_TO_FILE = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class SqliteStore:
    """Connections to one file. All methods must be called on the same thread."""

    def __init__(self, path: str, *, busy: float = BUSY_SECONDS) -> None:
        self.path = path
        self._busy = busy
        self._con: sqlite3.Connection | None = None
        self._watch: sqlite3.Connection | None = None
        self.inode: tuple[int, int] | None = None

    def write(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``operation`` as a whole or not at all, in a transaction that holds the write lock from its start."""
        return self._transaction("BEGIN IMMEDIATE", operation)

    def read(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``operation`` on one snapshot of the file, without waiting for a lock."""
        return self._transaction("BEGIN", operation)

    def version(self) -> int:
        """A number that changes whenever any process commits an operation."""
        try:
            self._connection()
            if self._watch is None:
                self._watch = self._connect()
            return int(self._watch.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error as error:
            raise self._outage(error) from error

    def close(self) -> None:
        for con in (self._watch, self._con):
            if con is not None:
                con.close()
        self._con = self._watch = None

    def _transaction(self, begin: str, operation: Callable[[sqlite3.Connection], T]) -> T:
        try:
            con = self._connection()
            con.execute(begin)
            try:
                answer = operation(con)
                con.execute("COMMIT")
            except BaseException:
                if con.in_transaction:
                    con.execute("ROLLBACK")
                raise
            return answer
        except UNREADABLE as error:
            raise self._damaged(error) from error
        except sqlite3.Error as error:
            raise self._damaged(error) if _is_damage(error) else self._outage(error) from error

    def _connection(self) -> sqlite3.Connection:
        if self._con is not None:
            self._check_same_file()
            return self._con
        con = self._connect()
        try:
            _prepare(con, self.path, self._busy)
            self.inode = _inode(self.path)
        except BaseException:
            con.close()
            raise
        self._con = con
        return con

    def _connect(self) -> sqlite3.Connection:
        con = sqlite3.connect(self.path, timeout=self._busy, isolation_level=None)
        con.execute("PRAGMA synchronous = NORMAL")
        return con

    def _check_same_file(self) -> None:
        # Otherwise a worker would continue alone, for ever, in a file that has been deleted.
        if _inode(self.path) != self.inode:
            self.close()
            raise self._gone()

    def _gone(self) -> Outage:
        return Outage(
            "QueueGone",
            f"queue {self.path}: the file was removed or replaced while in use. The next operation creates a new one. "
            "The next tick starts over, only dead letters and retries are lost",
        )

    def _damaged(self, error: Exception) -> Damaged:
        said = clip(str(error).partition("\n")[0], 200)
        return Damaged(
            "QueueDamaged",
            f"queue {self.path}: rows of this schedule have data that Kubesweep did not write: another program changed them. Other "
            "schedules are not affected. `kubesweep run` deletes these rows, and the schedule starts over: only its dead letters and "
            f"retries are lost ({type(error).__name__}: {said})",
        )

    def _outage(self, error: sqlite3.Error) -> Outage:
        # The file was removed during a statement, for which SQLite has many error codes.
        if self._con is not None and _inode(self.path) != self.inode:
            self.close()
            return self._gone()
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code not in _UNRELATED_TO_FILE:
            self.close()
        reason, advice = _REASONS.get(code, ("QueueError", "SQLite refused the statement. See the error above"))
        if code == sqlite3.SQLITE_CANTOPEN and os.path.exists(self.path) and not _writable(self.path):
            reason, advice = _REASONS[sqlite3.SQLITE_READONLY]
        return Outage(reason, f"queue {self.path}: {advice} ({error})")


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_damage(error: sqlite3.Error) -> bool:
    """True for a value that cannot be read or counted: it is no UTF-8 text, or too large. The file itself is intact."""
    unreadable = isinstance(error, sqlite3.OperationalError) and getattr(error, "sqlite_errorcode", None) is None
    return unreadable or "integer overflow" in str(error)


def _writable(path: str) -> bool:
    return os.access(path, os.W_OK) and os.access(os.path.dirname(os.path.abspath(path)), os.W_OK)


def _prepare(con: sqlite3.Connection, path: str, busy: float) -> None:
    """Create or upgrade the schema. Refuse a file that is no queue, or one of a later version."""
    version = con.execute("PRAGMA user_version").fetchone()[0]
    if version != VERSION:
        _refuse_foreign(con, path)
    _use_wal(con, busy)
    if version == VERSION:
        return
    con.execute("BEGIN IMMEDIATE")
    try:
        _refuse_foreign(con, path)
        version = con.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            _create(con)
        for older in range(version or VERSION, VERSION):
            for statement in statements("upgrade")[str(older + 1)].split(";\n"):
                con.execute(statement)
        con.execute(f"PRAGMA user_version = {VERSION}")
        con.execute("COMMIT")
    except BaseException:
        if con.in_transaction:
            con.execute("ROLLBACK")
        raise


def _create(con: sqlite3.Connection) -> None:
    for statement in schema():
        con.execute(statement)
    # Ids are never reused, not even after the file was replaced, so a claim on a lost file cannot match a job of the new one.
    con.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('job', ?)", (time.time_ns() // 1000,))
    con.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _refuse_foreign(con: sqlite3.Connection, path: str) -> None:
    # One statement reads one snapshot: another process may create the queue in this file at the same time.
    version, owner, tables = con.execute(
        "SELECT user_version, application_id, (SELECT count(*) FROM sqlite_master) "
        "FROM pragma_user_version, pragma_application_id"
    ).fetchone()
    if tables and owner != APPLICATION_ID:
        raise Outage(
            "QueueForeign", f"queue {path}: this SQLite database belongs to another program. Name another file"
        )
    if version > VERSION:
        raise Outage(
            "QueueNewer",
            f"queue {path}: its schema has version {version}, and this program supports versions up to {VERSION}. "
            "Upgrade kubesweep, or name another file",
        )


def _use_wal(con: sqlite3.Connection, busy: float) -> None:
    # SQLite does not wait for a lock when it switches to WAL: it returns busy at once.
    until = time.monotonic() + busy
    while True:
        try:
            con.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
