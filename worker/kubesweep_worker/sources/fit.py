"""Whether a plan fits a table: what both databases judge alike. Pure; each ``check_`` raises SweepFailure with what to change."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from kubesweep.api.plan import Plan
from kubesweep.errors import SweepFailure
from kubesweep_worker.predicate import stays_stale, used_columns


class _Column(Protocol):
    @property
    def generated(self) -> bool: ...


def effect_columns(plan: Plan, key: tuple[str, ...]) -> tuple[str, ...]:
    if plan.effect is None:
        return ()
    return plan.effect.columns or tuple(dict.fromkeys((*key, *used_columns(plan.match))))


def check_update(plan: Plan, table: str, columns: Mapping[str, _Column], *, hindered: bool) -> None:
    """The update's own values are what match asks for. ``hindered``: a trigger may write others."""
    if plan.dry_run or hindered or not stays_stale(plan):
        return
    if not any(columns[name].generated for name in used_columns(plan.match)):
        raise SweepFailure(
            "NeverEnds",
            f"spec.write.update leaves every row of {table} matching by its own values, so a sweep would never end: set a column of match to "
            "a value that no longer matches",
        )


def check_lost(table: str, archive: str, lost: Sequence[str], had: Collection[str], cure: str) -> None:
    """``lost``: columns of the table that the archive lacks and did not lack at the last look, when the table ``had`` its columns."""
    if not lost:
        return
    dropped = [name for name in lost if name in had]
    if dropped:
        what = (
            f"{archive} lost column {_named(dropped)} while this worker ran, so what {table} holds there would be lost"
        )
    else:
        what = f"{table} got column {_named(lost)} while this worker ran, and its archive has none, so what the column holds would be lost"
    raise SweepFailure("ArchiveMismatch", f"{what}: {cure}")


def _named(names: Sequence[str]) -> str:
    return ", ".join('"' + name.replace('"', '""') + '"' for name in names)


def unique_hint(candidates: Sequence[Sequence[str]]) -> str:
    """The spec's line for the first of the keys that would do; or what such a key is."""
    for columns in candidates:
        return f"set spec.source.key: [{', '.join(columns)}], which is unique"
    return "name 1 to 4 unique NOT NULL columns in spec.source.key"
