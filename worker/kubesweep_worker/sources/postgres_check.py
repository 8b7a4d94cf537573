"""What people are told before anything is swept: does the plan fit, what would run, what would be slow or surprising."""

from __future__ import annotations

from collections.abc import Iterator

from kubesweep.api.plan import Plan, Write
from kubesweep.errors import RowError, SweepFailure
from kubesweep_worker.predicate import (
    one_key_for_ever,
    other_unit,
    quote_name,
    stamp_columns,
    time_columns,
    used_columns,
)
from kubesweep_worker.sources.archive_types import Fate
from kubesweep_worker.sources.base import EPOCH_UNIT, NAIVE_ZONE, Column, Explanation, Keys, Range, Scope, Table, Tried
from kubesweep_worker.sources.postgres_catalogue import Relation, changed_types, is_utc, lost_columns, sql
from kubesweep_worker.sources.postgres_pool import Transaction
from kubesweep_worker.sources.postgres_sql import Statements
from kubesweep_worker.sources.postgres_values import query_plan
from kubesweep_worker.sources.postgres_write import UNDEFERRED, Hindrances, apply

SAMPLE = 100  # values that are looked at
BIG = 64 * 1024 * 1024  # bytes; a sequential scan of less is nothing to talk about
BIG_ROWS = 100_000
EXAMPLE = "2026-01-01 00:00:00+00"
TRIGGERS = {"update": 16, "delete": 8}  # bits of pg_trigger.tgtype

Warnings = Iterator[tuple[str, str]]
Missing = tuple[str, str]  # what the role may not do, the GRANT that lets it


async def inspect(
    tx: Transaction,
    plan: Plan,
    relation: Relation,
    statements: Statements,
    archive: Relation | None,
    session: dict[str, str],
) -> Table:
    """Raises SweepFailure with what to change; what is only worth knowing is in ``Table.warnings``."""
    deletes = plan.write is not None and plan.write.deletes
    around = await tx.query(sql("pg_surroundings"), relation.oid, TRIGGERS["delete" if deletes else "update"])
    rights = {str(name) for kind, name, _ in around if kind == "privilege"}
    check_rights(plan, relation, statements, rights)
    check_archive(plan, relation, statements, archive)
    queries = [statements.any(Range(), EXAMPLE, ())]
    if plan.write is not None:
        queries.append(statements.write(Range(), EXAMPLE, ()))
    try:
        found = query_plan((await tx.run(*(f"EXPLAIN (FORMAT JSON) {query}" for query in queries)))[0])
    except RowError as error:
        raise SweepFailure(
            "ValueInvalid", f"a value of the spec does not fit its column: {error}. Correct spec.match or spec.write."
        ) from None
    warnings = [
        *_row_security(relation),
        *_triggers_and_keys(plan, around),
        *_nullable(plan, relation),
        *await _units(tx, plan, relation),
        *_naive(plan, relation, session["TimeZone"]),
        *_volatile(plan),
        *one_key_for_ever(plan),
        *_missing_index(plan, relation, found),
        *_key_order(relation, statements),
        *_lost_columns(relation, archive),
        *_changed_types(plan, relation, archive),
        *_unlockable(plan, relation),
    ]
    columns = {c.name: Column(c.name, c.type, not c.not_null) for c in relation.columns.values()}
    key = tuple(part.name for part in statements.key)
    return Table(relation.quoted, columns, key, max(relation.rows, 0), tuple(warnings), session=session)


def check_rights(plan: Plan, relation: Relation, statements: Statements, rights: set[str]) -> None:
    role, table = quote_name(relation.role), relation.quoted
    if not relation.schema_usage:
        schema = quote_name(relation.schema)
        raise _denied((f"use schema {schema}", f"GRANT USAGE ON SCHEMA {schema} TO {role}"))
    read = {*used_columns(plan.match), *(part.name for part in statements.key), *statements.effect_columns}
    read.update(stamp_columns(plan))
    unread = sorted(name for name in read if not relation.columns[name].may_select)
    missing = [(f"read {', '.join(unread)} of {table}", f"GRANT SELECT ON {table} TO {role}")] if unread else []
    writes = plan.write is not None and not plan.dry_run
    if writes and relation.read_only and not missing:
        raise SweepFailure(
            "ReadOnly",
            "the database takes no writes from this role (transaction_read_only is on): point the URL at the primary, or ALTER ROLE "
            + role
            + " SET default_transaction_read_only = off",
        )
    if plan.write is not None and writes:
        missing += _unwritten(plan.write, relation, rights)
    if missing:
        raise _denied(*missing)


def _unwritten(write: Write, relation: Relation, rights: set[str]) -> list[Missing]:
    role, table = quote_name(relation.role), relation.quoted
    if write.deletes:
        return [] if "DELETE" in rights else [(f"delete from {table}", f"GRANT DELETE ON {table} TO {role}")]
    names = sorted(one.column for one in write.update if not relation.columns[one.column].may_update)
    columns = ", ".join(quote_name(name) for name in names)
    return (
        [(f"update {', '.join(names)} of {table}", f"GRANT UPDATE ({columns}) ON {table} TO {role}")] if names else []
    )


def check_archive(plan: Plan, relation: Relation, statements: Statements, archive: Relation | None) -> None:
    if archive is None or statements.archive is None or plan.dry_run:
        return
    if not all(archive.columns[name].may_insert for name in statements.archive[1]):
        grant = f"GRANT INSERT ON {archive.quoted} TO {quote_name(relation.role)}"
        raise _denied((f"insert into {archive.quoted}", grant))


def _lost_columns(relation: Relation, archive: Relation | None) -> Warnings:
    lost = [name for name in relation.columns if name in lost_columns(relation, archive)]
    if archive is not None and lost:
        yield "archive-columns", f"the archive {archive.quoted} has no column {', '.join(lost)}: what they hold is lost"


def _changed_types(plan: Plan, relation: Relation, archive: Relation | None) -> Warnings:
    changed = changed_types(relation, archive, (Fate.TOLD,)) if archive is not None else []
    if archive is not None and changed:
        yield (
            "archive-types",
            f"the archive {archive.quoted} has other types: column {', '.join(changed)}; a value may be refused, which is its row's failure, or change its form",
        )


def _unlockable(plan: Plan, relation: Relation) -> Warnings:
    if plan.write is not None and not relation.lockable:
        column = quote_name(next(iter(relation.columns)))
        yield (
            "no-right-to-lock",
            f"the role of the URL may delete but not lock rows, so a batch waits for the last row that the application holds: GRANT UPDATE ({column}) ON {relation.quoted} TO {quote_name(relation.role)}",
        )


def _denied(*missing: Missing) -> SweepFailure:
    """All that is missing at once: each round of a person and a database takes a while."""
    what, grants = " and not ".join(what for what, _ in missing), "; ".join(grant for _, grant in missing)
    return SweepFailure("PermissionDenied", f"the role of the URL may not {what}: {grants}")


def _row_security(relation: Relation) -> Warnings:
    if relation.row_security:
        yield (
            "row-level-security",
            f"row-level security of {relation.quoted} applies to role {quote_name(relation.role)}: rows that its policies hide are neither seen nor swept; use a role with BYPASSRLS if all rows are meant",
        )


def _triggers_and_keys(plan: Plan, around: list[tuple[str, str, str]]) -> Warnings:
    for kind, name, other in around:
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


async def _units(tx: Transaction, plan: Plan, relation: Relation) -> list[tuple[str, str]]:
    """Numbers that look like another unit than the spec's."""
    told = []
    for match in plan.match:
        if not match.unit:
            continue
        name = quote_name(match.column)
        [rows] = await tx.run(f"SELECT {name}::float8 FROM {relation.quoted} WHERE {name} IS NOT NULL LIMIT {SAMPLE}")
        told += [(EPOCH_UNIT, sentence) for sentence in other_unit(match, [float(value) for (value,) in rows])]
    return told


def _naive(plan: Plan, relation: Relation, zone: str) -> Warnings:
    """Rows deleted hours early, or late."""
    if plan.source.naive_time_zone is not None or is_utc(zone):
        return
    for name in dict.fromkeys(one.column for one in plan.match if one.op in ("before", "after") and not one.unit):
        if relation.columns[name].type != "timestamp with time zone":
            yield (
                NAIVE_ZONE,
                f'column "{name}" has no time zone and spec.source.naiveTimeZone is not set, so its times count as UTC, while this login '
                f"lives in {zone}: set naiveTimeZone to {zone}, or to UTC if that is what the application writes",
            )


def _volatile(plan: Plan) -> Warnings:
    for match in plan.match:
        words = match.sql.lower()
        for word in ("random(", "clock_timestamp(", "nextval(", "now(", "current_timestamp", "localtimestamp"):
            if word in words:
                yield (
                    "volatile-sql",
                    f"spec.match sql uses {word.rstrip('(')}, which answers differently each time: write :cutoff, which is the same for the whole sweep",
                )
        if "select" in words.split() or "(select" in words:
            yield (
                "subquery",
                "spec.match sql has a subquery, which is not checked again under the row's lock: use it in DryRun only, or accept the race",
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
    """A statement to create the index, where the plan reads a whole big table for a small part of it."""
    big = relation.rows >= BIG_ROWS or relation.size >= BIG
    if not big or not _scans(tree) or _planned(tree) * 10 > max(relation.rows, 1):
        return None
    times = time_columns(plan.match)
    equal = tuple(m.column for m in plan.match if m.op == "in" and m.column not in times)
    columns = (*equal, *times[:1]) or times[:1]
    if not columns or any(index.columns[: len(columns)] == columns for index in relation.indexes):
        return None
    names = ", ".join(quote_name(name) for name in columns)
    if relation.partitioned:
        return (
            f"CREATE INDEX ON ONLY {relation.quoted} ({names}); then for each partition CREATE INDEX CONCURRENTLY, and ALTER INDEX ... ATTACH PARTITION "
            "(on a small table CREATE INDEX without ONLY does all, under a lock)"
        )
    return f"CREATE INDEX CONCURRENTLY ON {relation.quoted} ({names});"


def _scans(tree: object) -> bool:
    if not isinstance(tree, dict):
        return False
    return tree.get("Node Type") == "Seq Scan" or any(_scans(child) for child in tree.get("Plans", ()))


def _planned(tree: dict[str, object]) -> int:
    return int(str(tree.get("Plan Rows", 0)))


async def explain(tx: Transaction, plan: Plan, relation: Relation, statements: Statements, cutoff: str) -> Explanation:
    batch, most = plan.limits.batch_rows, plan.window_jobs * plan.limits.batch_rows
    example: Scope = Range(*await _example(tx, statements, cutoff, batch))
    find = statements.any(Range(), cutoff, ())
    as_json, as_text = await tx.run(f"EXPLAIN (FORMAT JSON) {find}", f"EXPLAIN {find}")
    tree = query_plan(as_json)
    return Explanation(
        plan_sql=statements.gather(Range(), cutoff, (), most, 10 * most),
        stale_sql=statements.rows(example, cutoff, (), batch),
        write_sql=statements.write(example, cutoff, ()) if plan.write is not None else None,
        plan_text="\n".join(str(row[0]) for row in as_text),
        rows_estimate=_planned(tree),
        index_advice=index_advice(plan, relation, tree),
    )


async def _example(
    tx: Transaction, statements: Statements, cutoff: str, batch: int
) -> tuple[None, tuple[str, ...] | None]:
    [rows] = await tx.run(statements.walk_end(Range(), batch))
    return None, tuple(str(value) for value in rows[0][1:]) if rows else None


async def try_write(tx: Transaction, statements: Statements, hindrances: Hindrances, cutoff: str, most: int) -> Tried:
    [rows] = await tx.run(f"{statements.keys(Range(), cutoff, ())} LIMIT {most}")
    keys = tuple(tuple(str(value) for value in row) for row in rows)
    if not keys or statements.plan.write is None:
        return Tried(len(keys), 0, 0)
    counted = statements.archive is not None and bool(statements.copied)
    done = await apply(tx, statements, hindrances, Keys(keys), cutoff, (), counted=counted)
    await tx.run(UNDEFERRED)
    if done.never_ends(hindrances):
        return Tried(len(keys), done.applied, done.again)
    refused = max(done.again, len(done.left))
    return Tried(len(keys), min(done.applied, len(keys) - refused), 0, refused, hindrances.why)
