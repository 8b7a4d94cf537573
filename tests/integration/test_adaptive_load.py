"""A sweep puts as much load on a real database and a real receiver as they can take: batches and calls at once."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import psycopg
import pytest
from aiohttp import web

from kubesweep.api.plan import Effect, RetryPolicy, RowLimits, Source, Webhook
from kubesweep.queue.model import Pace, SweepState
from kubesweep_worker.sources.base import Predicate, Scope, Written
from kubesweep_worker.sources.postgres.source import PostgresSource
from kubesweep_worker.sources.sqlite.source import SqliteSource
from tests.integration.cart_site import Site, cart_plan, carts
from tests.integration.receivers import receiver
from tests.integration.test_worker_handlers import handler_plan, run
from tests.kits.deadlines import scaled

CEILING = 200
POSTGRES_SLOW = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(0.005); RETURN NEW; END$$;
CREATE TRIGGER slow BEFORE UPDATE ON carts FOR EACH ROW EXECUTE FUNCTION slow();
"""
SQLITE_SLOW = """
CREATE TRIGGER slow BEFORE UPDATE ON carts BEGIN SELECT (
    WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 5000) SELECT count(*) FROM c
); END;
"""  # at least half a millisecond


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows of each batch that a source writes."""
    found: list[int] = []

    def watch(source: type[PostgresSource] | type[SqliteSource]) -> None:
        write = source.write

        async def watched(self: Any, scope: Scope, predicate: Predicate, *, skip_locked: bool = False) -> Written:
            found.append(scope.expected)
            return await write(self, scope, predicate, skip_locked=skip_locked)

        monkeypatch.setattr(source, "write", watched)

    watch(PostgresSource)
    watch(SqliteSource)
    return found


async def test_batches_shrink_while_a_trigger_of_postgres_is_slow_and_grow_back(site: Site, sizes: list[int]) -> None:
    carts(site.url, 1000)
    plan = cart_plan(limits=RowLimits(batch_rows=CEILING, batch_time=0.1))
    with psycopg.connect(site.url, autocommit=True) as connection:
        connection.execute(POSTGRES_SLOW.encode())
        stats = await site.sweep(plan)
        assert stats.sweep is not None
        assert (stats.sweep.state, stats.sweep.applied) == (SweepState.COMPLETED, 1000)
        assert sizes[0] == CEILING
        assert max(sizes[10:]) <= 20  # 100 ms
        sizes.clear()
        connection.execute("DROP TRIGGER slow ON carts")
        connection.execute("DELETE FROM carts")
        connection.execute("INSERT INTO carts SELECT i, 'old', NULL FROM generate_series(1, 6000) i")
    await site.sweep(cart_plan(limits=RowLimits(batch_rows=CEILING, batch_time=5.0)))  # on a machine of any speed
    assert max(sizes[:2]) <= 24
    assert max(sizes[-5:]) == CEILING
    assert site.statuses() == {"new": 6000}


async def test_batches_shrink_while_a_trigger_of_sqlite_is_slow(site: Site, sizes: list[int], tmp_path: Path) -> None:
    site.url = f"sqlite:///{tmp_path / 'carts.db'}"
    with sqlite3.connect(tmp_path / "carts.db") as connection:
        connection.executescript("CREATE TABLE carts (id INTEGER PRIMARY KEY, status TEXT NOT NULL, at TEXT NOT NULL)")
        connection.executemany("INSERT INTO carts VALUES (?, 'old', '2020-01-01')", ((n,) for n in range(1000)))
        connection.executescript(SQLITE_SLOW)
    connection.close()
    plan = cart_plan(source=Source(table="carts"), limits=RowLimits(batch_rows=CEILING, batch_time=0.01))
    stats = await site.sweep(plan)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied) == (SweepState.COMPLETED, 1000)
    assert sizes[0] == CEILING
    assert max(sizes[-10:]) <= 25


async def test_a_new_batch_time_applies_to_the_jobs_that_run(site: Site, sizes: list[int]) -> None:
    carts(site.url, 1000)
    with psycopg.connect(site.url, autocommit=True) as connection:
        connection.execute(POSTGRES_SLOW.encode())
    plan = cart_plan(limits=RowLimits(batch_rows=CEILING, batch_time=30.0))
    await site.open(plan)
    async with asyncio.timeout(scaled(60)):
        running = asyncio.create_task(site.worker(plan).run(until_settled=True))
        while not sizes:
            await site.queue.wait(plan.ref, 0.01)
        await site.queue.set_pace(plan.ref, Pace.of(None, batch_time=0.02))
        assert await running == 0
    assert site.statuses() == {"new": 1000}
    assert sizes[0] == CEILING
    assert max(sizes[-10:]) <= 4


async def test_a_receiver_that_rejects_calls_gets_fewer_at_once_until_it_takes_them_again(tmp_path: Path) -> None:
    rows, taken, most, ceiling = 900, 60, 2, 8
    inside = accepted = rejected = 0
    loads: list[int] = []  # calls at once, at each call after the receiver takes all of them

    async def answer(_: web.Request) -> web.Response:
        nonlocal inside, accepted, rejected
        inside += 1
        try:
            if accepted >= taken:
                loads.append(inside)
            elif inside > most:
                rejected += accepted > taken // 2
                return web.Response(status=429)
            accepted += 1
            await asyncio.sleep(0.05)  # what a call takes
            return web.Response()
        finally:
            inside -= 1

    async with receiver(answer) as url:
        effect = Effect(columns=("id",), webhook=Webhook(url), concurrency=ceiling)
        plan = handler_plan("", effect=effect, retry=RetryPolicy(max_attempts=20, backoff=0.1, max_backoff=0.2))
        async with asyncio.timeout(scaled(60)):
            stats, dead, _ = await run(tmp_path, plan, rows, backoff=0.02, max_backoff=0.05)
    assert stats.sweep is not None
    assert (stats.sweep.applied + stats.sweep.retrying, dead) == (rows, ())
    assert rejected <= taken // 2 // 4  # of the calls after the first half
    assert max(loads[:10]) <= most + 1
    assert max(loads) == ceiling
