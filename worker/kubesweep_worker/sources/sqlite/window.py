"""Cut a window on SQLite: the next stale keys in key order, or page by page where that exceeds the timeout."""

from __future__ import annotations

import sqlite3

from kubesweep.queue.model import Key
from kubesweep_worker.sources.base import Cut, Cuts, Keys, Predicate, Range
from kubesweep_worker.sources.paging import Page
from kubesweep_worker.sources.sqlite.statements import SqliteStatements

SPAN = 10  # a range job reads at most this many rows for each stale one


def cut(
    c: sqlite3.Connection,
    sql: SqliteStatements,
    predicate: Predicate,
    behind: Range,
    batch: int,
    most: int,
) -> Cuts:
    keys = _stale_keys(c, sql, predicate, behind, most)
    cuts = []
    for start in range(0, len(keys), batch):
        part = keys[start : start + batch]
        span = Range(behind.low if start == 0 else keys[start - 1], part[-1])
        [(rows,)] = c.execute(sql.span(span, SPAN * len(part) + 1))
        cuts.append(Cut(span if rows <= SPAN * len(part) else Keys(tuple(part)), len(part)))
    return Cuts(tuple(cuts), len(keys), keys[-1] if len(keys) == most else None)


def _stale_keys(
    c: sqlite3.Connection, sql: SqliteStatements, predicate: Predicate, behind: Range, most: int
) -> list[Key]:
    """Stale keys in key order. An index of the match finds them where there are few; otherwise a scan along the key does."""
    if behind == Range(None, behind.high) and sql.finds_by_index(c, predicate.cutoff):
        found: list[Key] = c.execute(sql.match_search(behind, predicate, most)).fetchall()
        if len(found) <= most:
            return found
    return c.execute(sql.keys(behind, predicate, most)).fetchall()


def page(
    c: sqlite3.Connection,
    sql: SqliteStatements,
    predicate: Predicate,
    behind: Range,
    most: int,
    rows: int,
) -> Page:
    """At most ``most`` stale keys among the next ``rows`` rows of the table. See paging.py."""
    end = c.execute(sql.nth(behind, rows)).fetchone()
    keys = tuple(c.execute(sql.keys(Range(behind.low, end or behind.high), predicate, most)))
    if len(keys) == most:
        return Page(keys, rows, keys[-1])
    return Page(keys, rows, end)
