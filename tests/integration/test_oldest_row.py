"""Since when the oldest stale row of a real table has been stale, and what is said where that cannot be found in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from kubesweep.api.plan import Match, RowLimits, Source
from kubesweep.errors import SweepFailure
from kubesweep.queue.model import StaleRows
from kubesweep_worker.sources import open_source
from kubesweep_worker.sources.base import Predicate
from kubesweep_worker.sources.stale_search import StaleSearch
from tests.integration.time_tables import SECONDS, Connection, a_plan
from tests.kits.deadlines import scaled

LONG = scaled(60)  # where a test is not about the time that the search takes
DAY = 86_400.0
OPEN = Match("in", "status", ("open",))


@pytest.fixture
async def app(database: str) -> AsyncIterator[Connection]:
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as opened:
        yield opened


async def search(
    database: str,
    *match: Match,
    seconds: float = LONG,
    excluded: frozenset[Any] = frozenset(),
    newest: bool = False,
    **plan: Any,
) -> StaleRows:
    source = open_source(a_plan(*match, **plan), lambda: database)
    try:
        return await source.oldest(Predicate(await source.now(), excluded), StaleSearch(seconds, newest))
    finally:
        await source.close()


COLUMNS = [
    ("timestamptz", "'2026-03-01 00:00:00+00'", "", SECONDS),
    ("timestamp", "'2026-03-01 00:00:00'", "", SECONDS),
    ("date", "'2026-03-01'", "", SECONDS),
    ("bigint", str(SECONDS * 1000), "milliseconds", SECONDS),
    ("integer", str(SECONDS), "seconds", SECONDS),
    ("numeric", f"{SECONDS}.25", "seconds", SECONDS + 0.25),
    ("double precision", str(SECONDS * 10**6), "microseconds", SECONDS),
    ("timestamptz", "'-infinity'", "", -float("inf")),
]


@pytest.mark.parametrize(("declared", "value", "unit", "since"), COLUMNS)
async def test_every_kind_of_time_says_since_when_its_row_is_stale(
    database: str, app: Connection, declared: str, value: str, unit: str, since: float
) -> None:
    """A row meets ``before: now-1d`` a day after its time. NULL is never stale."""
    later = (
        "'infinity'"
        if "time" in declared or declared == "date"
        else "9999999999999999"
        if declared != "integer"
        else "2147483647"
    )
    await app.execute(f"CREATE TABLE things (id int PRIMARY KEY, at {declared})".encode())
    await app.execute(f"INSERT INTO things VALUES (1, NULL), (2, {later}), (3, {value}), (4, {value})".encode())
    found = await search(database, Match("before", "at", offset=DAY, unit=unit))
    assert (found.oldest, found.unknown) == (since + DAY, "")


async def test_a_time_without_a_zone_is_read_in_the_zone_of_the_spec(database: str, app: Connection) -> None:
    await app.execute("CREATE TABLE things (id int PRIMARY KEY, at timestamp)")
    await app.execute("INSERT INTO things VALUES (1, '2026-03-01 01:00:00')")
    berlin = Source(table="things", naive_time_zone="Europe/Berlin")
    assert (await search(database, Match("before", "at"), source=berlin)).oldest == SECONDS


async def test_only_stale_rows_count_and_excluded_ones_do_not(database: str, app: Connection) -> None:
    await app.execute("CREATE TABLE things (id int PRIMARY KEY, status text, at timestamptz)")
    rows = (
        "(1, 'done', '2020-01-01+00'), (2, 'open', '2021-01-01+00'), (3, 'open', '2022-01-01+00'), (4, 'open', now())"
    )
    await app.execute(f"INSERT INTO things VALUES {rows}".encode())
    match = (OPEN, Match("before", "at", offset=60.0))
    oldest = [datetime(year, 1, 1, tzinfo=UTC).timestamp() + 60 for year in (2021, 2022)]
    assert (await search(database, *match)).oldest == oldest[0]
    assert (await search(database, *match, excluded=frozenset({("2",)}))).oldest == oldest[1]
    none = await search(database, *match, excluded=frozenset({("2",), ("3",)}))
    assert (none.oldest, none.unknown) == (None, "")


async def test_the_newest_stale_row_is_found_where_it_is_asked_for(database: str, app: Connection) -> None:
    await app.execute("CREATE TABLE things (id int PRIMARY KEY, at timestamptz)")
    await app.execute(
        "INSERT INTO things VALUES (1, NULL), (2, '2021-01-01+00'), (3, '2022-01-01+00'), (4, 'infinity')"
    )
    match, days = Match("before", "at", offset=60.0), [datetime(year, 1, 1, tzinfo=UTC) for year in (2021, 2022)]
    oldest, newest = (day.timestamp() + 60 for day in days)
    found = await search(database, match, newest=True)
    assert (found.oldest, found.newest) == (oldest, newest)
    assert (await search(database, match)).newest is None
    found = await search(database, match, newest=True, excluded=frozenset({("3",)}))
    assert (found.oldest, found.newest) == (oldest, oldest)
    assert await search(database, Match("sql", sql="t.id > 0"), newest=True) == StaleRows()


async def test_a_row_is_stale_once_the_last_of_its_times_has_come(database: str, app: Connection) -> None:
    await app.execute("CREATE TABLE things (id int PRIMARY KEY, at timestamptz, seen bigint)")
    await app.execute(f"INSERT INTO things VALUES (1, '2026-01-01+00', {SECONDS})".encode())
    found = await search(database, Match("before", "at"), Match("before", "seen", offset=5.0, unit="seconds"))
    assert found.oldest == SECONDS + 5


async def test_without_a_time_there_is_no_age_but_an_estimate(database: str, app: Connection) -> None:
    await app.execute("CREATE TABLE things (id int PRIMARY KEY, status text)")
    await app.execute("INSERT INTO things SELECT n, 'open' FROM generate_series(1, 500) AS n")
    assert await search(database, OPEN) == StaleRows()  # never analyzed
    await app.execute("ANALYZE things")
    assert await search(database, OPEN) == StaleRows(500, estimated=True)


async def test_with_a_limit_of_rows_they_are_counted(database: str, app: Connection) -> None:
    """A capped sweep never counts what it leaves behind."""
    await app.execute("CREATE TABLE things (id int PRIMARY KEY, status text)")
    await app.execute("INSERT INTO things SELECT n, 'open' FROM generate_series(1, 500) AS n; ANALYZE things")
    await app.execute("INSERT INTO things SELECT n, 'open' FROM generate_series(501, 507) AS n")
    limits = RowLimits(max_rows_per_sweep=10)
    assert await search(database, OPEN, limits=limits) == StaleRows(507)
    slow = Match("sql", sql="t.id > 0 AND pg_sleep(600) IS NOT NULL")
    found = await search(database, OPEN, slow, seconds=0.1, limits=limits)
    assert found.estimated  # counting takes too long


LARGE = """
CREATE TABLE things (id int PRIMARY KEY, status text NOT NULL, at timestamptz NOT NULL);
INSERT INTO things SELECT n, 'done', now() - interval '1 day' FROM generate_series(1, 150000) AS n;
UPDATE things SET status = 'open' WHERE id = 75000;
ANALYZE things;
"""


async def test_a_large_table_is_not_searched_without_an_index_and_the_message_names_it(
    database: str, app: Connection
) -> None:
    await app.execute(LARGE)
    match = (OPEN, Match("before", "at", offset=60.0))
    found = await search(database, *match)
    source = open_source(a_plan(*match), lambda: database)
    advice = dict((await source.inspect()).warnings)["no-index"]
    await source.close()
    index = 'CREATE INDEX CONCURRENTLY ON "public"."things" ("status", "at");'
    assert found.oldest is None
    assert found.unknown == f'finding it would read all of "public"."things": {index}'
    assert index in advice
    await app.execute(index.encode())
    found = await search(database, *match)
    assert found.unknown == ""
    assert found.oldest is not None


async def test_every_row_of_a_large_table_may_be_stale(database: str, app: Connection) -> None:
    """Then ``check`` asks for no index, because a sweep reads all rows anyway, but the oldest is not found without one."""
    await app.execute(LARGE)
    found = await search(database, Match("before", "at", offset=60.0))
    assert found.oldest is None
    assert 'CREATE INDEX CONCURRENTLY ON "public"."things" ("at");' in found.unknown
    assert found.rows == pytest.approx(150_000, rel=0.05)


async def test_a_lock_ends_the_search_in_time(database: str, app: Connection) -> None:
    """Only the search: the statements before it must not meet the lock, so they run first."""
    await app.execute("CREATE TABLE things (id int PRIMARY KEY, at timestamptz)")
    source = open_source(a_plan(Match("before", "at")), lambda: database)
    cutoff = await source.now()
    await source.count(Predicate(cutoff), 1)
    async with app.transaction():
        await app.execute("LOCK TABLE things IN ACCESS EXCLUSIVE MODE")
        found = await source.oldest(Predicate(cutoff), StaleSearch(0.1))
    await source.close()
    assert found == StaleRows(
        unknown='finding it takes longer than 100 ms: CREATE INDEX CONCURRENTLY ON "public"."things" ("at");'
    )


async def test_a_slow_search_ends_in_time_and_the_connection_works_on(database: str, app: Connection) -> None:
    await app.execute("CREATE TABLE things (id int PRIMARY KEY, at timestamptz)")
    await app.execute(
        "CREATE INDEX ON things (at); INSERT INTO things SELECT n, now() - interval '1 day' FROM generate_series(1, 50) AS n"
    )
    await app.execute(
        "CREATE FUNCTION slow(int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(600); RETURN true; END $$"
    )
    source = open_source(a_plan(Match("before", "at"), Match("sql", sql="slow(t.id)")), lambda: database)
    cutoff = await source.now()
    async with asyncio.timeout(scaled(60)):
        found = await source.oldest(Predicate(cutoff), StaleSearch(0.1))
    assert (found.oldest, found.unknown) == (None, "finding it takes longer than 100 ms")
    assert await source.now() > cutoff
    await source.close()


async def test_a_table_that_is_gone_is_an_error_of_the_source(database: str, app: Connection) -> None:
    """The plan step turns it into an unknown age (jobs/stale_rows.py), and reports it itself where it matters."""
    with pytest.raises(SweepFailure):
        await search(database, Match("before", "at"))


async def test_what_is_written_after_the_rows_are_fixed_changes_no_number(database: str, app: Connection) -> None:
    """A plan step enqueues its jobs then (jobs/stale_rows.py)."""
    await app.execute("CREATE TABLE things (id int PRIMARY KEY, at timestamptz)")
    await app.execute("INSERT INTO things SELECT n, now() - interval '1 day' FROM generate_series(1, 500) AS n")
    calls = list[int]()

    def fixed() -> None:
        with psycopg.connect(database, autocommit=True) as other:
            calls.append(other.execute("DELETE FROM things WHERE id > 100").rowcount)

    source = open_source(a_plan(Match("before", "at"), limits=RowLimits(max_rows_per_sweep=10)), lambda: database)
    found = await source.oldest(Predicate(await source.now()), StaleSearch(LONG, fixed=fixed))
    await source.close()
    assert calls == [400]
    assert (found.rows, found.estimated) == (500, False)
