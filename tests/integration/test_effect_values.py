"""The values that an effect gets from a real database; one that cannot be converted refuses only its own row."""

from __future__ import annotations

import asyncio
import datetime as dt
import decimal
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from aiohttp import web

from kubesweep.api.plan import Assignment, Effect, Match, Plan, RetryPolicy, Source, Webhook, Write
from kubesweep.queue.connect import connect
from kubesweep.queue.model import DeadLetter, Stats, SweepRequest, SweepState
from kubesweep_worker.row_values import iso_duration, python_values
from kubesweep_worker.runtime.build import build_worker
from kubesweep_worker.settings import WorkerSettings
from kubesweep_worker.sources import open_source
from kubesweep_worker.sources.base import Predicate, Range
from tests.integration.postgres import Server
from tests.integration.receivers import receiver
from tests.kits.deadlines import scaled

DEEP = f"{'[' * 1200}{']' * 1200}"
NINES = "9" * 5000


def value_plan(url: str = "http://127.0.0.1:1/", columns: tuple[str, ...] = ("x",)) -> Plan:
    return Plan(
        namespace="default",
        name="values",
        uid="u",
        source=Source(table="things"),
        match=(Match("in", "status", ("old",)),),
        effect=Effect(columns=columns, webhook=Webhook(url, timeout=5.0)),
        write=Write(update=(Assignment("status", "new"),)),
        retry=RetryPolicy(max_attempts=1),
    )


async def swept(
    folder: Path, database: str, columns: tuple[str, ...] = ("x",)
) -> tuple[Stats, tuple[DeadLetter, ...], dict[str, str]]:
    """One sweep of the table: the queue's counts, the dead rows, and the text of each request's ``row`` by key."""
    bodies: dict[str, str] = {}

    async def answer(request: web.Request) -> web.Response:
        text = await request.text()
        head, _, row = text.partition('"row":')  # not parsed: some of it is too deep for Python
        bodies[json.loads(head + '"row":0}')["key"][0]] = row[:-1]
        return web.Response()

    where = f"sqlite:///{folder / 'queue.db'}"
    queue = connect(where)
    try:
        async with receiver(answer) as base:
            plan = value_plan(base + "/hook", columns)
            await queue.open_sweep(plan.ref, SweepRequest(tick=1.0, plan=plan.version))
            async with asyncio.timeout(scaled(60)):
                worker = build_worker(plan, url=lambda: database, queue_url=where, settings=WorkerSettings())
                await worker.run(until_settled=True)
        (stats,) = await queue.stats([plan.ref])
        return stats, await queue.dead_letters(plan.ref), bodies
    finally:
        await queue.close()


def execute(database: str, *statements: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def fill(database: str, kind: str, value: str) -> None:
    execute(
        database,
        f"CREATE TABLE things (id int PRIMARY KEY, status text, x {kind})",
        "INSERT INTO things SELECT n, 'old', NULL FROM generate_series(1, 5) AS n",
        f"UPDATE things SET x = {value} WHERE id = 3",
    )


SENT = [
    ("jsonb", """'{"n": 1.10000000000000000001}'""", '{"n": 1.10000000000000000001}'),
    ("jsonb", """'{"n": 123456789012345678901234567890}'""", '{"n": 123456789012345678901234567890}'),
    ("jsonb", "'1e400'", "1" + "0" * 400),
    ("jsonb", f"'{NINES}'", NINES),
    ("jsonb", f"'{DEEP}'", DEEP),
    ("json", """'{"a": 1, "a": "\\ud800"}'""", '{"a": 1, "a": "\\ud800"}'),
    ("jsonb[]", """ARRAY['{"n": 1.10}']::jsonb[]""", '[{"n": 1.10}]'),
    ("numeric", "1.10", '"1.10"'),
    ("bigint", "9007199254740993", "9007199254740993"),
    ("interval", "'1 year 2 mons -3 days 04:05:06.5'", '"P1Y2M-3DT4H5M6.5S"'),
    ("interval", "'-00:00:01.5'", '"PT-1.5S"'),
    ("interval", "'25:00:00'", '"PT25H"'),
    ("interval", "'0'", '"PT0S"'),
    ("interval", "'170000000 years'", '"P170000000Y"'),
    ("interval", "'infinity'", '"infinity"'),
    ("interval[]", "'{1 mon,NULL}'", '["P1M",null]'),
    ("float8", "'-Infinity'", '"-inf"'),
    ("timestamptz", "'infinity'", '"infinity"'),
    ("date", "'0044-03-15 BC'", '"0044-03-15 BC"'),
    ("tstzrange", "'[10000-01-01 00:00+00,)'", '"[10000-01-01 00:00:00+00, None)"'),
    ("timestamptz[]", "'{infinity}'", '["infinity"]'),
]


async def test_a_receiver_gets_every_value_without_loss(tmp_path: Path, database: str) -> None:
    columns = ", ".join(f"x{n} {kind}" for n, (kind, *_) in enumerate(SENT))
    values = ", ".join(f"x{n} = {value}" for n, (_, value, _) in enumerate(SENT))
    execute(
        database,
        f"CREATE TABLE things (id int PRIMARY KEY, status text, {columns})",
        "INSERT INTO things SELECT n, 'old' FROM generate_series(1, 2) AS n",
        f"UPDATE things SET {values} WHERE id = 1",
    )
    names = tuple(f"x{n}" for n in range(len(SENT)))
    stats, dead, bodies = await swept(tmp_path, database, names)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied, dead) == (SweepState.COMPLETED, 2, ())
    assert bodies["1"] == "{" + ",".join(f'"x{n}":{sent}' for n, (*_, sent) in enumerate(SENT)) + "}"
    assert json.loads(bodies["2"]) == dict.fromkeys(names)


async def test_a_value_that_the_database_cannot_compute_refuses_its_row_alone(tmp_path: Path, database: str) -> None:
    execute(
        database,
        "CREATE TABLE things (id int PRIMARY KEY, status text, part int, x int GENERATED ALWAYS AS (10 / part) VIRTUAL)",
        "INSERT INTO things SELECT n, 'old', 0 + (n <> 3)::int FROM generate_series(1, 5) AS n",
    )
    stats, dead, bodies = await swept(tmp_path, database)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied, sorted(bodies)) == (SweepState.COMPLETED, 4, ["1", "2", "4", "5"])
    assert [(letter.key, letter.message) for letter in dead] == [(("3",), "division by zero")]


async def test_bytes_that_are_not_utf_8_refuse_their_row_alone(tmp_path: Path, postgres_server: Server) -> None:
    first = postgres_server.create()
    execute(first, "CREATE DATABASE latin ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    database = first.replace("/" + urlsplit(first).path[1:] + "?", "/latin?")
    fill(database, "text", "E'caf\\xe9'")
    stats, dead, _ = await swept(tmp_path, database)
    postgres_server.drop(database)
    postgres_server.drop(first)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied, stats.sweep.dead) == (SweepState.COMPLETED, 4, 1)
    assert [letter.key for letter in dead] == [("3",)]
    assert "invalid byte sequence" in dead[0].message


async def test_bytes_that_are_not_utf_8_in_sqlite_refuse_their_row_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "t.db") as connection:
        connection.execute("CREATE TABLE things (id INTEGER PRIMARY KEY, status TEXT, x)")
        connection.executemany("INSERT INTO things VALUES (?, 'old', NULL)", [(n,) for n in range(1, 6)])
        connection.execute("UPDATE things SET x = CAST(x'636166e9' AS TEXT) WHERE id = 3")
    connection.close()
    stats, dead, _ = await swept(tmp_path, f"sqlite:///{tmp_path / 't.db'}")
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied, stats.sweep.dead) == (SweepState.COMPLETED, 4, 1)
    assert [(letter.key, letter.error) for letter in dead] == [(("3",), "NotJson")]
    assert dead[0].message == (
        'column "x" cannot be sent as JSON: its text is not valid Unicode (the database holds bytes that are not UTF-8)'
    )


READ: dict[str, tuple[str, str, Callable[[Any], bool]]] = {
    "a float that is exact": ("jsonb", "'[1.5, 1.10, 3]'", lambda x: x == [1.5, 1.1, 3] and type(x[1]) is float),
    "more digits than a float has": (
        "jsonb",
        "'[1.10000000000000000001]'",
        lambda x: x == [decimal.Decimal("1.10000000000000000001")],
    ),
    "more digits than an int takes": ("jsonb", f"'{NINES}'", lambda x: x == decimal.Decimal(NINES)),
    "half of a surrogate pair": ("json", "'\"\\ud800\"'", lambda x: x == "\ud800"),
    "an interval": (
        "interval",
        "'1 mon 00:00:01'",
        lambda x: x == dt.timedelta(days=30, seconds=1) and x.iso == "P1MT1S",
    ),
    "json in an array": ("jsonb[]", "ARRAY['[1]']::jsonb[]", lambda x: x == [[1]]),
}


@pytest.mark.parametrize("what", READ)
async def test_a_handler_gets_json_parsed_and_every_digit(database: str, what: str) -> None:
    kind, value, right = READ[what]
    fill(database, kind, value)
    source = open_source(value_plan(), lambda: database)
    rows = await source.stale(Range(), Predicate(await source.now()), 10)
    await source.close()
    assert right(python_values(rows[2].values)["x"])


async def test_json_that_is_too_deep_for_python_is_refused_by_the_name_of_its_column(database: str) -> None:
    fill(database, "jsonb", f"'{DEEP}'")
    source = open_source(value_plan(), lambda: database)
    rows = await source.stale(Range(), Predicate(await source.now()), 10)
    await source.close()
    with pytest.raises(Exception, match='the JSON of column "x" cannot be parsed: RecursionError'):
        python_values(rows[2].values)


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (dt.timedelta(), "PT0S"),
        (dt.timedelta(days=1, hours=2, seconds=3, microseconds=500000), "P1DT2H3.5S"),
        (-dt.timedelta(days=1, minutes=4), "P-1DT-4M"),
    ],
)
def test_a_timedelta_is_written_as_iso_8601(span: dt.timedelta, text: str) -> None:
    assert iso_duration(span) == text
