"""Conditions and identifiers of a plan mean what they say on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import psycopg
import pytest

from kubesweep.api.plan import Assignment, Effect, Match, Source, Write
from kubesweep.queue.model import Key
from kubesweep_worker.sources import open_source
from kubesweep_worker.sources.base import Keys, Predicate, Range
from tests.integration.postgres_plans import make_plan


@pytest.fixture
async def connection(database: str) -> AsyncIterator[psycopg.AsyncConnection[tuple[Any, ...]]]:
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as opened:
        yield opened


async def test_hostile_identifiers_and_values_are_only_names_and_values(
    database: str, connection: psycopg.AsyncConnection[tuple[Any, ...]]
) -> None:
    table, key, status, at = "a\"b'; DROP TABLE x; --", "k:k %s $1 ", 'Stätüs"\\', "x" * 63
    quoted = [f'"{name.replace(chr(34), chr(34) * 2)}"' for name in (table, key, status, at)]
    value = "it's \\'; -- %s"
    await connection.execute(
        f"CREATE TABLE {quoted[0]} ({quoted[1]} text PRIMARY KEY, {quoted[2]} text, {quoted[3]} timestamptz)".encode()
    )
    async with psycopg.AsyncRawCursor(connection) as cursor:
        await cursor.execute(
            f"INSERT INTO {quoted[0]} VALUES ($1, $1, '2026-01-01'), ('b', 'b', '2026-01-01')".encode(), (value,)
        )
    source = open_source(
        make_plan(
            source=Source(table=table, key=(key,)),
            match=(Match("in", status, (value,)), Match("before", at)),
            write=Write(update=(Assignment(status, value="done\\"),)),
            effect=Effect(columns=(status,), handler="a:b"),
        ),
        lambda: database,
    )
    await source.inspect()
    cutoff = await source.now()
    window = await source.cut(Predicate(cutoff), None, 10, 10)
    [row] = await source.stale(window.cuts[0].scope, Predicate(cutoff), 10)
    assert (row.key, dict(row.values)) == ((value,), {status: value})
    assert (await source.write(Keys((row.key,)), Predicate(cutoff))).applied == 1
    assert (await source.write(Keys((row.key,)), Predicate(cutoff, frozenset([row.key])))).applied == 0
    await source.close()


MATCHES = {
    "percent and casts and colons in sql": (
        Match("sql", sql="t.name LIKE '5%%' OR t.name::text = ':cutoff' -- no"),
        [1],
    ),
    "the cutoff in sql": (Match("sql", sql="t.aware < :cutoff::date"), [1, 2]),
    "an array slice in sql": (Match("sql", sql="(ARRAY[1,2,3])[1:2] = ARRAY[1,2] AND t.id = 3"), [3]),
    "an enum": (Match("in", "mood", ("sad", "it's")), [1, 2]),
    "jsonb": (Match("in", "data", ('{"a": 1, "b": [2]}',)), [1]),
    "numeric": (Match("in", "amount", ("1.50",)), [1]),
    "a varchar that is too long": (Match("in", "code", ("abcdef",)), []),
    "a char": (Match("in", "fixed", ("ab",)), [1]),
    "a domain": (Match("in", "own", ("7",)), [1]),
    "NULL": (Match("isNull", "amount"), [3]),
    "not NULL": (Match("isNull", "amount", is_null=False), [1, 2]),
    "an aware time, NULL is not stale": (Match("before", "aware", offset=3600.0), [1, 2]),
    "a naive time": (Match("before", "naive", offset=3600.0), [1, 2]),
    "a date": (Match("before", "day"), [1, 2]),
}


@pytest.mark.parametrize("kind", MATCHES)
async def test_a_condition_means_what_it_says(
    database: str, connection: psycopg.AsyncConnection[tuple[Any, ...]], kind: str
) -> None:
    await connection.execute(
        "CREATE TYPE mood AS ENUM ('sad', 'it''s', 'fine'); CREATE DOMAIN own AS integer CHECK (value > 0); "
        "CREATE TABLE things (id int PRIMARY KEY, name text, mood mood, data jsonb, amount numeric(8, 2), code varchar(3), "
        "fixed char(4), own own, aware timestamptz, naive timestamp, day date)"
    )
    await connection.execute(
        "INSERT INTO things VALUES (1, '5%%', 'sad', '{\"b\": [2], \"a\": 1}', 1.5, 'abc', 'ab', 7, '2026-01-01', '2026-01-01', '2026-01-01'), "
        "(2, 'x', 'it''s', '{}', 2, 'abc', 'b', 8, '2026-01-01', '2026-01-01', '2026-01-01'), "
        "(3, 'y', 'fine', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)"
    )
    match, expected = MATCHES[kind]
    source = open_source(make_plan(match=(match,), write=Write()), lambda: database)
    await source.inspect()
    assert await source.keys(Range(), Predicate("2026-02-01 00:00:00+00")) == tuple((str(n),) for n in expected)
    assert (await source.write(Range(), Predicate("2026-02-01 00:00:00+00"))).applied == len(expected)
    await source.close()


@pytest.mark.parametrize(("zone", "expected"), [("UTC", ()), ("Europe/Berlin", (("1",),)), ("America/Sao_Paulo", ())])
async def test_a_naive_time_is_in_the_zone_of_the_spec_to_the_microsecond(
    database: str, connection: psycopg.AsyncConnection[tuple[Any, ...]], zone: str, expected: tuple[Key, ...]
) -> None:
    await connection.execute(
        "CREATE TABLE things (id int PRIMARY KEY, at timestamp NOT NULL); "
        "INSERT INTO things VALUES (1, '2026-07-01 12:00:00.000001'), (2, '2026-07-01 12:00:00.000002')"
    )
    plan = make_plan(source=Source(table="things", naive_time_zone=zone), match=(Match("before", "at", offset=60.0),))
    source = open_source(msgspec.structs.replace(plan, write=Write()), lambda: database)
    assert await source.keys(Range(), Predicate("2026-07-01 10:01:00.000002+00")) == expected
    await source.close()
