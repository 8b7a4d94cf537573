"""What SQLite's schema says of a table, and whether the plan fits it."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass

from kubesweep.api.plan import Match, Plan
from kubesweep.errors import SweepFailure
from kubesweep_worker.predicate import quote_name, stays_stale, used_columns
from kubesweep_worker.sources.archive_types import Fate, sqlite_fate
from kubesweep_worker.sources.base import stuck
from kubesweep_worker.sources.sqlite_sql import SqliteDialect, SqliteStatements
from kubesweep_worker.words import near

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True, slots=True)
class SqliteColumn:
    name: str
    type: str
    not_null: bool
    generated: bool
    primary: int  # its place in the primary key, from 1; 0: none

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
    version: int = 0  # of the file's schema
    replaces: bool = False  # a new row may take the place of an older one
    ignoring: tuple[str, ...] = ()  # those of them that may drop a row: RAISE(IGNORE)

    @property
    def primary_key(self) -> tuple[str, ...]:
        return tuple(c.name for c in sorted(self.columns.values(), key=lambda c: c.primary) if c.primary)

    @property
    def rowid_alias(self) -> str | None:
        """The column that is the rowid: never NULL, whatever the schema says."""
        key = self.primary_key
        return key[0] if len(key) == 1 and self.columns[key[0]].type.upper() == "INTEGER" else None


def read_table(connection: sqlite3.Connection, table: str) -> SqliteTable:
    """Raises SweepFailure TableMissing or NotATable."""
    [(version,)] = connection.execute("PRAGMA schema_version")
    listed = {
        name: (kind, bool(wr))
        for name, kind, wr in connection.execute("SELECT name, type, wr FROM pragma_table_list WHERE schema = 'main'")
    }
    if table not in listed:
        names = [name for name in listed if not name.startswith("sqlite_")]
        raise SweepFailure(
            "TableMissing",
            f'there is no table "{table}"{near(table, names) or ". Correct spec.source.table, or create it."}',
        )
    kind, without_rowid = listed[table]
    if kind != "table":
        raise SweepFailure(
            "NotATable",
            f'"{table}" is a {kind}: rows are written in tables only. Name the table behind it in spec.source.table.',
        )
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
    ignoring = tuple(name for name, ignores in triggers.items() if ignores)
    [(replaces,)] = connection.execute(
        "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ? COLLATE NOCASE AND sql LIKE '%on%conflict%replace%'",
        (table,),
    )
    found = SqliteTable(table, columns, tuple(unique), without_rowid)
    return SqliteTable(
        table,
        columns,
        (*unique, frozenset(found.primary_key)),
        without_rowid,
        tuple(triggers),
        int(version),
        bool(replaces),
        ignoring,
    )


def resolve_key(plan: Plan, table: SqliteTable) -> tuple[str, ...]:
    key = plan.source.key or table.primary_key
    if not key:
        raise SweepFailure(
            "KeyMissing", f'"{table.name}" has no primary key: name 1 to 4 unique NOT NULL columns in spec.source.key'
        )
    if len(key) > 4:
        raise SweepFailure(
            "KeyTooWide",
            f'the primary key of "{table.name}" has {len(key)} columns, at most 4 are supported: name a shorter unique key in spec.source.key',
        )
    for name in key:
        found = require(table, name, "spec.source.key")
        if found.affinity not in ("INTEGER", "TEXT"):
            raise SweepFailure(
                "KeyTypeUnsupported",
                f'key column "{name}" is declared {found.type or "without a type"}; supported are types of integers and text. Choose another unique key in spec.source.key.',
            )
        if not found.not_null and not found.primary:
            raise SweepFailure(
                "KeyNullable",
                f'key column "{name}" of "{table.name}" may be NULL: declare it NOT NULL, or choose another key',
            )
    if frozenset(key) not in table.unique:
        names = ", ".join(quote_name(name) for name in key)
        raise SweepFailure(
            "KeyNotUnique",
            f'no unique index of "{table.name}" has exactly the key\'s columns ({names}), so two rows may share a key: CREATE UNIQUE INDEX, or choose another key',
        )
    return key


def require(table: SqliteTable, name: str, where: str) -> SqliteColumn:
    try:
        return table.columns[name]
    except KeyError:
        hint = near(name, table.columns) or ". It has: " + ", ".join(list(table.columns)[:20])
        raise SweepFailure("ColumnMissing", f'{where}: "{table.name}" has no column "{name}"{hint}') from None


def check_value(match: Match, one: SqliteColumn) -> None:
    """Raises SweepFailure where SQLite would compare values of another kind than the column's, and find every row."""
    declared = one.type.upper()
    if match.op not in ("notIn", "lessThan", "greaterThan") or "BOOL" in declared:
        return
    if "INT" not in declared and ("DATE" in declared or "TIME" in declared):
        raise SweepFailure(
            "ColumnType",
            f'spec.match: "{match.op}" would compare the times of "{one.name}" as texts, and the same time has many: use before or after',
        )
    if one.affinity in ("INTEGER", "REAL", "NUMERIC"):
        for value in match.values:
            if not NUMBER.fullmatch(value.strip()):
                raise SweepFailure(
                    "ValueInvalid",
                    f'spec.match: "{value}" is no number, and column "{one.name}" is {one.type}: correct the value',
                )


def lost_columns(table: SqliteTable, archive: SqliteTable | None) -> frozenset[str]:
    """Columns of the table that its archive lacks. SQLite's names ignore case."""
    there = {name.lower() for name in archive.columns} if archive is not None else set[str]()
    return frozenset(name for name in table.columns if archive is not None and name.lower() not in there)


def check_new_columns(table: SqliteTable, archive: SqliteTable | None, known: frozenset[str]) -> None:
    """``known``: the columns that the archive lacked at the first look, of which people were told. Raises SweepFailure."""
    new = [name for name in table.columns if name in lost_columns(table, archive) - known]
    if archive is not None and new:
        added = "; ".join(
            f"ALTER TABLE {quote_name(archive.name)} ADD COLUMN {quote_name(name)} {table.columns[name].type}".rstrip()
            for name in new
        )
        raise SweepFailure(
            "ArchiveMismatch",
            f"{quote_name(table.name)} got column {', '.join(map(quote_name, new))} while this worker ran, and its archive has none, so what the "
            f"column holds would be lost: {added}",
        )


def check_update(plan: Plan, table: SqliteTable) -> None:
    """Raises SweepFailure where the update's own values are what match asks for."""
    if plan.dry_run or not stays_stale(plan) or table.triggers:
        return
    if not any(table.columns[name].generated for name in used_columns(plan.match)):
        raise stuck(quote_name(table.name))


def changed_types(table: SqliteTable, archive: SqliteTable) -> list[str]:
    """Columns whose values lose a part in the archive, in words."""
    return [
        f'"{name}" is {one.type or "without a type"} and {archive.columns[name].type} there'
        for name, one in table.columns.items()
        if name in archive.columns and sqlite_fate(one.affinity, archive.columns[name].affinity) is Fate.LOSSY
    ]


def check_types(plan: Plan, table: SqliteTable, archive: SqliteTable | None) -> None:
    """Raises SweepFailure where the archive's types lose a part of a value without an error, and nobody has accepted that."""
    kept = plan.write.archive if plan.write is not None else None
    if archive is None or kept is None or kept.lossy:
        return
    lost = changed_types(table, archive)
    if lost:
        raise SweepFailure(
            "ArchiveLossy",
            f"spec.write.delete.archiveTo: {quote_name(archive.name)} would lose a part of what it is given: column {', '.join(lost)}: give "
            "it the table's types, or set spec.write.delete.archiveTo.lossy: true",
        )


def build_statements(
    plan: Plan, table: SqliteTable, archive: SqliteTable | None, *, garbled_key: bool = False
) -> SqliteStatements:
    """Judge the plan against the schema. Raises SweepFailure with what to change."""
    key = resolve_key(plan, table)
    for match in plan.match:
        if match.column:
            check_value(match, require(table, match.column, "spec.match"))
    for one in plan.write.update if plan.write else ():
        if require(table, one.column, "spec.write.update").generated:
            raise SweepFailure(
                "GeneratedColumn",
                f'spec.write.update: "{one.column}" is generated by the database and cannot be set. Set the columns that it is made of.',
            )
    effect: tuple[str, ...] = ()
    if plan.effect is not None:
        effect = plan.effect.columns or tuple(dict.fromkeys((*key, *used_columns(plan.match))))
    for name in effect:
        require(table, name, "spec.effect.columns")
    for name in plan.effect.key if plan.effect is not None else ():
        require(table, name, "spec.effect.key")
    kept = None
    if archive is not None:
        there, name = {n.lower(): one for n, one in archive.columns.items()}, quote_name(archive.name)
        kept = (name, tuple(n for n in table.columns if n.lower() in there and not there[n.lower()].generated))
        if archive.replaces:
            raise SweepFailure(
                "ArchiveMismatch",
                f"spec.write.delete.archiveTo: a constraint of {name} says ON CONFLICT REPLACE, so a row would take the place of an older one there: drop the clause",
            )
        if archive.name.lower() == table.name.lower():
            raise SweepFailure(
                "ArchiveMismatch", f"spec.write.delete.archiveTo: {name} is the table itself: name another one"
            )
        if not kept[1]:
            raise SweepFailure(
                "ArchiveMismatch",
                f"spec.write.delete.archiveTo: {name} has no column in common with {quote_name(table.name)}: CREATE TABLE {name} AS SELECT * FROM {quote_name(table.name)} WHERE 0",
            )
    sure = {c.name for c in table.columns.values() if c.not_null} | {table.rowid_alias}
    nullable = () if table.without_rowid else tuple(name for name in key if name not in sure)
    return SqliteStatements(
        plan,
        quote_name(table.name),
        key,
        SqliteDialect(plan.source.zone, {one.name: one.type for one in table.columns.values()}),
        effect,
        kept,
        nullable,
        tuple(name for name in key if name != table.rowid_alias),
        garbled_key,
        archive.ignoring if archive is not None else (),
    )
