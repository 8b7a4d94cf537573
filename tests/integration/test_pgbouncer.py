"""Through PgBouncer in transaction mode: the application gets the same server connections, without any setting of a sweep."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from kubesweep.api.plan import Assignment, Effect, Match, Plan, Session, Source, Write
from kubesweep.errors import Outage, RowError
from kubesweep_worker.sources import open_source
from kubesweep_worker.sources.base import Predicate, Range
from tests.integration.pooler import PROGRAM, Pooler, pgbouncer
from tests.integration.postgres import Server

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="this machine has no PgBouncer")
OWN = {"TimeZone": "Asia/Tokyo", "DateStyle": "German, DMY", "IntervalStyle": "iso_8601", "bytea_output": "escape"}
# PgBouncer keeps application_name for a client that sets none.
SETTINGS = (
    "SELECT name, setting FROM pg_settings WHERE context <> 'internal' AND name <> 'application_name' ORDER BY name"
)
LEFT = "SELECT (SELECT count(*) FROM pg_prepared_statements) + (SELECT count(*) FROM pg_cursors) + (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())"


@pytest.fixture(scope="module")
def pooler(postgres_server: Server) -> Iterator[Pooler]:
    with pgbouncer(postgres_server) as running:
        yield running


@pytest.fixture
def url(pooler: Pooler, database: str) -> str:
    with psycopg.connect(database, autocommit=True) as app:
        for name, value in OWN.items():
            app.execute(f"ALTER DATABASE \"{app.info.dbname}\" SET {name} = '{value}'".encode())
        app.execute(
            "CREATE TABLE things (id int PRIMARY KEY, state text NOT NULL, at timestamptz NOT NULL, gone interval);"
            "INSERT INTO things SELECT n, 'open', '2026-01-01 00:00+00', '90 days' FROM generate_series(1, 100) AS n"
        )
    return pooler.url(database)


def through(url: str, sql: str) -> list[Any]:
    """The settings that the application sees; it prepares no statements."""
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as app:
        return list(app.execute(sql.encode()).fetchall())


def a_plan(**changes: Any) -> Plan:
    fields: dict[str, Any] = {
        "source": Source(table="things", session=Session(time_zone="UTC", date_style="ISO, MDY")),
        "match": (Match("in", "state", ("open",)), Match("before", "at", offset=60.0)),
        "effect": Effect(columns=("id", "at", "gone"), handler="a:b"),
        "write": Write(update=(Assignment("state", value="closed"), Assignment("gone", sql="t.gone + '1 day'"))),
    }
    return Plan(namespace="d", name="n", uid="u", **fields | changes)


async def test_a_sweep_leaves_nothing_behind_in_the_connection(url: str) -> None:
    before = through(url, SETTINGS)
    source = open_source(a_plan(), lambda: url)
    await source.inspect()
    cutoff, last = await source.bounds()
    await source.explain(cutoff)
    await source.try_write(cutoff)
    assert await source.count(Predicate(cutoff), 1000) == 100
    cuts = await source.cut(Predicate(cutoff), None, 10, 100, last)
    try:
        for cut in cuts.cuts:
            assert len(await source.stale(cut.scope, Predicate(cutoff), 100)) == 10
            assert (await source.write(cut.scope, Predicate(cutoff))).applied == 10
            assert through(url, SETTINGS) == before
            assert through(url, LEFT) == [(0,)]
    finally:
        await source.close()
    assert through(url, "SELECT count(*) FROM things WHERE gone = 'P91D'") == [(100,)]


async def test_nothing_is_left_behind_by_what_fails(url: str) -> None:
    before = through(url, SETTINGS)
    failing = a_plan(write=Write(update=(Assignment("state", sql="(1 / (t.id - 1))::text"),)))
    slow = a_plan(
        source=Source(table="things", statement_timeout=0.1),
        write=Write(update=(Assignment("state", sql="(SELECT 'closed' FROM pg_sleep(5))"),)),
    )
    for plan, error in ((failing, RowError), (slow, Outage)):
        source = open_source(plan, lambda: url)
        await source.inspect()
        with pytest.raises(error):
            await source.write(Range(), Predicate(await source.now()))
        await source.close()
        assert through(url, SETTINGS) == before
        assert through(url, LEFT) == [(0,)]


async def test_another_session_between_two_calls_changes_nothing(url: str) -> None:
    """An application that leaves its settings in the session: a sweep does not use them."""
    source = open_source(a_plan(), lambda: url)
    await source.inspect()
    cutoff = await source.now()
    keys = await source.keys(Range(), Predicate(cutoff))
    rows = await source.stale(Range(), Predicate(cutoff), 3)
    through(url, "SELECT set_config('TimeZone', 'America/New_York', false), set_config('DateStyle', 'SQL, DMY', false)")
    assert await source.keys(Range(), Predicate(cutoff)) == keys
    assert await source.stale(Range(), Predicate(cutoff), 3) == rows
    await source.close()
