"""Times and values on SQLite, which has no type for times: text and numbers compare by their meaning, or the plan is refused."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from kubesweep.api.plan import Assignment, Match, Plan, Source, Write
from kubesweep.errors import SweepFailure
from kubesweep_worker.sources import open_source
from kubesweep_worker.sources.base import Predicate, Range
from tests.integration.time_tables import (
    LITE_CUTOFF,
    SECONDS,
    Connection,
    a_plan,
    lite,
    stale_on_postgres,
    stale_on_sqlite,
)


@pytest.fixture
async def app(database: str) -> AsyncIterator[Connection]:
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as opened:
        yield opened


TEXTS = {
    "2026-02-28 23:59:59": True,
    "2026-02-28T23:59:59Z": True,
    "2026-02-28T23:59:59.123456": True,
    "2026-03-01T00:59:59+01:00": True,
    "2026-03-01T00:59:59+0100": True,
    "2026-03-01 00:59:59.5+01": True,
    "2026-02-28": True,
    "2026-03-01T00:00:01Z": False,
    "2026-03-01T01:00:01+0100": False,
    "2026-02-28T23:00:01-0100": False,
    "2026-02-28T23:30:00-01": False,
    "1.3.2026": False,
    "Sun Mar  1 2026": False,
    "": False,
}


@pytest.mark.parametrize("declared", ["TEXT", "DATETIME", "TIMESTAMP"])
async def test_texts_that_programs_write_compare_as_times_on_sqlite(tmp_path: Path, declared: str) -> None:
    path = lite(tmp_path, f"CREATE TABLE things (id TEXT NOT NULL PRIMARY KEY, at {declared})")
    with closing(sqlite3.connect(path)) as connection:
        connection.executemany("INSERT INTO things VALUES (?, ?)", [(text, text) for text in TEXTS])
        connection.commit()
    assert await stale_on_sqlite(path, Match("before", "at")) == sorted(text for text, past in TEXTS.items() if past)
    source = open_source(a_plan(Match("before", "at")), lambda: f"sqlite:///{path}")
    assert (
        f'3 of {len(TEXTS)} values of column "at" are not times' in dict((await source.inspect()).warnings)["no-time"]
    )
    await source.close()


@pytest.mark.parametrize(
    "sql", ["t.at < :cutoff", "at<:cutoff", '"at" <= :cutoff', ":cutoff > t.at", "t.id > 0 AND (t.At < :cutoff)"]
)
async def test_numbers_are_not_compared_with_a_text_on_sqlite(tmp_path: Path, sql: str) -> None:
    path = lite(tmp_path, "CREATE TABLE things (id INTEGER PRIMARY KEY, at BIGINT)", "INSERT INTO things VALUES (1, 9)")
    source = open_source(a_plan(Match("sql", sql=sql)), lambda: f"sqlite:///{path}")
    for ask in (source.inspect, source.bounds):
        with pytest.raises(SweepFailure, match="unit: milliseconds") as found:
            await ask()
        assert found.value.reason == "CutoffIsText"
    await source.close()


async def test_a_boolean_and_the_time_are_written_as_such_on_sqlite(tmp_path: Path) -> None:
    path = lite(
        tmp_path,
        "CREATE TABLE things (id INTEGER PRIMARY KEY, open BOOLEAN, closed_at TIMESTAMP, day DATE)",
        "INSERT INTO things VALUES (1, true, NULL, NULL)",
    )
    values = (Assignment("open", "false"), Assignment("closed_at", "now"), Assignment("day", "now"))
    plan = a_plan(Match("in", "open", ("true",)), write=Write(update=values))
    source = open_source(plan, lambda: f"sqlite:///{path}")
    assert (await source.write(Range(), Predicate(LITE_CUTOFF))).applied == 1
    await source.close()
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT open, typeof(open), closed_at > '2026-01-01', length(day) FROM things")
        assert found.fetchone() == (0, "integer", 1, 10)


async def test_text_in_a_column_of_numbers_is_no_number_on_sqlite(tmp_path: Path) -> None:
    path = lite(
        tmp_path,
        "CREATE TABLE things (id INTEGER PRIMARY KEY, size INTEGER)",
        "INSERT INTO things VALUES (1, 5), (2, 'many'), (3, NULL)",
    )
    assert await stale_on_sqlite(path, Match("greaterThan", "size", ("1",))) == ["1"]
    assert await stale_on_sqlite(path, Match("before", "size", unit="seconds")) == ["1"]


async def test_numbers_that_are_no_times_are_reported(database: str, app: Connection, tmp_path: Path) -> None:
    """Days such as 20260301 and Julian days: read as seconds they are all in 1970."""
    rows = ", ".join(f"({n}, {20260201 + n})" for n in range(28))
    await app.execute(
        f"CREATE TABLE things (id int PRIMARY KEY, at int NOT NULL); INSERT INTO things VALUES {rows}".encode()
    )
    path = lite(
        tmp_path,
        "CREATE TABLE things (id INTEGER PRIMARY KEY, at INTEGER NOT NULL)",
        f"INSERT INTO things VALUES {rows}",
    )
    for url, unit in ((database, "seconds"), (f"sqlite:///{path}", "seconds"), (f"sqlite:///{path}", "")):
        source = open_source(a_plan(Match("before", "at", unit=unit)), lambda url=url: url)  # type: ignore[misc]
        assert (
            "such as 20260215, are read as seconds since 1970" in dict((await source.inspect()).warnings)["epoch-unit"]
        )
        await source.close()


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        (Match("notIn", "size", ("many",)), "is not a number"),
        (Match("greaterThan", "size", ("2026-01-01",)), "is not a number"),
        (Match("lessThan", "at", ("2026-01-01T00:00:00Z",)), "use before or after"),
        (Match("notIn", "at", ("2026-01-01T00:00:00Z",)), "use before or after"),
        (Match("in", "size", ("true",)), "write 1 or 0"),
        (Match("lessThan", "total", ("20",)), "stores numbers as text"),
    ],
    ids=lambda value: f"{value.op} {value.column}" if isinstance(value, Match) else "",
)
async def test_a_value_of_another_kind_is_refused_and_does_not_find_every_row_on_sqlite(
    tmp_path: Path, match: Match, expected: str
) -> None:
    path = lite(
        tmp_path,
        "CREATE TABLE things (id INTEGER PRIMARY KEY, size INTEGER, at DATETIME, total TEXT)",
        "INSERT INTO things (size, total) VALUES (1, '10.50'), (2, '9.5')",
    )
    source = open_source(a_plan(match), lambda: f"sqlite:///{path}")
    with pytest.raises(SweepFailure, match=expected):
        await source.inspect()
    await source.close()


SUSPECT = (
    "t.expires < datetime(:cutoff)",
    "t.expires < datetime(:cutoff, '-30 days')",
    "t.expires BETWEEN 0 AND :cutoff",
    "coalesce(t.expires, 0) < :cutoff",
    "(t.expires) < :cutoff",
    "expires<:cutoff -- why not",
    "t.expires < date('now')",
    "t.expires < CURRENT_TIMESTAMP",
)


SOUND = (
    "t.moment < :cutoff",
    "t.size < 5 OR t.moment < :cutoff",
    "t.size > 5 AND t.moment < datetime(:cutoff, '-1 day')",
    "datetime(t.expires / 1000, 'unixepoch') < :cutoff",
    "EXISTS (SELECT 1 FROM others AS o WHERE o.thing = t.id AND o.expires < :cutoff)",
)


@pytest.mark.parametrize("sql", [*SUSPECT, *SOUND])
async def test_numbers_that_sql_compares_with_a_time_are_found_by_what_it_answers_on_sqlite(
    tmp_path: Path, sql: str
) -> None:
    path = lite(
        tmp_path,
        "CREATE TABLE things (id INTEGER PRIMARY KEY, expires DATETIME, moment TEXT, size INTEGER)",
        f"INSERT INTO things VALUES (1, {SECONDS}000, '2026-01-01 00:00:00', 3), (2, NULL, '2026-01-01 00:00:00', 7)",
        "CREATE TABLE others (thing INTEGER, expires TEXT)",
        "INSERT INTO others VALUES (1, '2026-01-01 00:00:00')",
    )
    source = open_source(a_plan(Match("sql", sql=sql)), lambda: f"sqlite:///{path}")
    if sql in SUSPECT:
        with pytest.raises(SweepFailure, match='column "expires", which has numbers'):
            await source.bounds()
    else:
        await source.bounds()
        await source.inspect()
    await source.close()


@pytest.mark.parametrize(
    ("declared", "stored", "written"),
    [("BOOLEAN", "1", 0), ("TINYINT(1)", "1", 0), ("boolean", "'t'", 0), ("INTEGER", "1", None)],
)
async def test_booleans_as_people_declare_them_on_sqlite(
    tmp_path: Path, declared: str, stored: str, written: int | None
) -> None:
    path = lite(
        tmp_path,
        f"CREATE TABLE things (id INTEGER PRIMARY KEY, open {declared})",
        f"INSERT INTO things VALUES (1, {stored})",
    )
    plan = a_plan(Match("in", "open", ("true",)), write=Write(update=(Assignment("open", value="false"),)))
    source = open_source(plan, lambda: f"sqlite:///{path}")
    if written is None:
        with pytest.raises(SweepFailure, match="write 1 or 0"):
            await source.inspect()
    else:
        assert (await source.write(Range(), Predicate(await source.now()))).applied == 1
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT open, typeof(open) FROM things").fetchone() == (written, "integer")
    await source.close()


async def test_now_is_not_written_as_text_among_numbers_on_sqlite(tmp_path: Path) -> None:
    path = lite(
        tmp_path,
        "CREATE TABLE things (id INTEGER PRIMARY KEY, open INTEGER, closed DATETIME)",
        f"INSERT INTO things VALUES (1, 1, {SECONDS}000)",
    )
    plan = a_plan(
        Match("in", "open", ("1",)),
        write=Write(update=(Assignment("open", value="0"), Assignment("closed", value="now"))),
    )
    source = open_source(plan, lambda: f"sqlite:///{path}")
    with pytest.raises(SweepFailure, match='column "closed" stores times as numbers'):
        await source.bounds()
    await source.close()


async def test_a_column_without_a_type_has_numbers_and_texts_on_sqlite(tmp_path: Path) -> None:
    path = lite(
        tmp_path,
        "CREATE TABLE things (id INTEGER PRIMARY KEY, bare)",
        "INSERT INTO things VALUES (1, 1), (2, '1'), (3, 2)",
    )
    assert await stale_on_sqlite(path, Match("notIn", "bare", ("1",))) == ["3"]
    assert await stale_on_sqlite(path, Match("in", "bare", ("1",))) == ["1", "2"]


async def test_no_number_is_a_future_time(database: str, app: Connection) -> None:
    await app.execute(
        "CREATE TABLE things (id int PRIMARY KEY, at float8); INSERT INTO things VALUES (1, 'NaN'), (2, 9e9)"
    )
    assert await stale_on_postgres(database, Match("after", "at", unit="seconds")) == ["2"]


async def test_a_condition_that_takes_its_time_over_a_sample_keeps_no_sweep_from_its_start(tmp_path: Path) -> None:
    spins = "(WITH RECURSIVE n(n) AS (SELECT t.id UNION ALL SELECT n + 1 FROM n) SELECT count(*) FROM n) > 0 AND t.at < :cutoff"
    path = lite(
        tmp_path, "CREATE TABLE things (id INTEGER PRIMARY KEY, at INTEGER)", "INSERT INTO things VALUES (1, 5)"
    )
    source = Source(table="things", statement_timeout=0.1)
    opened = open_source(
        Plan(namespace="d", name="n", uid="u", source=source, match=(Match("sql", sql=spins),), write=Write()),
        lambda: f"sqlite:///{path}",
    )
    assert (await opened.bounds())[1] == ("1",)
    await opened.close()
