"""Plans and tables with times, for tests on both databases."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg

from kubesweep.api.plan import Match, Plan, Source, Write
from kubesweep_worker.sources import open_source
from kubesweep_worker.sources.base import Predicate, Range

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


PG_CUTOFF, LITE_CUTOFF = "2026-03-01 00:00:00.5+00", "2026-03-01 00:00:00.500"


SECONDS = 1772323200  # of 2026-03-01 00:00 UTC


def a_plan(*match: Match, **changes: Any) -> Plan:
    fields: dict[str, Any] = {"source": Source(table="things"), "write": Write(), **changes}
    return Plan(namespace="d", name="n", uid="u", match=match, **fields)


async def stale_on_postgres(database: str, *match: Match, cutoff: str = PG_CUTOFF) -> list[str]:
    source = open_source(a_plan(*match), lambda: database)
    try:
        await source.inspect()
        return [key for (key,) in await source.keys(Range(), Predicate(cutoff))]
    finally:
        await source.close()


async def stale_on_sqlite(path: Path, *match: Match, cutoff: str = LITE_CUTOFF) -> list[str]:
    source = open_source(a_plan(*match), lambda: f"sqlite:///{path}")
    try:
        await source.inspect()
        return [key for (key,) in await source.keys(Range(), Predicate(cutoff))]
    finally:
        await source.close()


def lite(folder: Path, *statements: str) -> Path:
    with closing(sqlite3.connect(folder / "a.db", isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)
    return folder / "a.db"
