"""Locks and timeouts of real databases are those of the rows that cause them."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import psycopg
import pytest

from kubesweep.api.plan import Match, Plan, RetryPolicy, RowLimits, Source, Write
from kubesweep.errors import Outage, ScopeOutage
from kubesweep.queue.model import SweepState
from kubesweep_worker.sources.base import Predicate, Range
from kubesweep_worker.sources.postgres.source import PostgresSource
from tests.integration.cart_site import Site, cart_plan, carts
from tests.kits.deadlines import scaled

CHILDREN = """
CREATE TABLE lines (id bigint PRIMARY KEY, cart bigint NOT NULL REFERENCES carts ON DELETE CASCADE);
CREATE INDEX ON lines (cart);
INSERT INTO lines SELECT id, id FROM carts;
"""
SLOW = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN IF OLD.id = ANY (ARRAY[{rows}]) THEN PERFORM pg_sleep({seconds}); END IF; RETURN OLD; END$$;
CREATE TRIGGER slow BEFORE DELETE ON carts FOR EACH ROW EXECUTE FUNCTION slow();
"""


def deleting(**changes: Any) -> Plan:
    source = Source(table="carts", schema="public", lock_timeout=0.02, statement_timeout=0.2)
    return cart_plan(**{"write": Write(children=True), "source": source} | changes)


def left(url: str) -> list[int]:
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute("SELECT id FROM carts ORDER BY id").fetchall()]


def execute(url: str, statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statements.encode())


async def test_a_locked_child_row_holds_its_own_row_only(site: Site) -> None:
    carts(site.url, 1000)
    execute(site.url, CHILDREN)
    plan = deleting()
    with psycopg.connect(site.url) as application:
        application.execute("SELECT 1 FROM lines WHERE id IN (5, 700) FOR UPDATE")
        stats = await site.sweep(plan)
        assert stats.sweep is not None
        assert (stats.sweep.state, stats.sweep.applied, stats.sweep.retrying) == (SweepState.COMPLETED, 998, 2)
        assert left(site.url) == [5, 700]
        assert (await site.sweep(plan)).sweep.state is SweepState.COMPLETED  # type: ignore[union-attr]
    await site.worker(plan).run(until_settled=True, await_retries=True)
    assert left(site.url) == []
    assert (await site.stats(plan)).dead == 0


async def test_a_table_that_the_application_locks_costs_nothing(site: Site) -> None:
    carts(site.url, 1000)
    execute(site.url, CHILDREN)
    plan = deleting()
    await site.open(plan)
    with psycopg.connect(site.url) as application:
        application.execute("LOCK TABLE lines IN EXCLUSIVE MODE")
        running = asyncio.create_task(site.worker(plan).run(until_settled=True))
        while not any((f.kind, f.reason) == ("SourceReady", "Locked") for f in (await site.stats(plan)).findings):
            assert not running.done()
            await site.queue.wait(plan.ref, 0.02)
        assert (await site.stats(plan)).excluded == 0
    async with asyncio.timeout(scaled(60)):
        await running
    stats = await site.stats(plan)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.excluded, left(site.url)) == (SweepState.COMPLETED, 0, [])


async def test_a_row_whose_delete_takes_too_long_is_dead_lettered_and_the_others_go(site: Site) -> None:
    carts(site.url, 1000)
    execute(site.url, SLOW.format(rows="5, 700", seconds=30))
    plan = deleting()
    stats = await site.sweep(plan, retries=True)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied, stats.sweep.dead) == (SweepState.COMPLETED, 998, 2)
    assert left(site.url) == [5, 700]
    letters = await site.queue.dead_letters(plan.ref)
    assert {letter.error for letter in letters} == {"StatementTimeout"}
    assert all("statementTimeout (0.2 s)" in letter.message for letter in letters)


async def test_a_batch_that_takes_too_long_is_written_in_pieces(site: Site) -> None:
    carts(site.url, 600)
    execute(site.url, SLOW.format(rows=", ".join(str(n) for n in range(1, 601)), seconds=0.002))
    stats = await site.sweep(deleting())
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied, stats.excluded) == (SweepState.COMPLETED, 600, 0)


async def test_a_statement_that_an_administrator_cancels_is_no_timeout(site: Site) -> None:
    carts(site.url, 1)
    execute(site.url, SLOW.format(rows="1", seconds=30))
    source = Source(table="carts", schema="public", lock_timeout=0.02, statement_timeout=600.0)
    database = PostgresSource(deleting(source=source), lambda: site.url)
    cutoff = await database.now()
    writing = asyncio.create_task(database.write(Range(), Predicate(cutoff)))
    with psycopg.connect(site.url, autocommit=True) as administrator:
        cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
        while not administrator.execute(cancel.encode()).fetchall():
            await site.queue.wait(deleting().ref, 0.01)
    with pytest.raises(Outage) as caught:
        await writing
    await database.close()
    assert caught.value.reason == "StatementCancelled"
    assert not isinstance(caught.value, ScopeOutage)


async def test_a_slow_row_of_sqlite_is_dead_lettered_and_the_others_go(site: Site, tmp_path: Path) -> None:
    site.url = f"sqlite:///{tmp_path / 'carts.db'}"
    with sqlite3.connect(tmp_path / "carts.db") as connection:
        connection.executescript(
            """
            CREATE TABLE carts (id INTEGER PRIMARY KEY, status TEXT NOT NULL);
            CREATE TABLE sink (n INTEGER);
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)
                INSERT INTO carts SELECT i, 'old' FROM n;
            CREATE VIEW forever AS
                WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n;
            CREATE TRIGGER slow BEFORE DELETE ON carts WHEN OLD.id = 5 BEGIN
                INSERT INTO sink SELECT i FROM forever WHERE i < 0;
            END;
            """
        )
    plan = deleting(
        match=(Match("in", "status", ("old",)),),
        source=Source(table="carts", statement_timeout=0.2),
        limits=RowLimits(batch_rows=100),
    )
    stats = await site.sweep(plan, retries=True)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied, stats.sweep.dead) == (SweepState.COMPLETED, 199, 1)
    (letter,) = await site.queue.dead_letters(plan.ref)
    assert (letter.key, letter.error) == (("5",), "StatementTimeout")


async def test_a_flood_of_rows_that_cannot_be_deleted_hides_none_of_those_behind(site: Site) -> None:
    """Also in later sweeps, although more rows fail than deadLetters.haltAbove allows."""
    carts(site.url, 400)
    execute(site.url, "CREATE TABLE lines AS SELECT id, id AS cart FROM carts WHERE id <= 250")
    execute(site.url, "ALTER TABLE lines ADD FOREIGN KEY (cart) REFERENCES carts")
    plan = deleting(halt_above=100, retry=RetryPolicy(max_attempts=1))
    stats = await site.sweep(plan)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.reason) == (SweepState.HALTED, "TooManyFailedRows")
    assert (stats.sweep.applied, stats.sweep.dead, stats.sweep.skipped) == (150, 100, 150)
    assert left(site.url) == list(range(1, 251))
    blocked = {int(key[0]) for key in (await site.queue.excluded(plan.ref)).keys}
    free = sorted(set(left(site.url)) - blocked)[-10:]
    execute(site.url, f"DELETE FROM lines WHERE cart IN ({', '.join(map(str, free))})")
    stats = await site.sweep(plan)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied) == (SweepState.HALTED, 10)
    assert left(site.url) == [row for row in range(1, 251) if row not in free]
