"""``kubesweep check`` on PostgreSQL: whether the plan fits the table, what would run, and what would be slow."""

from __future__ import annotations

from kubesweep.api.plan import Plan, Write
from kubesweep.errors import RowError, SweepFailure
from kubesweep_worker.sources.base import Column, Explanation, Keys, Predicate, Range, Scope, Table, Tried
from kubesweep_worker.sources.conditions import quote_name, stamp_columns, used_columns
from kubesweep_worker.sources.postgres.checks.catalog import Relation, sql
from kubesweep_worker.sources.postgres.checks.warnings import converted, index_advice, planned, units, warnings
from kubesweep_worker.sources.postgres.database import unidentified
from kubesweep_worker.sources.postgres.errors import StatementRefused
from kubesweep_worker.sources.postgres.health import unreadable
from kubesweep_worker.sources.postgres.pool import Transaction
from kubesweep_worker.sources.postgres.statements import Statements
from kubesweep_worker.sources.postgres.table_snapshot import TableSnapshot
from kubesweep_worker.sources.postgres.values import query_plan
from kubesweep_worker.sources.postgres.write import UNDEFERRED, WriteBlockers, apply

EXAMPLE = "2026-01-01 00:00:00+00"
TRIGGERS = {"update": 16, "delete": 8}  # bits of pg_trigger.tgtype

Missing = tuple[str, str]  # what the role may not do, and the GRANT that allows it


async def inspect(tx: Transaction, plan: Plan, snapshot: TableSnapshot) -> Table:
    """Raises SweepFailure with the fix. ``Table.warnings`` has what does not prevent a sweep."""
    relation, statements = snapshot.relation, snapshot.statements
    deletes = plan.write is not None and plan.write.deletes
    surroundings = await tx.query(sql("surroundings"), relation.oid, TRIGGERS["delete" if deletes else "update"])
    rights = {str(name) for kind, name, _ in surroundings if kind == "privilege"}
    check_rights(plan, relation, statements, rights)
    check_archive(plan, relation, statements, snapshot.archive)
    try:
        found = query_plan((await tx.run(f"EXPLAIN (FORMAT JSON) {statements.any(Range(), Predicate(EXAMPLE))}"))[0])
        await _try_plan(tx, plan, statements)
    except RowError as error:
        raise SweepFailure(
            "ValueInvalid", f"a value of the spec does not fit its column: {error}. Correct spec.match or spec.write."
        ) from None
    found_warnings = (
        *warnings(plan, snapshot, surroundings, found),
        *await units(tx, plan, relation),
        *await converted(tx, plan, relation, statements),
        *await unidentified(tx, plan, relation.role),
        *(await unreadable(tx, relation.role, plan.source.health) if plan.source.health is not None else ()),
    )
    columns = {c.name: Column(c.name, c.type, not c.not_null) for c in relation.columns.values()}
    key = tuple(part.name for part in statements.key)
    return Table(relation.quoted, columns, key, max(relation.rows, 0), found_warnings, session=snapshot.session)


async def _try_plan(tx: Transaction, plan: Plan, statements: Statements) -> None:
    """EXPLAIN the write, after the search was found to be valid."""
    if plan.write is None:
        return
    try:
        await tx.run(f"EXPLAIN {statements.write(Range(), Predicate(EXAMPLE))}")
    except SweepFailure as failure:
        if statements.archive is None or failure.reason != "SqlInvalid":
            raise
        refusal = failure.refusal if isinstance(failure, StatementRefused) else str(failure)
        raise SweepFailure(
            "ArchiveMismatch",
            f"spec.write.delete.archiveTo: {statements.archive[0]} cannot take the rows: {refusal}. Give it the table's types",
        ) from None


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
            "the database takes no writes from this role (transaction_read_only is on): connect to the primary, or ALTER ROLE "
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


def _denied(*missing: Missing) -> SweepFailure:
    """One failure for all missing rights, so that one edit fixes them."""
    what, grants = " and not ".join(what for what, _ in missing), "; ".join(grant for _, grant in missing)
    return SweepFailure("PermissionDenied", f"the role may not {what}: {grants}")


async def explain(tx: Transaction, plan: Plan, relation: Relation, statements: Statements, cutoff: str) -> Explanation:
    batch, most = plan.limits.batch_rows, plan.window_jobs * plan.limits.batch_rows
    example: Scope = Range(*await _example(tx, statements, cutoff, batch))
    find = statements.any(Range(), Predicate(cutoff))
    as_json, as_text = await tx.run(f"EXPLAIN (FORMAT JSON) {find}", f"EXPLAIN {find}")
    tree = query_plan(as_json)
    return Explanation(
        plan_sql=statements.match_search(Range(), Predicate(cutoff), most, 10 * most),
        stale_sql=statements.rows(example, Predicate(cutoff), batch),
        write_sql=statements.write(example, Predicate(cutoff)) if plan.write is not None else None,
        plan_text="\n".join(str(row[0]) for row in as_text),
        rows_estimate=planned(tree),
        index_advice=index_advice(plan, relation, tree),
    )


async def _example(
    tx: Transaction, statements: Statements, cutoff: str, batch: int
) -> tuple[None, tuple[str, ...] | None]:
    [rows] = await tx.run(statements.key_scan_end(Range(), batch))
    return None, tuple(str(value) for value in rows[0][1:]) if rows else None


async def try_write(tx: Transaction, statements: Statements, blockers: WriteBlockers, cutoff: str, most: int) -> Tried:
    [rows] = await tx.run(f"{statements.keys(Range(), Predicate(cutoff))} LIMIT {most}")
    keys = tuple(tuple(str(value) for value in row) for row in rows)
    if not keys or statements.plan.write is None:
        return Tried(len(keys), 0, 0)
    counted = statements.archive is not None and bool(statements.copied)
    done = await apply(tx, statements, blockers, Keys(keys), Predicate(cutoff), counted=counted)
    await tx.run(UNDEFERRED)
    if done.never_ends(blockers):
        return Tried(len(keys), done.applied, done.again)
    refused = max(done.again, len(done.unchanged))
    return Tried(len(keys), min(done.applied, len(keys) - refused), 0, refused, blockers.why)
