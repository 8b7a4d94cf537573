"""Whether a schedule keeps up, from real sweeps of a PostgreSQL table."""

from __future__ import annotations

import time
from datetime import timedelta

import psycopg
import pytest

from kubesweep.api.plan import RowLimits
from kubesweep.backlog import Rating, backlog_of, keeping_up
from kubesweep.queue.model import SweepState
from kubesweep_worker.jobs import stale_rows
from tests.integration.cart_site import Site, cart_plan, carts
from tests.kits.deadlines import scaled

DAY = 86_400.0


def insert(site: Site, rows: int) -> None:
    with psycopg.connect(site.url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO carts SELECT (SELECT max(id) FROM carts) + i, 'old', NULL FROM generate_series(1, %s) i",
            (rows,),
        )


async def test_a_cap_below_the_inflow_falls_behind_and_without_it_the_backlog_is_empty(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs of a window run at the same time, and none of them writes before the rows are counted."""
    monkeypatch.setattr(stale_rows, "BOUND", scaled(60))
    carts(site.url, 500)
    began = time.time()
    capped = cart_plan(limits=RowLimits(batch_rows=10, max_rows_per_sweep=100))
    for _ in range(3):
        stats = await site.sweep(capped)
        insert(site, 200)
    assert stats.sweep is not None
    assert (stats.sweep.capped, stats.sweep.applied, stats.sweep.stale) == (True, 100, 700)
    now = time.time()
    found = backlog_of(stats, now)
    assert found is not None
    assert found.rows == 600
    assert found.oldest is not None
    assert abs(found.oldest - (began - DAY)) < now - began + timedelta(minutes=1).total_seconds()
    assert found.inflow is not None
    assert found.outflow is not None
    assert found.inflow > found.outflow > 0
    assert keeping_up(stats, found, now).reason is Rating.FALLING_BEHIND

    whole = cart_plan(limits=RowLimits(batch_rows=50))
    for rows in (1, 2, 3):
        insert(site, rows)
        stats = await site.sweep(whole)
    assert stats.sweep is not None
    assert stats.sweep.state is SweepState.COMPLETED
    found = backlog_of(stats, time.time())
    assert found is not None
    assert (found.rows, found.oldest, found.empty) == (0, None, stats.sweep.finished)
    assert keeping_up(stats, found, time.time()).status is True


async def test_a_large_table_without_an_index_is_swept_and_the_answer_names_the_index(site: Site) -> None:
    carts(site.url, 120_000)
    with psycopg.connect(site.url, autocommit=True) as connection:
        connection.execute("UPDATE carts SET status = 'new' WHERE id > 30")
        connection.execute("VACUUM ANALYZE carts")
    stats = await site.sweep(cart_plan())
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied, stats.sweep.oldest) == (SweepState.COMPLETED, 30, None)
    index = 'CREATE INDEX CONCURRENTLY ON "public"."carts" ("status", "at");'
    assert stats.sweep.oldest_unknown == f'finding it would read all of "public"."carts": {index}'
    assert index in keeping_up(stats, backlog_of(stats, time.time()), time.time()).message
