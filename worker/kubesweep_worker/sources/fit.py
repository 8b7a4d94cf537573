"""Whether a plan fits a table: the checks that both databases share. Pure; each ``check_`` raises SweepFailure with the fix."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NoReturn, Protocol

from kubesweep.api.plan import Plan
from kubesweep.errors import SweepFailure
from kubesweep_worker.sources.conditions import quote_name, stays_stale, time_columns, used_columns


class Column(Protocol):
    @property
    def type(self) -> str: ...

    @property
    def generated(self) -> bool: ...


class Table(Protocol):
    @property
    def quoted(self) -> str: ...

    @property
    def columns(self) -> Mapping[str, Column]: ...


def effect_columns(plan: Plan, key: tuple[str, ...]) -> tuple[str, ...]:
    if plan.effect is None:
        return ()
    return plan.effect.columns or tuple(dict.fromkeys((*key, *used_columns(plan.match))))


def check_update(plan: Plan, table: str, columns: Mapping[str, Column], *, has_triggers: bool) -> None:
    """Refuse an update whose own values still match. ``has_triggers``: a trigger may write other values."""
    if plan.dry_run or has_triggers or not stays_stale(plan):
        return
    if not any(columns[name].generated for name in used_columns(plan.match)):
        raise SweepFailure(
            "NeverEnds",
            f"spec.write.update leaves every row of {table} matching by its own values, so a sweep would never end: set a column of match to "
            "a value that no longer matches",
        )


def lost_columns(table: Table, archive: Table | None, fold: Callable[[str], str] = str) -> frozenset[str]:
    """Columns of the table that its archive lacks or generates. ``fold`` maps names that are equal to the same text."""
    if archive is None:
        return frozenset()
    there = {fold(name) for name, one in archive.columns.items() if not one.generated}
    return frozenset(name for name, one in table.columns.items() if fold(name) not in there and not one.generated)


def check_new_columns(
    now: tuple[Table, Table | None],
    before: tuple[Table, Table | None],
    fix: Callable[[str, Sequence[str]], str],
    fold: Callable[[str], str] = str,
) -> None:
    """Refuse columns that the archive began to lack while the worker runs; ``kubesweep check`` warned about those that it lacked
    ``before``. ``fix``: the statement that adds columns, which are given as ``ADD COLUMN ...``."""
    table, archive = now
    if archive is None:
        return
    gone = lost_columns(table, archive, fold) - lost_columns(*before, fold)
    lost = [name for name in table.columns if name in gone]
    added = [f"ADD COLUMN {quote_name(name)} {table.columns[name].type}".rstrip() for name in lost]
    if lost:
        _refuse_lost(table.quoted, archive.quoted, lost, before[0].columns, fix(archive.quoted, added))


def check_types(plan: Plan, archive: Table | None, lossy: Callable[[], Sequence[str]], fix: str) -> None:
    """Refuse an archive whose types lose a part of a value without an error, unless archiveTo.lossy accepts that. ``lossy``:
    descriptions of such columns."""
    kept = plan.write.archive if plan.write is not None else None
    if archive is None or kept is None or kept.lossy or plan.dry_run:
        return
    if lost := lossy():
        raise SweepFailure(
            "ArchiveLossy",
            f"spec.write.delete.archiveTo: {archive.quoted} would lose a part of these values: column {', '.join(lost)}: {fix}, or set "
            "spec.write.delete.archiveTo.lossy: true",
        )


def _refuse_lost(table: str, archive: str, lost: Sequence[str], had: Collection[str], fix: str) -> NoReturn:
    dropped = [name for name in lost if name in had]
    if dropped:
        what = (
            f"{archive} lost column {_named(dropped)} while this worker ran, so what {table} holds there would be lost"
        )
    else:
        what = f"{table} got column {_named(lost)} while this worker ran, and its archive has none, so what the column holds would be lost"
    raise SweepFailure("ArchiveMismatch", f"{what}: {fix}")


def _named(names: Sequence[str]) -> str:
    return ", ".join('"' + name.replace('"', '""') + '"' for name in names)


def missing_columns(plan: Plan, indexes: Collection[tuple[str, ...]]) -> tuple[str, ...]:
    """The columns of an index that would find the stale rows; none where the table has such an index."""
    times = time_columns(plan.match)
    equal = tuple(match.column for match in plan.match if match.op == "in" and match.column not in times)
    columns = (*equal, *times[:1])
    return () if any(index[: len(columns)] == columns for index in indexes) else columns


def unique_hint(candidates: Sequence[Sequence[str]]) -> str:
    """The line of the spec for the first usable key, or a description of such a key."""
    for columns in candidates:
        return f"set spec.source.key: [{', '.join(columns)}], which is unique"
    return "name 1 to 4 unique NOT NULL columns in spec.source.key"
