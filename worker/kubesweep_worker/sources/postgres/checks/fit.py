"""Whether a plan fits PostgreSQL's catalog. Pure; each ``check_`` raises SweepFailure with the fix."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from kubesweep.api.plan import Plan
from kubesweep.errors import SweepFailure
from kubesweep.text import did_you_mean
from kubesweep_worker.sources import fit as shared_fit
from kubesweep_worker.sources.archive_types import Conversion, conversion
from kubesweep_worker.sources.conditions import quote_name
from kubesweep_worker.sources.fit import effect_columns, unique_hint
from kubesweep_worker.sources.postgres.checks.catalog import CatalogColumn, Relation
from kubesweep_worker.sources.postgres.dialect import PostgresDialect
from kubesweep_worker.sources.postgres.statements import KeyColumn, Statements

KEY_TYPES = frozenset(
    {
        "smallint",
        "integer",
        "bigint",
        "uuid",
        "text",
        "character varying",
        "bpchar",
        "date",
        "timestamp without time zone",
        "timestamp with time zone",
        "numeric",
        "boolean",
        "bytea",
        "cidr",
        "citext",
        "inet",
        "macaddr",
        "oid",
        "time without time zone",
    }
)
INTEGERS = frozenset({"smallint", "integer", "bigint"})
NUMBERS = INTEGERS | {"numeric", "real", "double precision"}
TIMES = frozenset({"timestamp with time zone", "timestamp without time zone", "date"})
MOST_KEY_COLUMNS = 4


def check_not_related(relation: Relation, archive: Relation | None, part: bool) -> None:
    if archive is not None and part:
        raise SweepFailure(
            "ArchiveMismatch",
            f"spec.write.delete.archiveTo: {archive.quoted} is a partition, a child or a view of {relation.quoted}, or has it as one, so archived rows would "
            "match again: name a table of its own",
        )


def check_is_table(relation: Relation, where: str = "spec.source.table") -> None:
    kinds = {"v": "a view", "m": "a materialized view", "f": "a foreign table"}
    if relation.kind in kinds:
        raise SweepFailure(
            "NotATable",
            f"{relation.quoted} is {kinds[relation.kind]}: rows are locked and written in tables only. Name the table behind it in {where}.",
        )


def _supported(column: CatalogColumn) -> bool:
    return column.labels is not None or column.type.rpartition(".")[2] in KEY_TYPES


def usable_keys(relation: Relation) -> list[tuple[str, ...]]:
    """The sets of columns that identify a row, the primary key first."""
    return [
        index.columns
        for index in relation.indexes
        if index.unique
        and len(index.columns) <= MOST_KEY_COLUMNS
        and all(
            name in relation.columns and relation.columns[name].not_null and _supported(relation.columns[name])
            for name in index.columns
        )
    ]


def _check_unique(relation: Relation, key: tuple[str, ...]) -> None:
    if any(index.unique and set(index.columns) == set(key) for index in relation.indexes):
        return
    names = ", ".join(quote_name(name) for name in key)
    text = (
        f"no unique index of {relation.quoted} has exactly the key's columns ({names}), so two rows may share a key: "
    )
    missing = [name for name in relation.partition_columns if name not in key]
    if missing:
        # PostgreSQL refuses an index without the partition columns, so it is not advised.
        also = f"on a partitioned table it has to hold the partition columns too, so name {', '.join(map(quote_name, missing))} in spec.source.key"
        candidates = usable_keys(relation)
        raise SweepFailure("KeyNotUnique", f"{text}{unique_hint(candidates) if candidates else also}")
    how = "CREATE UNIQUE INDEX" if relation.partitioned else "CREATE UNIQUE INDEX CONCURRENTLY"
    raise SweepFailure("KeyNotUnique", f"{text}{how} ON {relation.quoted} ({names}), or choose another key")


def resolve_key(plan: Plan, relation: Relation) -> tuple[str, ...]:
    """The key's columns: the spec's, or the primary key's. Raises SweepFailure where they do not identify a row."""
    primary = next((index.columns for index in relation.indexes if index.primary), ())
    key = plan.source.key or primary
    if not key:
        raise SweepFailure(
            "KeyMissing",
            f"{relation.quoted} has no primary key: {unique_hint(usable_keys(relation))}",
        )
    for name in key:
        require(relation, name, "spec.source.key")
    if len(key) > MOST_KEY_COLUMNS:
        raise SweepFailure(
            "KeyTooWide",
            f"the primary key of {relation.quoted} has {len(key)} columns, at most {MOST_KEY_COLUMNS} are supported: name a shorter unique key in spec.source.key",
        )
    for name in key:
        found = relation.columns[name]
        if not found.not_null:
            raise SweepFailure(
                "KeyNullable",
                f'key column "{name}" of {relation.quoted} may be NULL: ALTER TABLE {relation.quoted} ALTER COLUMN {quote_name(name)} SET NOT NULL, or choose another key',
            )
        if not _supported(found):
            raise SweepFailure(
                "KeyTypeUnsupported",
                f'key column "{name}" has the type {found.type}; supported are enums and {", ".join(sorted(KEY_TYPES))}: the text of any other does not name its value exactly. Choose another unique key in spec.source.key.',
            )
    _check_unique(relation, key)
    return key


def require(relation: Relation, name: str, where: str) -> CatalogColumn:
    try:
        return relation.columns[name]
    except KeyError:
        raise SweepFailure(
            "ColumnMissing",
            f'{where}: {relation.quoted} has no column "{name}"{did_you_mean(name, relation.columns) or ". It has: " + ", ".join(list(relation.columns)[:20])}',
        ) from None


def check_match(plan: Plan, relation: Relation) -> None:
    for match in plan.match:
        if not match.column:
            continue
        found = require(relation, match.column, "spec.match")
        if match.op in ("before", "after") and match.unit and found.type not in NUMBERS:
            raise SweepFailure(
                "ColumnType",
                f'spec.match: unit is for a column of numbers, and "{match.column}" is {found.type}: remove unit, or choose another column',
            )
        if match.op in ("before", "after") and not match.unit and found.type not in TIMES:
            raise SweepFailure(
                "ColumnType",
                f'spec.match: "{match.op}" needs a column of timestamp, timestamptz or date, and "{match.column}" is {found.type}: '
                + (
                    "add unit: seconds, milliseconds or microseconds"
                    if found.type in NUMBERS
                    else "choose another column"
                )
                + ", or write the comparison as sql",
            )
        if match.op in ("in", "notIn") and found.labels is not None:
            _check_labels(match.column, match.values, found.labels, "spec.match")


def _check_labels(name: str, values: Iterable[str], labels: tuple[str, ...], where: str) -> None:
    for value in values:
        if value not in labels:
            raise SweepFailure(
                "ValueInvalid",
                f'{where}: "{value}" is no label of the enum of column "{name}"{did_you_mean(value, labels)} It has: {", ".join(labels)}.',
            )


def check_write(plan: Plan, relation: Relation) -> None:
    for one in plan.write.update if plan.write else ():
        found = require(relation, one.column, "spec.write.update")
        if found.generated or found.identity_always:
            raise SweepFailure(
                "GeneratedColumn",
                f'spec.write.update: "{one.column}" is generated by the database and cannot be set. Set the columns that it is made of.',
            )
        if found.labels is not None and one.value is not None:
            _check_labels(one.column, [one.value], found.labels, "spec.write.update")


def check_new_columns(now: tuple[Relation, Relation | None], before: tuple[Relation, Relation | None]) -> None:
    shared_fit.check_new_columns(now, before, lambda archive, added: f"ALTER TABLE {archive} {', '.join(added)}")


def changed_types(relation: Relation, archive: Relation, kinds: Collection[Conversion]) -> list[str]:
    """Descriptions of the columns whose conversion in the archive is one of ``kinds``."""
    found = []
    for name in archive_columns(relation, archive):
        mine, its = relation.columns[name].exact, archive.columns[name].exact
        if conversion(mine, its) in kinds:
            found.append(f'"{name}" is {mine} and {its} there')
    return found


def check_types(plan: Plan, relation: Relation, archive: Relation | None) -> None:
    if archive is not None:
        fix = f"ALTER TABLE {archive.quoted} ALTER COLUMN ... TYPE to the table's types"
        shared_fit.check_types(plan, archive, lambda: changed_types(relation, archive, (Conversion.LOSSY,)), fix)


def archive_columns(relation: Relation, archive: Relation) -> tuple[str, ...]:
    """The columns that both tables have, in the table's order."""
    there = archive.columns
    return tuple(name for name in relation.columns if name in there and not there[name].generated)


def archive_copy(relation: Relation, archive: Relation, key: Sequence[str]) -> str:
    """The condition by which a row of the archive is the copy of a key ``h``, converted as INSERT does; empty where the archive
    lacks the key or may not be read."""
    if not all(name in archive.columns and archive.columns[name].may_select for name in key):
        return ""
    parts = (f"a.{quote_name(name)} = h.k{n}::{archive.columns[name].exact}" for n, name in enumerate(key, 1))
    return " AND ".join(parts)


def build_statements(plan: Plan, relation: Relation, archive: Relation | None) -> Statements:
    """Validate the plan against the catalog. Raises SweepFailure with the fix."""
    check_is_table(relation)
    key = resolve_key(plan, relation)
    check_match(plan, relation)
    check_write(plan, relation)
    wanted = effect_columns(plan, key)
    for name in wanted:
        require(relation, name, "spec.effect.columns")
    for name in plan.effect.key if plan.effect is not None else ():
        require(relation, name, "spec.effect.key")
    kept, copied = None, ""
    if archive is not None:
        kept = (archive.quoted, archive_columns(relation, archive))
        if archive.oid == relation.oid:
            raise SweepFailure(
                "ArchiveMismatch",
                f"spec.write.delete.archiveTo: {archive.quoted} is the table itself: name another one",
            )
        copied = archive_copy(relation, archive, key)
        if not kept[1]:
            raise SweepFailure(
                "ArchiveMismatch",
                f"spec.write.delete.archiveTo: {archive.quoted} has no column in common with {relation.quoted}: CREATE TABLE ... (LIKE {relation.quoted})",
            )
    return Statements(
        plan=plan,
        table=relation.quoted,
        key=tuple(KeyColumn(name, relation.columns[name].type) for name in key),
        dialect=PostgresDialect({c.name: c.type for c in relation.columns.values()}, plan.source.zone),
        effect_columns=wanted,
        archive=kept,
        oids=(relation.oid, archive.oid) if archive is not None else (),
        copied=copied,
    )
