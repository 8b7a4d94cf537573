"""The Postgres source against a real server: every stale row in exactly one cut, and written once."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from kubesweep.api.plan import Assignment, Match, Plan, Source, Write
from kubesweep.queue.model import Key
from kubesweep_worker.sources import open_source
from kubesweep_worker.sources.base import Cut, InspectableSource

STALE = (Match("in", "status", ("pending",)), Match("before", "expires_at", offset=60.0))
CLOSE = Write(update=(Assignment("status", value="expired"),))


def make_plan(**changes: Any) -> Plan:
    source = changes.pop("source", Source(table="things"))
    return Plan(
        **{
            "namespace": "default",
            "name": "close",
            "uid": "u",
            "source": source,
            "match": STALE,
            "write": CLOSE,
            **changes,
        }
    )


async def every_cut(source: InspectableSource, cutoff: str, held: set[Key], batch: int, most: int) -> list[Cut]:
    cuts: list[Cut] = []
    after: Key | None = None
    while True:
        window = await source.cut(cutoff, after, held, batch, most)
        cuts += window.cuts
        assert window.rows == sum(cut.rows for cut in window.cuts)
        if window.cursor is None:
            return cuts
        after = window.cursor


@pytest.fixture
async def connection(database: str) -> AsyncIterator[psycopg.AsyncConnection[tuple[Any, ...]]]:
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as opened:
        yield opened


KEYS = {
    "smallint": ("smallint", "(n - 700)::smallint"),
    "integer": ("integer", "n * 3 - 500"),
    "bigint": ("bigint", "n * 5000000000"),
    "uuid": ("uuid", "md5(n::text)::uuid"),
    "text in C": ('text COLLATE "C"', "chr(65 + n % 50) || n"),
    "text with marks": ("text", "'Ä\\\"{},'' ' || md5(n::text)"),
    "text in a collation of Unicode": ('text COLLATE "pg_c_utf8"', "md5(n::text)"),
    "varchar": ("varchar(40)", "md5(n::text)"),
    "char": ("char(10)", "'x' || n"),
    "date": ("date", "date '2020-01-01' - n"),
    "timestamp": ("timestamp", "timestamp '2020-01-01' - n * interval '1.000001 s'"),
    "timestamptz": ("timestamptz", "timestamptz '2020-01-01 00:00+02' - n * interval '1.000001 s'"),
    "numeric": ("numeric", "n / 7.0"),
}


@pytest.mark.parametrize("analysed", [True, False], ids=["analysed", "never analysed"])
@pytest.mark.parametrize("share", [0.5, 0.02], ids=["dense", "sparse"])
@pytest.mark.parametrize("kind", KEYS)
async def test_every_stale_row_is_in_exactly_one_cut(
    database: str, connection: psycopg.AsyncConnection[tuple[Any, ...]], kind: str, share: float, analysed: bool
) -> None:
    declared, expression = KEYS[kind]
    rng = random.Random(f"{kind}{share}")
    chosen = [n for n in range(1, 1501) if rng.random() < share]
    await connection.execute(
        f"CREATE TABLE things (id {declared} PRIMARY KEY, status text NOT NULL, expires_at timestamptz)"
    )
    await connection.execute(
        f"INSERT INTO things SELECT {expression}, CASE WHEN n = ANY ('{set(chosen) or {0}}'::int[]) THEN 'pending' ELSE 'live' END, "
        "now() - interval '1 day' FROM generate_series(1, 1500) AS n"
    )
    if analysed:
        await connection.execute("ANALYZE things")
    await check_cuts(database, connection, make_plan())


async def check_cuts(database: str, connection: psycopg.AsyncConnection[tuple[Any, ...]], plan: Plan) -> None:
    source = open_source(plan, lambda: database)
    try:
        table = await source.inspect()
        cutoff = await source.now()
        names = ", ".join(f'"{name}"::text' for name in table.key)
        cursor = await connection.execute(f"SELECT {names} FROM things WHERE status = 'pending'")
        expected = {tuple(row) for row in await cursor.fetchall()}
        held = set(sorted(expected)[::7])
        cuts = await every_cut(source, cutoff, held, 20, 100)
        found: list[Key] = []
        for cut in cuts:
            keys = await source.keys(cut.scope, cutoff, held)
            assert len(keys) == cut.rows
            assert 0 < cut.rows <= 20
            found += keys
        assert sorted(found) == sorted(expected - held)
        applied = [(await source.write(cut.scope, cutoff, held)).applied for cut in cuts]
        assert applied == [cut.rows for cut in cuts]
        assert [(await source.write(cut.scope, cutoff, held)).applied for cut in cuts] == [0] * len(cuts)
        assert await source.count(cutoff, (), 10_000) == len(held)
    finally:
        await source.close()
