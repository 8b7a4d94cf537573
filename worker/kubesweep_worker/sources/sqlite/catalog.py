"""Read a table from SQLite's schema."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from kubesweep.errors import SweepFailure
from kubesweep.text import did_you_mean
from kubesweep_worker.sources.conditions import quote_name


@dataclass(frozen=True, slots=True)
class SqliteColumn:
    name: str
    type: str
    not_null: bool
    generated: bool
    primary: int  # its position in the primary key, from 1; 0: not part of it

    @property
    def affinity(self) -> str:
        """By the rules of https://www.sqlite.org/datatype3.html#determination_of_column_affinity"""
        declared = self.type.upper()
        if "INT" in declared:
            return "INTEGER"
        if any(word in declared for word in ("CHAR", "CLOB", "TEXT")):
            return "TEXT"
        if not declared or "BLOB" in declared:
            return "BLOB"
        return "REAL" if any(word in declared for word in ("REAL", "FLOA", "DOUB")) else "NUMERIC"


@dataclass(frozen=True, slots=True)
class SqliteTable:
    name: str
    columns: dict[str, SqliteColumn]
    unique: tuple[frozenset[str], ...]
    without_rowid: bool
    triggers: tuple[str, ...] = ()
    version: int = 0  # of the schema
    replaces: bool = False  # a constraint says ON CONFLICT REPLACE, so a new row may replace an older one
    ignoring: tuple[str, ...] = ()  # the triggers that may drop a row: RAISE(IGNORE)

    @property
    def quoted(self) -> str:
        return quote_name(self.name)

    @property
    def primary_key(self) -> tuple[str, ...]:
        return tuple(c.name for c in sorted(self.columns.values(), key=lambda c: c.primary) if c.primary)

    @property
    def rowid_alias(self) -> str | None:
        """The column that is an alias of the rowid, which is never NULL, whatever the schema says."""
        key = self.primary_key
        return key[0] if len(key) == 1 and self.columns[key[0]].type.upper() == "INTEGER" else None


def read_table(connection: sqlite3.Connection, table: str, where: str = "spec.source.table") -> SqliteTable:
    """Raises SweepFailure TableMissing or NotATable."""
    [(version,)] = connection.execute("PRAGMA schema_version")
    without_rowid = _find(connection, table, where)
    columns = {
        name: SqliteColumn(name, declared, bool(not_null), hidden in (2, 3), primary)
        for name, declared, not_null, primary, hidden in connection.execute(
            'SELECT name, type, "notnull", pk, hidden FROM pragma_table_xinfo(?) WHERE hidden <> 1', (table,)
        )
    }
    unique = [
        frozenset(name for (name,) in connection.execute("SELECT name FROM pragma_index_info(?)", (index,)))
        for (index,) in connection.execute(
            'SELECT name FROM pragma_index_list(?) WHERE "unique" AND NOT partial', (table,)
        ).fetchall()
    ]
    named = "SELECT name, sql LIKE '%raise%ignore%' FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE ORDER BY 1"
    triggers = {str(name): bool(ignores) for name, ignores in connection.execute(named, (table,))}
    [(replaces,)] = connection.execute(
        "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ? COLLATE NOCASE AND sql LIKE '%on%conflict%replace%'",
        (table,),
    )
    primary_key = frozenset(name for name, column in columns.items() if column.primary)
    return SqliteTable(
        table,
        columns,
        (*unique, primary_key),
        without_rowid,
        tuple(triggers),
        int(version),
        bool(replaces),
        tuple(name for name, ignores in triggers.items() if ignores),
    )


def _find(connection: sqlite3.Connection, table: str, where: str) -> bool:
    """Whether the table was created WITHOUT ROWID. Raises SweepFailure where there is no such table."""
    listed = {
        name: (kind, bool(wr))
        for name, kind, wr in connection.execute("SELECT name, type, wr FROM pragma_table_list WHERE schema = 'main'")
    }
    if table not in listed:
        names = [name for name in listed if not name.startswith("sqlite_")]
        raise SweepFailure(
            "TableMissing",
            f'there is no table "{table}"{did_you_mean(table, names) or f". Correct {where}, or create it."}',
        )
    kind, without_rowid = listed[table]
    if kind != "table":
        raise SweepFailure(
            "NotATable",
            f'"{table}" is a {kind}: rows are written in tables only. Name the table behind it in {where}.',
        )
    return without_rowid
