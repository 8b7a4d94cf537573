"""The foreign keys that reference a table, from PostgreSQL's catalog, and the number of their rows for a sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kubesweep.errors import Outage, RowError, SweepFailure
from kubesweep_worker.sources.base import Predicate, Range
from kubesweep_worker.sources.children import SAMPLE, Child, Reference
from kubesweep_worker.sources.postgres.checks.catalog import Relation, sql
from kubesweep_worker.sources.postgres.pool import Transaction
from kubesweep_worker.sources.postgres.statements import Statements


async def read_children(tx: Transaction, relation: Relation) -> tuple[Reference, ...]:
    """The direct ones first, then those of tables whose rows are deleted by CASCADE."""
    return tuple(
        Reference(Child(str(name), str(table), str(action), int(depth)), tuple(columns), tuple(referred))
        for name, table, depth, action, columns, referred in await tx.query(sql("children"), relation.oid)
    )


async def count_children(
    tx: Transaction, statements: Statements, references: Sequence[Reference], cutoff: str
) -> tuple[Child, ...]:
    """The children with the number of rows that reference a few stale rows, where they can be counted in time."""
    counted, direct = [], True
    for each in references:
        if direct and each.child.depth == 1:
            stale = statements.where(Range(), Predicate(cutoff))
            few = f"SELECT {', '.join(f't.{name}' for name in each.referred)} FROM {statements.table} AS t WHERE {stale} LIMIT {SAMPLE}"
            try:
                [[(rows,)]] = await tx.run(
                    f"SELECT count(*) FROM {each.child.table} AS c WHERE ({', '.join(f'c.{name}' for name in each.columns)}) IN ({few})"
                )
            except (Outage, RowError, SweepFailure):  # too slow, or no right to read: the transaction has ended
                direct = False
            else:
                counted.append(replace(each.child, rows=int(rows)))
                continue
        counted.append(each.child)
    return tuple(counted)
