"""What the catalogue says of a table, and whether the plan fits it. Reading is one function, judging is pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from psycopg.conninfo import conninfo_to_dict

from kubesweep.api.plan import Plan
from kubesweep.errors import SweepFailure
from kubesweep_worker.predicate import PostgresDialect, quote_name, quote_text, used_columns
from kubesweep_worker.sources.archive_types import Fate, fate
from kubesweep_worker.sources.postgres_pool import Transaction
from kubesweep_worker.sources.postgres_sql import KeyColumn, Statements
from kubesweep_worker.words import near

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


@cache
def sql(name: str) -> str:
    return files(__package__).joinpath("sql", f"{name}.sql").read_text()


@dataclass(frozen=True, slots=True)
class CatalogueColumn:
    name: str
    type: str
    not_null: bool
    generated: bool
    identity_always: bool
    labels: tuple[str, ...] | None
    exact: str  # the type with its length
    may_select: bool
    may_update: bool
    may_insert: bool


@dataclass(frozen=True, slots=True)
class Index:
    primary: bool
    unique: bool
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Relation:
    oid: int
    schema: str
    name: str
    kind: str
    rows: int  # -1: never analysed
    size: int
    row_security: bool
    schema_usage: bool
    role: str
    read_only: bool
    columns: dict[str, CatalogueColumn]
    indexes: tuple[Index, ...]

    @property
    def partitioned(self) -> bool:
        """PostgreSQL builds no index CONCURRENTLY on such a parent."""
        return self.kind == "p"

    @property
    def lockable(self) -> bool:
        """SELECT ... FOR UPDATE needs the right to update a column, even of a role that only deletes."""
        return any(column.may_update for column in self.columns.values())

    @property
    def quoted(self) -> str:
        return f"{quote_name(self.schema)}.{quote_name(self.name)}"


async def read_relation(tx: Transaction, schema: str | None, table: str, where: str = "spec.source") -> Relation:
    """Raises SweepFailure TableMissing."""
    found = await tx.query(sql("pg_table"), table, schema)
    if not found:
        names = [(str(s), str(n)) for s, n in await tx.query(sql("pg_names"))]
        raise _missing(schema, table, names, where)
    oid, nsp, name, kind, rows, size, security, usage, role, read_only = found[0]
    columns = {
        c[0]: CatalogueColumn(c[0], c[1], c[2], c[3], c[4], tuple(c[5]) if c[5] is not None else None, *c[6:])
        for c in await tx.query(sql("pg_columns"), oid)
    }
    indexes = tuple(Index(p, u, tuple(names)) for p, u, names in await tx.query(sql("pg_indexes"), oid))
    return Relation(oid, nsp, name, kind, rows, size, security, usage, role, read_only, columns, indexes)


async def read_database(tx: Transaction, url: str) -> tuple[str, str]:
    """Which server and which of its databases. The server's identifier stays the same on its standbys, behind poolers and
    under other host names; where the role may not ask for it, host and port of the URL take its place."""
    [(database, allowed)] = await tx.query(sql("pg_database"))
    if allowed:
        [(server,)] = await tx.query("SELECT system_identifier::text FROM pg_control_system()")
    else:
        parts = conninfo_to_dict(url.strip())
        server = f"{parts.get('host') or parts.get('hostaddr') or ''}:{parts.get('port') or 5432}"
    return str(server), str(database)


async def is_part(tx: Transaction, relation: Relation, archive: Relation | None) -> bool:
    """Whether rows of the archive are rows of the table: it is a partition, a child or a view of it, or has it as a partition."""
    return archive is not None and bool((await tx.query(sql("pg_part"), relation.oid, archive.oid))[0][0])


def check_kin(relation: Relation, archive: Relation | None, part: bool) -> None:
    """Raises SweepFailure."""
    if archive is not None and part:
        raise SweepFailure(
            "ArchiveMismatch",
            f"spec.write.delete.archiveTo: {archive.quoted} is a partition, a child or a view of {relation.quoted}, or has it as one, so archived rows would "
            "match again: name a table of its own",
        )


SESSION = ("TimeZone", "DateStyle", "IntervalStyle", "search_path")


def is_utc(zone: str) -> bool:
    return zone.upper().removeprefix("ETC/") in ("UTC", "UCT", "ZULU", "UNIVERSAL", "GMT", "GMT0", "GREENWICH")


async def read_session(tx: Transaction) -> dict[str, str]:
    """The settings under which the user's sql runs."""
    [[found]] = await tx.run(f"SELECT {', '.join(f'current_setting({quote_text(name)})' for name in SESSION)}")
    return dict(zip(SESSION, map(str, found), strict=True))


def _missing(schema: str | None, table: str, names: list[tuple[str, str]], where: str) -> SweepFailure:
    wanted = f"{schema}.{table}" if schema else table
    elsewhere = sorted(s for s, n in names if n == table)
    if elsewhere:
        hint = f'; there is one in schema "{elsewhere[0]}": set {where}.schema'
    else:
        hint = near(table, [n for s, n in names if schema in (None, s)])
    return SweepFailure("TableMissing", f'there is no table "{wanted}"{hint or f". Correct {where}, or create it."}')


def check_kind(relation: Relation) -> None:
    kinds = {"v": "a view", "m": "a materialized view", "f": "a foreign table"}
    if relation.kind in kinds:
        raise SweepFailure(
            "NotATable",
            f"{relation.quoted} is {kinds[relation.kind]}: rows are locked and written in tables only. Name the table behind it in spec.source.table.",
        )


def resolve_key(plan: Plan, relation: Relation) -> tuple[str, ...]:
    """The key's columns: the spec's, else the primary key's. Raises SweepFailure where rows cannot be told apart by it."""
    primary = next((index.columns for index in relation.indexes if index.primary), ())
    key = plan.source.key or primary
    if not key:
        raise SweepFailure(
            "KeyMissing",
            f"{relation.quoted} has no primary key: name 1 to {MOST_KEY_COLUMNS} unique NOT NULL columns in spec.source.key",
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
        if found.labels is None and found.type.rpartition(".")[2] not in KEY_TYPES:
            raise SweepFailure(
                "KeyTypeUnsupported",
                f'key column "{name}" has the type {found.type}; supported are enums and {", ".join(sorted(KEY_TYPES))}: the text of any other does not name its value exactly. Choose another unique key in spec.source.key.',
            )
    if not any(index.unique and set(index.columns) == set(key) for index in relation.indexes):
        names = ", ".join(quote_name(name) for name in key)
        how = "CREATE UNIQUE INDEX" if relation.partitioned else "CREATE UNIQUE INDEX CONCURRENTLY"
        raise SweepFailure(
            "KeyNotUnique",
            f"no unique index of {relation.quoted} has exactly the key's columns ({names}), so two rows may share a key: {how} ON {relation.quoted} ({names}), or choose another key",
        )
    return key


def require(relation: Relation, name: str, where: str) -> CatalogueColumn:
    try:
        return relation.columns[name]
    except KeyError:
        raise SweepFailure(
            "ColumnMissing",
            f'{where}: {relation.quoted} has no column "{name}"{near(name, relation.columns) or ". It has: " + ", ".join(list(relation.columns)[:20])}',
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
                f'{where}: "{value}" is no label of the enum of column "{name}"{near(value, labels)} It has: {", ".join(labels)}.',
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


def effect_columns(plan: Plan, key: tuple[str, ...]) -> tuple[str, ...]:
    if plan.effect is None:
        return ()
    return plan.effect.columns or tuple(dict.fromkeys((*key, *used_columns(plan.match))))


def lost_columns(relation: Relation, archive: Relation | None) -> frozenset[str]:
    """Columns of the table that its archive lacks."""
    return frozenset(relation.columns) - frozenset(archive.columns) if archive is not None else frozenset()


def check_new_columns(relation: Relation, archive: Relation | None, known: frozenset[str]) -> None:
    """``known``: the columns that the archive lacked at the first look, of which people were told. Raises SweepFailure."""
    new = [name for name in relation.columns if name in lost_columns(relation, archive) - known]
    if archive is not None and new:
        added = ", ".join(f"ADD COLUMN {quote_name(name)} {relation.columns[name].type}" for name in new)
        raise SweepFailure(
            "ArchiveMismatch",
            f"{relation.quoted} got column {', '.join(map(quote_name, new))} while this worker ran, and its archive has none, so what the "
            f"column holds would be lost: ALTER TABLE {archive.quoted} {added}",
        )


def changed_types(relation: Relation, archive: Relation, fates: Collection[Fate]) -> list[str]:
    """Columns whose values have one of these fates in the archive, in words."""
    found = []
    for name in archive_columns(relation, archive):
        mine, its = relation.columns[name].exact, archive.columns[name].exact
        if fate(mine, its) in fates:
            found.append(f'"{name}" is {mine} and {its} there')
    return found


def check_types(plan: Plan, relation: Relation, archive: Relation | None) -> None:
    """Raises SweepFailure where the archive's types lose a part of a value without an error, and nobody has accepted that."""
    kept = plan.write.archive if plan.write is not None else None
    if archive is None or kept is None or kept.lossy:
        return
    lost = changed_types(relation, archive, (Fate.LOSSY,))
    if lost:
        raise SweepFailure(
            "ArchiveLossy",
            f"spec.write.delete.archiveTo: {archive.quoted} would lose a part of what it is given: column {', '.join(lost)}: ALTER TABLE "
            f"{archive.quoted} ALTER COLUMN ... TYPE to the table's types, or set spec.write.delete.archiveTo.lossy: true",
        )


def archive_columns(relation: Relation, archive: Relation) -> tuple[str, ...]:
    """The columns that both tables have, in the table's order."""
    there = archive.columns
    return tuple(name for name in relation.columns if name in there and not there[name].generated)


def archive_copy(relation: Relation, archive: Relation, key: Sequence[str]) -> str:
    """By which a row of the archive is known as the copy of a key ``h``, converted as the INSERT does; empty where it lacks the
    key or may not be read."""
    if not all(name in archive.columns and archive.columns[name].may_select for name in key):
        return ""
    parts = (f"a.{quote_name(name)} = h.k{n}::{archive.columns[name].exact}" for n, name in enumerate(key, 1))
    return " AND ".join(parts)


def build_statements(plan: Plan, relation: Relation, archive: Relation | None) -> Statements:
    """Judge the plan against the catalogue. Raises SweepFailure with what to change."""
    check_kind(relation)
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
