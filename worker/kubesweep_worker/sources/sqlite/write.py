"""Write to SQLite, and detect rows that a write leaves unchanged without an error.

RAISE(IGNORE) in a trigger, a constraint with ON CONFLICT IGNORE, or a trigger that reverts the write can do that. Under BEGIN
IMMEDIATE no other connection writes, so rows of the scope that match after the write were refused: everything is rolled back
and written again without them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from kubesweep.errors import Outage, RowError
from kubesweep.queue.model import Key
from kubesweep_worker.sources.base import WRITE_REFUSED, Keys, Predicate, Range, Scope, Tried, Written, refusal, unkept
from kubesweep_worker.sources.sqlite.catalog import SqliteTable
from kubesweep_worker.sources.sqlite.statements import SqliteStatements


class TableAltered(Outage):
    """The schema changed since the statements were built."""

    def __init__(self) -> None:
        super().__init__("TableChanged", "the schema was altered repeatedly")


MAX_WRITES = 3  # tries of one write, each without the rows that the previous one left unchanged


@contextmanager
def transaction(c: sqlite3.Connection) -> Iterator[None]:
    """Rolls back what is not committed at the end."""
    c.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        if c.in_transaction:
            c.execute("ROLLBACK")


def write(
    c: sqlite3.Connection,
    table: SqliteTable,
    sql: SqliteStatements,
    scope: Scope,
    predicate: Predicate,
    *,
    keep: bool = True,
) -> Written:
    """Apply the plan's write; ``keep`` False rolls it back. Raises TableAltered, and RowError where the archive does not store a row."""
    refused: tuple[Key, ...] = ()
    why = refusal(sql.table, [f'trigger "{name}"' for name in table.triggers])
    for _ in range(MAX_WRITES):
        with transaction(c):
            if c.execute("PRAGMA schema_version").fetchone() != (table.version,):
                raise TableAltered
            applied, unchanged, again = _apply(c, table, sql, scope, predicate.without(refused))
            if again and (not unchanged or (applied == len(unchanged) and not table.triggers)):
                return Written(0, still_stale=again, refused=unchanged)
            if not unchanged:
                if keep:
                    c.execute("COMMIT")
                return Written(applied, refused=refused, why=why)
        refused += unchanged
    raise RowError(WRITE_REFUSED, why)


def _apply(
    c: sqlite3.Connection,
    table: SqliteTable,
    sql: SqliteStatements,
    scope: Scope,
    predicate: Predicate,
) -> tuple[int, tuple[Key, ...], int]:
    """Rows written, rows of the scope that still match, and rows that match after an update under any key."""
    deletes = sql.plan.write is not None and sql.plan.write.deletes
    counts: list[int] = []
    moved: tuple[Key, ...] = ()
    for statement in sql.write(scope, predicate):
        cursor = c.execute(statement)
        moved = tuple(cursor.fetchall())
        counts.append(cursor.rowcount)
    applied = counts[-1]
    if deletes and applied >= scope.expected and len(set(counts)) == 1 and not table.triggers:
        return applied, (), 0
    left = tuple(c.execute(sql.keys(scope, predicate)).fetchall())
    if deletes:
        if not left and counts[0] < applied:
            archive = sql.archive[0] if sql.archive is not None else ""
            raise RowError(WRITE_REFUSED, unkept(archive, [f'trigger "{name}" of {archive}' for name in sql.dropping]))
        return applied, left, 0
    again = len(left)
    if moved:
        [(again,)] = c.execute(sql.again(Keys(moved), predicate))
    return applied, left, again


def try_write(c: sqlite3.Connection, table: SqliteTable, sql: SqliteStatements, cutoff: str, most: int) -> Tried:
    keys = tuple(c.execute(sql.keys(Range(), Predicate(cutoff), most)))
    if not keys or sql.plan.write is None:
        return Tried(len(keys), 0, 0)
    written = write(c, table, sql, Keys(keys), Predicate(cutoff), keep=False)
    if written.still_stale:
        return Tried(len(keys), len(keys), written.still_stale)
    return Tried(len(keys), written.applied, 0, len(written.refused), written.why)
