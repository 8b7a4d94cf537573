"""Read a table, its archive and the session in one transaction, and validate the plan against them."""

from __future__ import annotations

from dataclasses import dataclass

from kubesweep.api.plan import Plan
from kubesweep_worker.sources.children import Child, Reference, check_children
from kubesweep_worker.sources.fit import check_update
from kubesweep_worker.sources.postgres.checks.catalog import Relation, is_part, read_relation
from kubesweep_worker.sources.postgres.checks.children import read_children
from kubesweep_worker.sources.postgres.checks.fit import (
    build_statements,
    check_new_columns,
    check_not_related,
    check_types,
)
from kubesweep_worker.sources.postgres.pool import Transaction
from kubesweep_worker.sources.postgres.session import is_utc, read_session
from kubesweep_worker.sources.postgres.statements import Statements
from kubesweep_worker.sources.postgres.write import WriteBlockers, read_write_blockers

ARCHIVE = "spec.write.delete.archiveTo"


@dataclass(frozen=True, slots=True)
class TableSnapshot:
    """What a source has read of its table. It is read again after an error that says that the table changed."""

    relation: Relation
    statements: Statements
    archive: Relation | None
    blockers: WriteBlockers
    references: tuple[Reference, ...]
    session: dict[str, str]

    @property
    def children(self) -> list[Child]:
        return [each.child for each in self.references]

    @property
    def same_settings(self) -> bool:
        """Whether the user's sql has the same result under the settings for reading values (``READ_SETTINGS``)."""
        session = self.session
        return (
            is_utc(session["TimeZone"])
            and session["DateStyle"] == "ISO, MDY"
            and session["IntervalStyle"] == "postgres"
        )

    def check_sweep(self, plan: Plan) -> None:
        """Raises SweepFailure for anything that must not begin a sweep."""
        check_children(plan, self.relation.quoted, self.children)
        check_types(plan, self.relation, self.archive)
        has_triggers = bool(self.blockers.before or self.blockers.after)
        check_update(plan, self.relation.quoted, self.relation.columns, has_triggers=has_triggers)

    def altered(self, before: TableSnapshot | None) -> bool:
        """Whether the columns of table or archive changed."""
        if before is None or self.relation.columns != before.relation.columns:
            return True
        return (
            self.archive is not None and before.archive is not None and self.archive.columns != before.archive.columns
        )


async def read_snapshot(tx: Transaction, plan: Plan, before: TableSnapshot | None) -> TableSnapshot:
    """``before``: the snapshot for which the sweep was allowed. Raises SweepFailure where the plan does not fit, or no longer."""
    source, write = plan.source, plan.write
    relation = await read_relation(tx, source.schema, source.table)
    archive = None
    if write is not None and write.archive is not None:
        archive = await read_relation(tx, write.archive.schema or relation.schema, write.archive.table, ARCHIVE)
    statements = build_statements(plan, relation, archive)
    blockers = await read_write_blockers(tx, plan, statements, relation, archive)
    references = await read_children(tx, relation) if write is not None and write.deletes else ()
    check_not_related(relation, archive, await is_part(tx, relation, archive))
    snapshot = TableSnapshot(relation, statements, archive, blockers, references, await read_session(tx))
    if before is not None:
        check_new_columns((relation, archive), (before.relation, before.archive))
        check_types(plan, relation, archive)
        check_children(plan, relation.quoted, snapshot.children)
    return snapshot
