"""Tables that one statement cannot read in time: the window is cut page by page, and every stale row is found."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest

from kubesweep.api.plan import Match, Source
from kubesweep.errors import Outage
from kubesweep.queue.model import Key
from kubesweep_worker.sources import open_source
from kubesweep_worker.sources.base import Cut, InspectableSource, Keys, Predicate, Range
from kubesweep_worker.sources.paging import Page, PageSize, cut_pages
from kubesweep_worker.sources.postgres.pool import Transaction
from kubesweep_worker.sources.postgres.source import SNAPSHOT
from kubesweep_worker.sources.postgres.window import cut
from tests.integration.postgres_plans import make_plan

Connection = psycopg.AsyncConnection[tuple[Any, ...]]
SLOW = Match("sql", sql="slow(t.id)")
# Three seconds for all rows, and a statement may take one.
TABLE = """
CREATE FUNCTION slow(bigint) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.005); RETURN $1 % 7 <> 0; END $$;
CREATE TABLE things (id bigint PRIMARY KEY, status text NOT NULL, expires_at timestamptz);
INSERT INTO things SELECT n, 'pending', now() - interval '1 day' FROM generate_series(1, 600) AS n; ANALYZE things;
"""
HASTY = Source(table="things", statement_timeout=1.0)


@pytest.fixture
async def app(database: str) -> AsyncIterator[Connection]:
    """The application whose table is swept."""
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as opened:
        await opened.execute(TABLE)
        yield opened


async def every_cut(source: InspectableSource, cutoff: str, batch: int, most: int) -> list[Cut]:
    cuts: list[Cut] = []
    after: Key | None = None
    while True:
        window = await source.cut(Predicate(cutoff, frozenset({("5",)})), after, batch, most)
        assert window.rows == sum(part.rows for part in window.cuts) <= most
        cuts += window.cuts
        after = window.cursor
        if after is None:
            return cuts


async def test_a_window_that_outlasts_the_timeout_is_cut_page_by_page(database: str, app: Connection) -> None:
    source = open_source(make_plan(match=(SLOW,), source=HASTY), lambda: database)
    cutoff = await source.now()
    with pytest.raises(Outage):
        await source.count(Predicate(cutoff), 1000)
    cuts = await every_cut(source, cutoff, 100, 200)
    found = [key for part in cuts for key in await source.keys(part.scope, Predicate(cutoff, frozenset({("5",)})))]
    assert sorted(int(text) for (text,) in found) == [n for n in range(1, 601) if n % 7 and n != 5]
    assert sum(part.rows for part in cuts) == len(found)
    await source.close()


async def test_sqlite_cuts_page_by_page_too(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.executescript(
            "CREATE TABLE things (id INTEGER PRIMARY KEY, status TEXT);"
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 400) INSERT INTO things SELECT n, 'pending' FROM n"
        )
    spins = (
        "(WITH RECURSIVE n(n) AS (SELECT t.id UNION ALL SELECT n + 1 FROM n LIMIT 20000) SELECT count(*) FROM n) > 0"
    )
    plan = make_plan(match=(Match("in", "status", ("pending",)), Match("sql", sql=spins)), source=HASTY)
    source = open_source(plan, lambda: f"sqlite:///{tmp_path}/a.db")
    cutoff = await source.now()
    with pytest.raises(Outage):
        await source.count(Predicate(cutoff), 1000)
    cuts = await every_cut(source, cutoff, 100, 300)
    assert sum(part.rows for part in cuts) == 399
    assert all(part.rows <= 100 for part in cuts)
    await source.close()


def page_of(stale: set[int], rows: int) -> Any:
    async def ask(after: Key | None, most: int, span: int) -> Page:
        low = int(after[0]) if after else 0
        if span > 64:
            raise Outage("StatementTimeout", "too slow")
        walked = range(low + 1, min(low + span, rows) + 1)
        keys = tuple((str(n),) for n in walked if n in stale)[:most]
        if len(keys) == most:
            return Page(keys, span, keys[-1])
        return Page(keys, len(walked), (str(walked[-1]),) if len(walked) == span else None)

    return ask


@pytest.mark.parametrize("share", [1, 3, 50], ids=["all", "a third", "few"])
async def test_pages_that_time_out_get_smaller_and_lose_no_row(share: int) -> None:
    stale = {n for n in range(1, 1001) if n % share == 0}
    ticks = iter(range(10_000))
    stride = PageSize(1e9, lambda: float(next(ticks)) / 1000)
    found: list[Key] = []
    after: Key | None = None
    while True:
        window = await cut_pages(page_of(stale, 1000), stride, after, 10, 70)
        for part in window.cuts:
            scope = part.scope
            low, high = (scope.low, scope.high) if isinstance(scope, Range) else (None, None)
            span = range(int(low[0]) if low else 0, int(high[0]) if high else 0)
            inside = [(str(n + 1),) for n in span if n + 1 in stale]
            keys = list(scope.keys) if isinstance(scope, Keys) else inside
            assert len(keys) == part.rows <= 10
            found += keys
        after = window.cursor
        if after is None:
            break
    assert sorted(found) == sorted((str(n),) for n in stale)


async def test_a_page_of_one_row_that_times_out_is_an_outage() -> None:
    async def ask(after: Key | None, most: int, span: int) -> Page:
        raise Outage("StatementTimeout", "too slow")

    with pytest.raises(Outage):
        await cut_pages(ask, PageSize(1.0), None, 10, 70)


async def test_rows_deleted_while_a_window_is_cut_move_no_end_behind_rows_not_read(
    database: str, app: Connection
) -> None:
    """The two statements of a window see the same snapshot of the table."""
    await app.execute("UPDATE things SET status = 'live' WHERE id <> 400")
    plan = make_plan(match=(Match("in", "status", ("pending",)),), source=Source(table="things"))
    source: Any = open_source(plan, lambda: database)
    cutoff = await source.now()

    class Meddling:
        """The application deletes the first rows between the walk and the query for its end."""

        def __init__(self, tx: Any) -> None:
            self._tx = tx

        async def run(self, *statements: str) -> Any:
            if "n DESC" in statements[-1]:
                await app.execute("DELETE FROM things WHERE id BETWEEN 2 AND 395")
            return await self._tx.run(*statements)

    known = await source._learn()
    relation, statements = known.relation, known.statements
    never = replace(relation, rows=-1)  # not analysed: the window is walked
    async with source._pool.transaction((*source._settings, SNAPSHOT)) as tx:
        window = await cut(cast(Transaction, Meddling(tx)), never, statements, Predicate(cutoff), Range(), 10, 20)
    assert window.cursor is None or int(window.cursor[0]) < 400
    await source.close()
