"""Since when the oldest stale row of a SQLite table has been stale."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kubesweep.api.plan import Match, Source
from kubesweep.queue.model import Database, StaleRows
from kubesweep_worker.sources import open_source
from kubesweep_worker.sources.base import Predicate
from kubesweep_worker.sources.stale_search import StaleSearch
from tests.integration.time_tables import SECONDS, a_plan, lite
from tests.kits.deadlines import scaled

LONG = scaled(60)
DAY = 86_400.0
MANY = """
INSERT INTO things WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) SELECT i, NULL FROM n
"""
OPEN = Match("in", "status", ("open",))


async def search(
    path: Path,
    *match: Match,
    seconds: float = LONG,
    excluded: frozenset[Any] = frozenset(),
    newest: bool = False,
    **plan: Any,
) -> StaleRows:
    source = open_source(a_plan(*match, **plan), lambda: f"sqlite:///{path}")
    try:
        return await source.oldest(Predicate(await source.now(), excluded), StaleSearch(seconds, newest))
    finally:
        await source.close()


COLUMNS = [
    ("TEXT", "'2026-03-01 00:00:00'", "", SECONDS),
    ("DATETIME", "'2026-03-01T00:00:00.250Z'", "", SECONDS + 0.25),
    ("TEXT", "'2026-03-01 01:00:00+01:00'", "", SECONDS),
    ("DATE", "'2026-03-01'", "", SECONDS),
    ("INTEGER", str(SECONDS), "", SECONDS),
    ("REAL", f"{SECONDS}.5", "", SECONDS + 0.5),
    ("BIGINT", str(SECONDS * 1000), "milliseconds", SECONDS),
    ("INTEGER", str(SECONDS * 10**6), "microseconds", SECONDS),
    ("", str(SECONDS), "seconds", SECONDS),
]


@pytest.mark.parametrize(("declared", "value", "unit", "since"), COLUMNS)
async def test_every_kind_of_time_says_since_when_its_row_is_stale(
    tmp_path: Path, declared: str, value: str, unit: str, since: float
) -> None:
    path = lite(
        tmp_path,
        f"CREATE TABLE things (id INTEGER PRIMARY KEY, at {declared})",
        f"INSERT INTO things VALUES (1, NULL), (2, 'no time'), (3, {value}), (4, {value})",
    )
    found = await search(path, Match("before", "at", offset=DAY, unit=unit))
    assert (found.oldest, found.rows, found.unknown) == (pytest.approx(since + DAY, abs=0.001), 2, "")


async def test_numbers_and_texts_in_one_column_are_compared_as_times(tmp_path: Path) -> None:
    """SQLite sorts every number before every text."""
    path = lite(
        tmp_path,
        "CREATE TABLE things (id INTEGER PRIMARY KEY, at)",
        f"INSERT INTO things VALUES (1, '2025-01-01 00:00:00'), (2, {SECONDS})",
    )
    assert (await search(path, Match("before", "at"))).oldest == pytest.approx(1_735_689_600)


async def test_the_newest_stale_row_is_found_where_it_is_asked_for(tmp_path: Path) -> None:
    path = lite(
        tmp_path,
        "CREATE TABLE things (id INTEGER PRIMARY KEY, at)",
        f"INSERT INTO things VALUES (1, NULL), (2, '2025-01-01 00:00:00'), (3, {SECONDS}), (4, '9999-01-01')",
    )
    match = Match("before", "at")
    found = await search(path, match, newest=True)
    assert (found.oldest, found.newest) == (pytest.approx(1_735_689_600), pytest.approx(SECONDS))
    assert (await search(path, match)).newest is None
    found = await search(path, match, newest=True, excluded=frozenset({("3",)}))
    assert found.newest == pytest.approx(1_735_689_600)


async def test_a_file_is_known_by_its_path_and_its_tables_are_counted(tmp_path: Path) -> None:
    path = lite(
        tmp_path,
        "CREATE TABLE things (id INTEGER PRIMARY KEY, at TEXT)",
        "INSERT INTO things VALUES (1, NULL), (2, '2025-01-01 00:00:00')",
    )
    (tmp_path / "link").symlink_to(path)
    for name in (path, tmp_path / "link"):
        source = open_source(a_plan(Match("before", "at")), lambda name=name: f"sqlite:///{name}")  # type: ignore[misc]
        assert await source.database() == Database(str(path.resolve()))
        assert await source.table_rows() == 2
        await source.close()


async def test_a_table_that_cannot_be_counted_in_time_has_an_unknown_size(tmp_path: Path) -> None:
    path = lite(tmp_path, "CREATE TABLE things (id INTEGER PRIMARY KEY, at TEXT)", MANY)
    source = open_source(
        a_plan(Match("before", "at"), source=Source(table="things", statement_timeout=0.0001)),
        lambda: f"sqlite:///{path}",
    )
    assert await source.table_rows() is None
    await source.close()


async def test_a_row_is_stale_once_the_last_of_its_times_has_come(tmp_path: Path) -> None:
    path = lite(
        tmp_path,
        "CREATE TABLE things (id INTEGER PRIMARY KEY, at TEXT, seen INTEGER)",
        f"INSERT INTO things VALUES (1, '2025-01-01 00:00:00', {SECONDS})",
    )
    found = await search(path, Match("before", "at"), Match("before", "seen", offset=5.0, unit="seconds"))
    assert found.oldest == pytest.approx(SECONDS + 5)


async def test_a_time_without_a_zone_is_read_in_the_zone_of_the_spec(tmp_path: Path) -> None:
    path = lite(
        tmp_path,
        "CREATE TABLE things (id INTEGER PRIMARY KEY, at TEXT)",
        "INSERT INTO things VALUES (1, '2026-03-01 01:00:00')",
    )
    berlin = Source(table="things", naive_time_zone="Europe/Berlin")
    assert (await search(path, Match("before", "at"), source=berlin)).oldest == pytest.approx(SECONDS)


async def test_only_stale_rows_count_and_excluded_ones_do_not(tmp_path: Path) -> None:
    path = lite(
        tmp_path,
        "CREATE TABLE things (id INTEGER PRIMARY KEY, status TEXT, at INTEGER)",
        "INSERT INTO things VALUES (1, 'done', 1), (2, 'open', 20), (3, 'open', 30)",
    )
    match = (OPEN, Match("before", "at"))
    assert await search(path, *match) == StaleRows(2, 20.0)
    assert await search(path, *match, excluded=frozenset({("2",)})) == StaleRows(1, 30.0)
    assert await search(path, *match, excluded=frozenset({("2",), ("3",)})) == StaleRows(0)
    assert await search(path, OPEN) == StaleRows(2)


LARGE = (
    "CREATE TABLE things (id INTEGER PRIMARY KEY, status TEXT NOT NULL, at TEXT NOT NULL)",
    "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 100000) "
    "INSERT INTO things SELECT n, 'open', '2026-01-01 00:00:00' FROM n",
)


async def test_a_large_table_is_not_searched_without_an_index_and_the_message_names_it(tmp_path: Path) -> None:
    path = lite(tmp_path, *LARGE)
    match = (OPEN, Match("before", "at"))
    found = await search(path, *match)
    index = 'CREATE INDEX "things_status_at" ON "things" ("status", "at");'
    assert (found.oldest, found.unknown) == (None, f'finding it would read all of "things": {index}')
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(index)
    found = await search(path, *match)
    assert (found.oldest, found.rows, found.unknown) == (pytest.approx(1_767_225_600), 100_000, "")


async def test_a_lock_ends_the_search_in_time_and_the_next_statement_has_its_own_timeout(tmp_path: Path) -> None:
    path = lite(
        tmp_path, "CREATE TABLE things (id INTEGER PRIMARY KEY, at TEXT)", "INSERT INTO things VALUES (1, '2026-01-01')"
    )
    patient = Source(table="things", lock_timeout=5.0)
    source = open_source(a_plan(Match("before", "at"), source=patient), lambda: f"sqlite:///{path}")
    cutoff = await source.now()
    await source.count(Predicate(cutoff), 1)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        found = await source.oldest(Predicate(cutoff), StaleSearch(0.05))
        other.execute("ROLLBACK")
    assert found == StaleRows(unknown="finding it takes longer than 50 ms")
    assert (await source.oldest(Predicate(cutoff), StaleSearch(LONG))).rows == 1
    await source.close()


async def test_a_slow_search_ends_in_time(tmp_path: Path) -> None:
    """Its condition counts to a billion for each row."""
    path = lite(
        tmp_path, "CREATE TABLE things (id INTEGER PRIMARY KEY, at TEXT)", "INSERT INTO things VALUES (1, '2026-01-01')"
    )
    endless = Match(
        "sql",
        sql="(WITH RECURSIVE n(n) AS (SELECT t.id UNION ALL SELECT n + 1 FROM n WHERE n < 1000000000) SELECT max(n) FROM n) > 0",
    )
    found = await search(path, Match("before", "at"), endless, seconds=0.1)
    assert found == StaleRows(unknown="finding it takes longer than 100 ms")
