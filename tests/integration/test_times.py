"""Times as numbers: the same rows on both databases, and none too early."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from kubesweep.api.plan import Match
from kubesweep_worker.sources import open_source
from tests.integration.time_tables import (
    LITE_CUTOFF,
    PG_CUTOFF,
    SECONDS,
    Connection,
    a_plan,
    lite,
    stale_on_postgres,
    stale_on_sqlite,
)

SIZES = {"seconds": 1, "milliseconds": 1000, "microseconds": 1_000_000}


@pytest.fixture
async def app(database: str) -> AsyncIterator[Connection]:
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as opened:
        yield opened


@pytest.mark.parametrize("unit", SIZES)
@pytest.mark.parametrize("declared", ["bigint", "numeric", "double precision"])
@pytest.mark.parametrize(("op", "year", "expected"), [("before", 2026, ["1", "2"]), ("after", 2126, ["4", "5"])])
async def test_numbers_count_from_1970_in_the_unit_of_the_spec(
    database: str, app: Connection, tmp_path: Path, unit: str, declared: str, op: Any, year: int, expected: list[str]
) -> None:
    """A forged cutoff in the future makes nothing stale that the database's clock has not reached."""
    size, midnight = SIZES[unit], round(datetime(year, 3, 1, tzinfo=UTC).timestamp())
    moments = (-86400, -1, 0, 1, 86400)  # seconds from midnight; the cutoff is half a second behind it
    rows = ", ".join(f"({n}, {(midnight + each) * size})" for n, each in enumerate(moments, 1))
    table = f"CREATE TABLE things (id int PRIMARY KEY, at {declared})"
    await app.execute(table.encode())
    await app.execute(f"INSERT INTO things VALUES {rows}, (6, NULL)".encode())
    path = lite(tmp_path, table, f"INSERT INTO things VALUES {rows}, (6, NULL)")
    match = Match(op, "at", unit=unit)
    if unit != "seconds" and op == "before":
        expected = ["1", "2", "3"]
    half = f"{year}-03-01 00:00:00.500"
    assert await stale_on_postgres(database, match, cutoff=f"{half}+00") == expected
    assert await stale_on_sqlite(path, match, cutoff=half) == expected


FORGED = {"before": "2999-01-01 00:00:00", "after": "1970-01-01 00:00:00"}


@pytest.mark.parametrize("op", FORGED)
async def test_nothing_is_due_by_a_cutoff_that_was_forged(
    database: str, app: Connection, tmp_path: Path, op: Any
) -> None:
    """Rows of half an hour ago and in half an hour, matched by an hour ago: write access to the queue alone makes none of them stale."""
    seconds = "extract(epoch FROM {})"
    kinds = {
        "stamp": "timestamptz",
        "naive": "timestamp",
        "day": "date",
        "whole": "bigint",
        "small": "integer",
        "real": "double precision",
    }
    table = ", ".join(f"{name} {kind}" for name, kind in kinds.items())
    await app.execute(f"CREATE TABLE things (id int PRIMARY KEY, {table})".encode())
    moment = "(now() - interval '30 minutes')" if op == "before" else "(now() - interval '90 minutes')"
    day = "(now() + interval '1 day')::date" if op == "before" else "(now() - interval '9 days')::date"
    values = [moment, f"{moment} AT TIME ZONE 'UTC'", day, *(f"{seconds.format(moment)}" for _ in range(3))]
    await app.execute(f"INSERT INTO things SELECT 1, {', '.join(values)}".encode())
    when = "-30 minutes" if op == "before" else "-90 minutes"
    path = lite(
        tmp_path,
        "CREATE TABLE things (id INTEGER PRIMARY KEY, stamp DATETIME, whole BIGINT, real REAL)",
        f"INSERT INTO things SELECT 1, datetime('now', '{when}'), strftime('%s', 'now', '{when}'), strftime('%s', 'now', '{when}')",
    )
    for name, kind in kinds.items():
        unit = "seconds" if kind in ("bigint", "integer", "double precision") else ""
        match = Match(op, name, offset=3600.0, unit=unit)
        assert await stale_on_postgres(database, match, cutoff=f"{FORGED[op]}+00") == [], name
        if name in ("stamp", "whole", "real"):
            assert await stale_on_sqlite(path, match, cutoff=FORGED[op]) == [], name
    if op == "before":
        for sql in (
            "t.stamp < :cutoff - interval '1 hour'",
            "t.naive < (:cutoff - interval '1 hour') AT TIME ZONE 'UTC'",
        ):
            assert await stale_on_postgres(database, Match("sql", sql=sql), cutoff=f"{FORGED[op]}+00") == []
        late = Match("sql", sql="t.stamp < datetime(:cutoff, '-1 hour')")
        assert await stale_on_sqlite(path, late, cutoff=FORGED[op]) == []


@pytest.mark.parametrize(("op", "expected"), [("before", ["1"]), ("after", [])])
async def test_a_moment_that_a_column_cannot_hold_means_all_rows_or_none(
    database: str, app: Connection, op: Any, expected: list[str]
) -> None:
    await app.execute(
        "CREATE TABLE things (id int PRIMARY KEY, at integer); INSERT INTO things VALUES (1, 5), (2, NULL)"
    )
    assert await stale_on_postgres(database, Match(op, "at", unit="milliseconds")) == expected


async def test_an_index_serves_the_numbers(database: str, app: Connection, tmp_path: Path) -> None:
    filling = "INSERT INTO things SELECT n, {} + n * 1000 FROM {}"
    await app.execute("CREATE TABLE things (id int PRIMARY KEY, at bigint NOT NULL); CREATE INDEX at ON things (at)")
    await app.execute(filling.format(SECONDS * 1000 - 500_000, "generate_series(1, 50000) AS n").encode())
    await app.execute("ANALYZE things")
    source = open_source(a_plan(Match("before", "at", unit="milliseconds")), lambda: database)
    assert "Index Cond: (at < LEAST('" in (await source.explain(PG_CUTOFF)).plan_text
    await source.close()
    series = "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 1000) SELECT n FROM s)"
    table = "CREATE TABLE things (id INTEGER PRIMARY KEY, at BIGINT NOT NULL, moment TEXT NOT NULL)"
    fill = f"INSERT INTO things SELECT n, n, '2026-01-01T00:00:00Z' FROM {series}"
    path = lite(tmp_path, table, fill, "CREATE INDEX at ON things (at)", "CREATE INDEX moment ON things (moment)")
    for match in (Match("before", "at", unit="milliseconds"), Match("before", "moment")):
        with closing(sqlite3.connect(path)) as connection:
            source = open_source(a_plan(match), lambda: f"sqlite:///{path}")
            explained = (await source.explain(LITE_CUTOFF)).plan_sql.partition(" ORDER BY")[0]
            await source.close()
            steps = " ".join(str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {explained}"))
            assert f"SEARCH t USING INDEX {match.column} ({match.column}<?)" in steps or "COVERING INDEX" in steps


@pytest.mark.parametrize("values", ["seconds", "milliseconds", "microseconds"])
async def test_numbers_that_look_like_another_unit_are_reported(
    database: str, app: Connection, tmp_path: Path, values: str
) -> None:
    rows = ", ".join(f"({n}, {(SECONDS + n) * SIZES[values]})" for n in range(100))
    await app.execute(
        f"CREATE TABLE things (id int PRIMARY KEY, at bigint NOT NULL); INSERT INTO things VALUES {rows}".encode()
    )
    path = lite(
        tmp_path,
        "CREATE TABLE things (id INTEGER PRIMARY KEY, at BIGINT NOT NULL)",
        f"INSERT INTO things VALUES {rows}",
    )
    for url in (database, f"sqlite:///{path}"):
        for unit in SIZES:
            source = open_source(a_plan(Match("before", "at", unit=unit)), lambda url=url: url)  # type: ignore[misc]
            warnings = dict((await source.inspect()).warnings)
            await source.close()
            assert ("epoch-unit" in warnings) is (unit != values)
            assert unit == values or f"set unit: {values}" in warnings["epoch-unit"]
    bare = open_source(a_plan(Match("before", "at")), lambda: f"sqlite:///{path}")
    assert ("epoch-unit" in dict((await bare.inspect()).warnings)) is (values != "seconds")
    await bare.close()


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        (Match("in", "done", ("true",)), ["1"]),
        (Match("in", "done", ("false", "true")), ["1", "2"]),
        (Match("notIn", "done", ("true",)), ["2"]),
        (Match("notIn", "size", ("10", "9")), ["3"]),
        (Match("lessThan", "size", ("10",)), ["2"]),
        (Match("greaterThan", "size", ("9",)), ["1", "3"]),
        (Match("lessThan", "name", ("b",)), ["1"]),
        (Match("greaterThan", "name", ("b",)), ["3"]),
        (Match("notIn", "name", ("b", "it's")), ["1"]),
    ],
    ids=lambda value: f"{value.op} {value.column}" if isinstance(value, Match) else "",
)
async def test_a_condition_finds_the_same_rows_on_both_databases(
    database: str, app: Connection, tmp_path: Path, match: Match, expected: list[str]
) -> None:
    """NULL is never stale, numbers are compared as numbers, and a boolean is one."""
    table = "CREATE TABLE things (id int PRIMARY KEY, done boolean, size numeric(9, 1), name text)"
    rows = "INSERT INTO things VALUES (1, true, 10, 'a'), (2, false, 9, 'b'), (3, NULL, 100.5, 'it''s'), (4, NULL, NULL, NULL)"
    await app.execute(table.encode())
    await app.execute(rows.encode())
    path = lite(tmp_path, table, rows)
    assert await stale_on_postgres(database, match) == await stale_on_sqlite(path, match) == expected
