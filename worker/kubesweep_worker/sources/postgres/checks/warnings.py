"""Warnings of ``kubesweep check`` on PostgreSQL, as pairs of a code and a sentence; see docs/errors.md."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from kubesweep.api.plan import Plan
from kubesweep_worker.sources.archive_types import Conversion
from kubesweep_worker.sources.base import DAY, EPOCH_UNIT, NAIVE_ZONE, date_of_today
from kubesweep_worker.sources.children import CHANGES
from kubesweep_worker.sources.conditions import condition, quote_name, same_key_warnings, time_columns, unit_warnings
from kubesweep_worker.sources.fit import lost_columns, missing_columns
from kubesweep_worker.sources.postgres.checks.catalog import Relation
from kubesweep_worker.sources.postgres.checks.fit import NUMBERS, changed_types
from kubesweep_worker.sources.postgres.pool import Transaction
from kubesweep_worker.sources.postgres.session import is_utc
from kubesweep_worker.sources.postgres.statements import Statements
from kubesweep_worker.sources.postgres.table_snapshot import TableSnapshot
from kubesweep_worker.sources.postgres.values import query_plan

SAMPLE = 100  # values that are read
BIG = 64 * 1024 * 1024  # bytes; a sequential scan of less needs no warning
BIG_ROWS = 100_000

EPOCH_SQL = re.compile(r"epoch|to_timestamp|make_interval|date_part", re.IGNORECASE)
# NOT EXISTS (SELECT ... FROM other AS o WHERE o.this_id = t.id AND ...), alone.
REFERRED = re.compile(
    r"\s*not\s+exists\s*\(\s*select\b([^()]*?)\bfrom\s+(?:\"?(\w+)\"?\.)?\"?(\w+)\"?\s+(?:as\s+)?(\w+)\s+where\s+"
    r"\4\.\"?(\w+)\"?\s*=\s*t\.\"?(\w+)\"?(?:\s+and\b(?:(?!\bselect\b|\bor\b)[^()])*)?\)\s*"
)
Surroundings = list[tuple[str, str, str]]  # rows of surroundings.sql: kind, name, another name
Warnings = Iterator[tuple[str, str]]


def warnings(plan: Plan, snapshot: TableSnapshot, surroundings: Surroundings, tree: dict[str, object]) -> Warnings:
    """``tree``: PostgreSQL's query plan for finding all stale rows."""
    relation, statements, archive = snapshot.relation, snapshot.statements, snapshot.archive
    yield from _row_security(relation)
    yield from _triggers_and_keys(plan, surroundings)
    yield from _nullable(plan, relation)
    yield from _naive(plan, relation, snapshot.session["TimeZone"])
    yield from _days(plan, relation)
    yield from _volatile(plan, snapshot)
    yield from same_key_warnings(plan)
    yield from _missing_index(plan, relation, tree)
    yield from _key_order(relation, statements)
    yield from _inheritance(surroundings, relation)
    yield from _heirs_columns(surroundings, archive)
    yield from _lost_columns(relation, archive)
    yield from _changed_types(plan, relation, archive)
    yield from _unlockable(plan, relation)


def _lost_columns(relation: Relation, archive: Relation | None) -> Warnings:
    lost = [name for name in relation.columns if name in lost_columns(relation, archive)]
    if archive is not None and lost:
        yield "archive-columns", f"the archive {archive.quoted} has no column {', '.join(lost)}: its values are lost"


def _changed_types(plan: Plan, relation: Relation, archive: Relation | None) -> Warnings:
    changed = changed_types(relation, archive, (Conversion.MAY_CHANGE,)) if archive is not None else []
    lost = changed_types(relation, archive, (Conversion.LOSSY,)) if archive is not None and plan.dry_run else []
    if archive is not None and lost:
        yield (
            "archive-types",
            f"the archive {archive.quoted} would lose a part of column {', '.join(lost)}: a sweep that deletes is refused until the types agree or "
            "spec.write.delete.archiveTo.lossy is true",
        )
    if archive is not None and changed:
        yield (
            "archive-types",
            f"the archive {archive.quoted} has other types: column {', '.join(changed)}; a value may be refused, which is its row's failure, or change its format",
        )


def _unlockable(plan: Plan, relation: Relation) -> Warnings:
    if plan.write is not None and not relation.lockable:
        column = quote_name(next(iter(relation.columns)))
        yield (
            "no-right-to-lock",
            f"the role may delete but not lock rows, so a batch waits for every row that the application has locked: GRANT UPDATE ({column}) ON {relation.quoted} TO {quote_name(relation.role)}",
        )


def _row_security(relation: Relation) -> Warnings:
    if relation.row_security:
        yield (
            "row-level-security",
            f"row-level security of {relation.quoted} applies to role {quote_name(relation.role)}: rows that its policies hide are not swept; use a role with BYPASSRLS to sweep all rows",
        )


def _triggers_and_keys(plan: Plan, surroundings: list[tuple[str, str, str]]) -> Warnings:
    for kind, name, other in surroundings:
        if kind == "trigger" and plan.write is not None:
            yield "trigger", f'trigger "{name}" fires for every row that is written'
        if kind == "foreign key" and plan.write is not None and plan.write.deletes:
            yield (
                "foreign-key-without-index",
                f'foreign key "{name}" of {other} points here and its columns have no index: every deleted row reads all of {other}; create the index first',
            )


def _nullable(plan: Plan, relation: Relation) -> Warnings:
    for name in time_columns(plan.match):
        if not relation.columns[name].not_null:
            yield "nullable-time", f'column "{name}" may be NULL: such rows are never stale'


async def units(tx: Transaction, plan: Plan, relation: Relation) -> list[tuple[str, str]]:
    """Warnings about numbers that look like times in another unit than the spec's."""
    found = []
    for match in plan.match:
        if not match.unit:
            continue
        name = quote_name(match.column)
        [rows] = await tx.run(f"SELECT {name}::float8 FROM {relation.quoted} WHERE {name} IS NOT NULL LIMIT {SAMPLE}")
        found += [(EPOCH_UNIT, sentence) for sentence in unit_warnings(match, [float(value) for (value,) in rows])]
    return found


def _naive(plan: Plan, relation: Relation, zone: str) -> Warnings:
    """Times in a wrong zone would delete rows hours early or late."""
    if plan.source.naive_time_zone is not None or is_utc(zone):
        return
    for name in dict.fromkeys(one.column for one in plan.match if one.op in ("before", "after") and not one.unit):
        if relation.columns[name].type != "timestamp with time zone":
            yield (
                NAIVE_ZONE,
                f'column "{name}" has no time zone and spec.source.naiveTimeZone is not set, so its times count as UTC, while this role '
                f"has the TimeZone {zone}: set naiveTimeZone to {zone}, or to UTC if that is what the application writes",
            )


def _volatile(plan: Plan, snapshot: TableSnapshot) -> Warnings:
    for match in plan.match:
        words = match.sql.lower()
        for word in ("random(", "clock_timestamp(", "nextval(", "now(", "current_timestamp", "localtimestamp"):
            if re.search(rf"(?<!\w){re.escape(word)}", words):
                yield (
                    "volatile-sql",
                    f"spec.match sql uses {word.rstrip('(')}, which has another result each time: write :cutoff, which is the same for the whole sweep",
                )
        if ("select" in words.split() or "(select" in words) and not _guarded(plan, snapshot, words):
            yield (
                "subquery",
                "spec.match sql has a subquery, which sees other rows as they were when the statement began: a row that is inserted meanwhile does not stop the write, "
                "unless a foreign key refuses it",
            )


def _guarded(plan: Plan, snapshot: TableSnapshot, words: str) -> bool:
    """Whether the subquery searches for rows that reference this one by a foreign key, which then refuses a wrong delete."""
    if plan.write is None or not plan.write.deletes or not (found := REFERRED.fullmatch(words)):
        return False
    _, schema, table, _, mine, its = found.groups()
    # PostgreSQL writes a name without its schema where the search path includes it.
    named = [[table]] if schema is None else [[schema, table]]
    if schema == snapshot.relation.schema.lower():
        named.append([table])
    return any(
        each.child.action not in CHANGES
        and each.child.depth == 1
        and [_bare(name) for name in (*each.columns, *each.referred)] == [mine, its]
        and [_bare(part) for part in each.child.table.split(".")] in named
        for each in snapshot.references
    )


def _bare(name: str) -> str:
    return name.strip('"').lower()


async def converted(tx: Transaction, plan: Plan, relation: Relation, statements: Statements) -> list[tuple[str, str]]:
    """Warnings about numbers that sql converts to times in each row (or compares with another type), so that their index cannot be
    used: PostgreSQL reads the whole table even with enable_seqscan off."""
    leading = {index.columns[0] for index in relation.indexes if index.columns}
    mentioned = [
        (match, name)
        for match in plan.match
        for name, info in relation.columns.items()
        if match.sql and info.type in NUMBERS and name in leading and re.search(rf"\b{re.escape(name)}\b", match.sql)
        if EPOCH_SQL.search(match.sql)
    ]
    if not mentioned:
        return []
    # EXPLAIN this condition only, because the index of another one would hide the problem.
    found = []
    for match, name in mentioned:
        alone = (
            f"SELECT FROM {relation.quoted} AS t WHERE {condition(match, statements.dialect, '2026-01-01 00:00:00+00')}"
        )
        [answer] = (
            await tx.run(
                "SET LOCAL enable_seqscan = off", f"EXPLAIN (FORMAT JSON) {alone}", "SET LOCAL enable_seqscan = on"
            )
        )[1:2]
        if _scans(query_plan(answer)) or not _conditions(query_plan(answer)):
            sentence = f'spec.match sql converts column "{name}" in each row, so its index cannot be used: write {{column: {name}, before: now-..., unit: seconds}} '
            found.append(("epoch-sql", f"{sentence}(or milliseconds, microseconds) instead, with the age for the dots"))
    return found


def _conditions(tree: object) -> bool:
    """Whether the plan searches in an index."""
    if not isinstance(tree, dict):
        return False
    return "Index Cond" in tree or any(_conditions(child) for child in tree.get("Plans", ()))


def _days(plan: Plan, relation: Relation) -> Warnings:
    for match in plan.match:
        if match.op == "before" and relation.columns[match.column].type == "date" and match.offset < DAY:
            yield date_of_today(match.column)


def _inheritance(surroundings: Surroundings, relation: Relation) -> Warnings:
    heirs = [name for kind, name, _ in surroundings if kind == "heir"]
    if heirs:
        yield (
            "inheritance",
            f"rows of {', '.join(heirs[:8])}, which inherit from {relation.quoted}, are swept too, and no index of {relation.quoted} keeps their keys apart from "
            "its own: a receiver and a dead letter cannot tell two rows with one key apart",
        )


def _heirs_columns(surroundings: Surroundings, archive: Relation | None) -> Warnings:
    """Columns that only an inheriting table has are not archived."""
    more = [f"{name} of {heir}" for kind, name, heir in surroundings if kind == "heir column"]
    if archive is not None and more:
        yield (
            "archive-columns",
            f"the archive {archive.quoted} gets no column {', '.join(more[:8])}, which only an inheriting table has: its values are lost",
        )


def _missing_index(plan: Plan, relation: Relation, tree: dict[str, object]) -> Warnings:
    advice = index_advice(plan, relation, tree)
    if advice:
        yield "no-index", f"finding stale rows reads all of {relation.quoted}: {advice}"


def _key_order(relation: Relation, statements: Statements) -> Warnings:
    key = tuple(part.name for part in statements.key)
    if not any(index.unique and index.columns == key for index in relation.indexes):
        yield (
            "key-order",
            f"no unique index has the key's columns in the order {', '.join(key)}: every window sorts the table; write spec.source.key in the index's order",
        )


def index_advice(plan: Plan, relation: Relation, tree: dict[str, object]) -> str | None:
    """A statement that creates the missing index, where the query plan reads a whole large table for a small part of it."""
    if not reads_large_table(relation, tree) or planned(tree) * 10 > max(relation.rows, 1):
        return None
    return missing_index(plan, relation)


def reads_large_table(relation: Relation, tree: dict[str, object]) -> bool:
    return (relation.rows >= BIG_ROWS or relation.size >= BIG) and _scans(tree)


def missing_index(plan: Plan, relation: Relation) -> str | None:
    """A statement that creates the index of the match; None where the table has it."""
    columns = missing_columns(plan, [index.columns for index in relation.indexes])
    return create_index(relation.quoted, columns, partitioned=relation.partitioned) if columns else None


def create_index(table: str, columns: Sequence[str], *, partitioned: bool) -> str:
    """The statement, or the way to do it without a long lock. ``table`` is quoted."""
    names = ", ".join(quote_name(name) for name in columns)
    if partitioned:
        return (
            f"CREATE INDEX ON ONLY {table} ({names}); then for each partition CREATE INDEX CONCURRENTLY, and ALTER INDEX ... ATTACH PARTITION "
            "(on a small table CREATE INDEX without ONLY does all, under a lock)"
        )
    return f"CREATE INDEX CONCURRENTLY ON {table} ({names});"


def _scans(tree: object) -> bool:
    if not isinstance(tree, dict):
        return False
    return tree.get("Node Type") == "Seq Scan" or any(_scans(child) for child in tree.get("Plans", ()))


def planned(tree: dict[str, object]) -> int:
    return int(str(tree.get("Plan Rows", 0)))
