"""What a delete does to rows of other tables that reference the deleted rows. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kubesweep.api.plan import Plan
from kubesweep.errors import SweepFailure

SAMPLE = 10  # stale rows whose children are counted
CHANGES = {
    "CASCADE": "are deleted too",
    "SET NULL": "are set to NULL there",
    "SET DEFAULT": "are set to their default there",
}


@dataclass(frozen=True, slots=True)
class Child:
    """A foreign key that references the table, directly or through other tables whose rows are deleted too (``depth`` above 1)."""

    name: str  # of the foreign key; empty for SQLite
    table: str  # the referencing one
    action: str  # ON DELETE
    depth: int = 1
    rows: int | None = None  # that reference a sample of stale rows; None: not counted

    @property
    def sentence(self) -> str:
        key = f"foreign key {self.name}, " if self.name else ""
        what = (
            f"rows of {self.table} that refer to a deleted row {CHANGES[self.action]}"
            if self.action in CHANGES
            else (f"a row that {self.table} refers to stays, as a dead letter")
        )
        counted = "" if self.rows is None else f"; {self.rows} for the stale rows of a sample"
        return f"{what} ({key}ON DELETE {self.action}){counted}"


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key with its columns: quoted for PostgreSQL, as in the schema for SQLite."""

    child: Child
    columns: tuple[str, ...]
    referred: tuple[str, ...]  # empty: the primary key


def check_children(plan: Plan, table: str, children: Sequence[Child]) -> None:
    """Raises SweepFailure where a delete would delete rows of other tables too, unless spec.write.delete.children accepts that."""
    if plan.write is None or not plan.write.deletes or plan.write.children or plan.dry_run:
        return
    changed = sorted((each for each in children if each.action in CHANGES), key=lambda each: each.action != "CASCADE")
    if changed and changed[0].action == "CASCADE":
        others = " and changes others" if any(each.action != "CASCADE" for each in changed) else ""
        also = "; an archive keeps none of them" if plan.write.archive is not None else ""
        raise SweepFailure(
            "ChildrenCascade",
            f"deleting a row of {table} deletes other rows too{others}: {'; '.join(child.sentence for child in changed[:8])}{also}. "
            "If that is meant, set spec.write.delete.children: accept",
        )


def child_warnings(plan: Plan, children: Sequence[Child]) -> list[tuple[str, str]]:
    if plan.write is None or not plan.write.deletes or plan.write.children:
        return []
    found = [each for each in children if each.action in CHANGES and (plan.dry_run or each.action != "CASCADE")]
    hint = "set spec.write.delete.children: accept if that is meant"
    return [("children", f"{child.sentence}; {hint}") for child in found]
