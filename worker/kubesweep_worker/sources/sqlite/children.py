"""The foreign keys that reference a table of a SQLite file, and the rows that violate them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace

from kubesweep_worker.sources.base import Predicate, Range
from kubesweep_worker.sources.children import SAMPLE, Child, Reference
from kubesweep_worker.sources.conditions import quote_name
from kubesweep_worker.sources.sqlite.catalog import SqliteTable
from kubesweep_worker.sources.sqlite.statements import SqliteStatements

DEEPEST = 8
KEYS = """
SELECT m.name, f.id, f."table", f."from", f."to", f.on_delete
FROM sqlite_master AS m, pragma_foreign_key_list(m.name) AS f
WHERE m.type = 'table' ORDER BY m.name, f.id, f.seq
"""


def read_children(c: sqlite3.Connection, table: SqliteTable) -> tuple[Reference, ...]:
    """The direct ones first, then those of tables whose rows are deleted by CASCADE."""
    keys: dict[tuple[str, int], list[tuple[str, str, str | None, str]]] = {}
    for name, number, parent, mine, its, action in c.execute(KEYS):
        keys.setdefault((str(name), int(number)), []).append((str(parent).lower(), str(mine), its, str(action)))
    found: list[Reference] = []
    parents = {table.name.lower()}
    for depth in range(1, DEEPEST + 1):
        following = set[str]()
        for name, number in [key for key, parts in keys.items() if parts[0][0] in parents]:
            parts = keys.pop((name, number))
            action = parts[0][3]
            columns = tuple(mine for _, mine, _, _ in parts)
            referred = tuple(str(its) for _, _, its, _ in parts if its is not None)
            found.append(Reference(Child("", quote_name(name), action, depth), columns, referred))
            if action == "CASCADE":
                following.add(name.lower())
        parents = following
    return tuple(found)


def count_children(
    c: sqlite3.Connection, sql: SqliteStatements, references: Sequence[Reference], cutoff: str
) -> tuple[Child, ...]:
    """The children with the number of rows that reference a few stale rows."""
    counted = []
    for each in references:
        if each.child.depth > 1:
            counted.append(each.child)
            continue
        referred = ", ".join(f"t.{quote_name(name)}" for name in each.referred or sql.key)
        where = sql.where(Range(), Predicate(cutoff))
        mine = ", ".join(f"c.{quote_name(name)}" for name in each.columns)
        few = f"SELECT {referred} FROM {sql.table} AS t WHERE {where} LIMIT {SAMPLE}"
        [(rows,)] = c.execute(f"SELECT count(*) FROM {each.child.table} AS c WHERE ({mine}) IN ({few})")
        counted.append(replace(each.child, rows=int(rows)))
    return tuple(counted)


def violations(c: sqlite3.Connection, table: SqliteTable, references: Sequence[Reference]) -> Iterator[tuple[str, str]]:
    """Warnings about rows that already violate a foreign key: SQLite enforces foreign keys only for programs that enable them."""
    for name in dict.fromkeys([quote_name(table.name), *(each.child.table for each in references)]):
        found = c.execute(f"PRAGMA foreign_key_check({name})").fetchone()
        if found is not None:
            yield (
                "foreign-key-violations",
                f"rows of {name} refer to rows of {quote_name(str(found[2]))} that do not exist, so the application does "
                "not enforce foreign keys, and a sweep does: correct them, or add ?foreign_keys=off to the URL",
            )
