"""Whether a plan fits SQLite's schema. Pure; each ``check_`` raises SweepFailure with the fix."""

from __future__ import annotations

import re
from collections.abc import Sequence

from kubesweep.api.plan import Match, Plan
from kubesweep.errors import SweepFailure
from kubesweep.text import did_you_mean
from kubesweep_worker.sources import fit as shared_fit
from kubesweep_worker.sources.archive_types import Conversion, sqlite_conversion
from kubesweep_worker.sources.conditions import quote_name
from kubesweep_worker.sources.fit import effect_columns, unique_hint
from kubesweep_worker.sources.sqlite.catalog import SqliteColumn, SqliteTable
from kubesweep_worker.sources.sqlite.statements import BOOLEANS, SqliteDialect, SqliteStatements

KEYS = ("INTEGER", "TEXT", "NUMERIC")  # affinities; the last is that of a column declared UUID
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def usable_keys(table: SqliteTable) -> list[list[str]]:
    """The sets of columns that identify a row."""
    found = []
    for names in table.unique:
        columns = [column for name, column in table.columns.items() if name in names]
        if columns and all(one.not_null and one.affinity in KEYS for one in columns) and len(columns) <= 4:
            found.append([one.name for one in columns])
    return found


def resolve_key(plan: Plan, table: SqliteTable) -> tuple[str, ...]:
    key = plan.source.key or table.primary_key
    if not key:
        raise SweepFailure("KeyMissing", f'"{table.name}" has no primary key: {unique_hint(usable_keys(table))}')
    if len(key) > 4:
        raise SweepFailure(
            "KeyTooWide",
            f'the primary key of "{table.name}" has {len(key)} columns, at most 4 are supported: name a shorter unique key in spec.source.key',
        )
    for name in key:
        found = require(table, name, "spec.source.key")
        if found.affinity not in KEYS:
            raise SweepFailure(
                "KeyTypeUnsupported",
                f'key column "{name}" is declared {found.type or "without a type"}; supported are types of integers and text, UUID and the like. Choose another unique key in spec.source.key.',
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
        hint = did_you_mean(name, table.columns) or ". It has: " + ", ".join(list(table.columns)[:20])
        raise SweepFailure("ColumnMissing", f'{where}: "{table.name}" has no column "{name}"{hint}') from None


def check_value(match: Match, one: SqliteColumn) -> None:
    """Raises SweepFailure where SQLite would compare values of different types, and so find every row or none."""
    declared = one.type.upper()
    if (
        match.op in ("notIn", "lessThan", "greaterThan")
        and "INT" not in declared
        and ("DATE" in declared or "TIME" in declared)
    ):
        raise SweepFailure(
            "ColumnType",
            f'spec.match: "{match.op}" would compare the times of "{one.name}" as texts, and one time has several texts: use before or after',
        )
    if match.op in ("in", "notIn", "lessThan", "greaterThan"):
        for value in match.values:
            _check_number(value, one, "spec.match")


def _check_number(value: str, one: SqliteColumn, where: str) -> None:
    declared = one.type.upper()
    boolean = "BOOL" in declared or ("TINYINT" in declared and value.lower() in BOOLEANS)
    numeric = one.affinity in ("INTEGER", "REAL") or any(word in declared for word in ("DECIMAL", "NUMERIC", "NUMBER"))
    if boolean or not numeric or NUMBER.fullmatch(value.strip()):
        return
    hint = "write 1 or 0" if value.lower() in ("true", "false") else "correct the value"
    raise SweepFailure(
        "ValueInvalid", f'{where}: "{value}" is not a number, and column "{one.name}" is {one.type}: {hint}'
    )


def check_new_columns(
    now: tuple[SqliteTable, SqliteTable | None], before: tuple[SqliteTable, SqliteTable | None]
) -> None:
    """Names in SQLite are case-insensitive."""

    def fix(archive: str, added: Sequence[str]) -> str:
        return "; ".join(f"ALTER TABLE {archive} {each}" for each in added)

    shared_fit.check_new_columns(now, before, fix, str.lower)


def changed_types(table: SqliteTable, archive: SqliteTable) -> list[str]:
    """Descriptions of the columns whose values lose a part in the archive."""
    return [
        f'"{name}" is {one.type or "without a type"} and {archive.columns[name].type} there'
        for name, one in table.columns.items()
        if name in archive.columns
        and sqlite_conversion(one.affinity, archive.columns[name].affinity) is Conversion.LOSSY
    ]


def check_types(plan: Plan, table: SqliteTable, archive: SqliteTable | None) -> None:
    if archive is not None:
        shared_fit.check_types(plan, archive, lambda: changed_types(table, archive), "give it the table's types")


def _archive_columns(table: SqliteTable, archive: SqliteTable) -> tuple[str, tuple[str, ...]]:
    """The archive's name and the columns that both tables have. Raises SweepFailure where rows cannot be archived there."""
    there, name = {n.lower(): one for n, one in archive.columns.items()}, archive.quoted
    common = tuple(n for n in table.columns if n.lower() in there and not there[n.lower()].generated)
    if archive.replaces:
        raise SweepFailure(
            "ArchiveMismatch",
            f"spec.write.delete.archiveTo: a constraint of {name} says ON CONFLICT REPLACE, so a row could replace an older one there: drop the clause",
        )
    if archive.name.lower() == table.name.lower():
        raise SweepFailure(
            "ArchiveMismatch", f"spec.write.delete.archiveTo: {name} is the table itself: name another one"
        )
    if not common:
        raise SweepFailure(
            "ArchiveMismatch",
            f"spec.write.delete.archiveTo: {name} has no column in common with {table.quoted}: CREATE TABLE {name} AS SELECT * FROM {table.quoted} WHERE 0",
        )
    return name, common


def build_statements(
    plan: Plan, table: SqliteTable, archive: SqliteTable | None, *, garbled_key: bool = False
) -> SqliteStatements:
    """Validate the plan against the schema. Raises SweepFailure with the fix."""
    key = resolve_key(plan, table)
    for match in plan.match:
        if match.column:
            check_value(match, require(table, match.column, "spec.match"))
    for one in plan.write.update if plan.write else ():
        set_ = require(table, one.column, "spec.write.update")
        if one.value is not None:
            _check_number(one.value, set_, "spec.write.update")
        if set_.generated:
            raise SweepFailure(
                "GeneratedColumn",
                f'spec.write.update: "{one.column}" is generated by the database and cannot be set. Set the columns that it is made of.',
            )
    effect = effect_columns(plan, key)
    for name in effect:
        require(table, name, "spec.effect.columns")
    for name in plan.effect.key if plan.effect is not None else ():
        require(table, name, "spec.effect.key")
    kept = _archive_columns(table, archive) if archive is not None else None
    sure = {c.name for c in table.columns.values() if c.not_null} | {table.rowid_alias}
    nullable = () if table.without_rowid else tuple(name for name in key if name not in sure)
    return SqliteStatements(
        plan,
        table.quoted,
        key,
        SqliteDialect(plan.source.zone, {one.name: one.type for one in table.columns.values()}),
        effect,
        kept,
        nullable,
        tuple(name for name in key if name != table.rowid_alias),
        garbled_key,
        archive.ignoring if archive is not None else (),
    )
