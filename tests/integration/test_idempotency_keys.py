"""Idempotency-Keys are stable: the keys below are those of the first version and never change."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from kubesweep.api.plan import Effect, Match, Plan, Source, Write
from kubesweep_worker.effects.base import idempotency_key
from kubesweep_worker.sources import open_source
from kubesweep_worker.sources.base import Predicate, Range

UID = "6f1c1f1e-0000-5000-8000-000000000000"
POSTGRES = (
    "CREATE TABLE things (id bigint PRIMARY KEY, code text NOT NULL, status text, at timestamptz, plain timestamp, "
    "day date, counter int, UNIQUE (code, id))",
    "INSERT INTO things VALUES (7, 'ä \"x', 'old', '2026-01-02 03:04:05.678901+02', '2026-01-02 03:04:05', '2026-01-02')",
)
SQLITE = (
    "CREATE TABLE things (id INTEGER PRIMARY KEY, status TEXT, at TEXT, n INTEGER, counter INTEGER)",
    "INSERT INTO things VALUES (7, 'old', '2026-01-02T03:04:05Z', 1767000000, NULL)",
)
OLD = Match("in", "status", ("old",))
DAY = (Match("before", "plain"), Match("before", "day"))


def plan(*match: Match, key: tuple[str, ...] = (), named: tuple[str, ...] = ()) -> Plan:
    source, effect = Source(table="things", key=key), Effect(handler="m:f", key=named)
    return Plan(namespace="default", name="carts", uid=UID, source=source, match=match, effect=effect, write=Write())


async def key_of(plan: Plan, database: str) -> str:
    source = open_source(plan, lambda: database)
    (row,) = await source.stale(Range(), Predicate(await source.now()), 5)
    await source.close()
    return idempotency_key(plan.uid, row.key, row.stamp)


@pytest.fixture
def things(database: str) -> str:
    with psycopg.connect(database, autocommit=True) as connection:
        for statement in POSTGRES:
            connection.execute(statement.encode())
    return database


@pytest.fixture
def file(tmp_path: Path) -> str:
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.executescript(";".join(SQLITE))
    return f"sqlite:///{tmp_path / 'a.db'}"


async def test_the_keys_of_rows_in_postgres_are_what_they_always_were(things: str) -> None:
    assert await key_of(plan(OLD), things) == "8f11403b-92cc-5c7c-9ce6-ae039e4a3005"
    assert await key_of(plan(Match("before", "at")), things) == "047ad7f2-fad2-5d24-a813-787a05019251"
    assert await key_of(plan(*DAY, key=("id", "code")), things) == "d6888609-e3f7-5cbe-a6fc-70f59010c64f"


async def test_the_keys_of_rows_in_sqlite_are_what_they_always_were(file: str) -> None:
    assert await key_of(plan(OLD), file) == "8f11403b-92cc-5c7c-9ce6-ae039e4a3005"
    times = (Match("before", "at"), Match("before", "n"))
    assert await key_of(plan(*times), file) == "f57dd3f9-487c-5e81-ae22-50ba4f14a5ed"


async def test_a_named_column_makes_the_next_staleness_of_a_row_a_new_one_in_postgres(things: str) -> None:
    named = plan(OLD, Match("sql", sql="t.at < :cutoff"), named=("at", "counter"))
    first = await key_of(named, things)
    assert await key_of(named, things) == first
    with psycopg.connect(things, autocommit=True) as connection:
        connection.execute("UPDATE things SET at = at + interval '1 hour'")
    second = await key_of(named, things)
    with psycopg.connect(things, autocommit=True) as connection:
        connection.execute("UPDATE things SET counter = 1")
    assert len({first, second, await key_of(named, things)}) == 3


async def test_a_named_column_makes_the_next_staleness_of_a_row_a_new_one_in_sqlite(file: str) -> None:
    named = plan(OLD, named=("counter",))
    keys = {await key_of(named, file), await key_of(named, file)}
    assert len(keys) == 1
    with closing(sqlite3.connect(file.removeprefix("sqlite:///"))) as connection:
        connection.execute("UPDATE things SET counter = 1")
        connection.commit()
    assert await key_of(named, file) not in keys


async def test_named_columns_take_the_place_of_the_times_in_match(things: str) -> None:
    named = plan(Match("before", "at"), named=("counter",))
    first = await key_of(named, things)
    with psycopg.connect(things, autocommit=True) as connection:
        connection.execute("UPDATE things SET at = at - interval '1 hour'")
    assert await key_of(named, things) == first
