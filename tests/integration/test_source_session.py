"""The settings under which the user's sql, triggers and defaults run; keys, stamps and values do not depend on them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from kubesweep.api.plan import Assignment, Effect, Match, Plan, Session, Source, Write
from kubesweep_worker.sources import open_source
from kubesweep_worker.sources.base import InspectableSource, Keys, Predicate, Range
from kubesweep_worker.sources.postgres.source import PostgresSource

Connection = psycopg.AsyncConnection[tuple[Any, ...]]
SETTINGS = {"TimeZone": "Asia/Tokyo", "DateStyle": "SQL, DMY", "IntervalStyle": "iso_8601", "bytea_output": "escape"}
PENDING = Match("in", "status", ("pending",))
CLOSE = Write(update=(Assignment("status", value="closed"),))
# A value of each type whose text depends on the session, as PostgreSQL writes it in UTC and ISO.
KEYS = {
    "timestamptz": ("2026-03-01 12:00:00.5+00", "2026-07-01 00:00:00+00", "0044-03-15 12:00:00+00 BC", "infinity"),
    "timestamp": ("2026-03-01 12:00:00.5", "0044-03-15 12:00:00 BC", "-infinity", "12026-01-01 00:00:00"),
    "date": ("2026-03-01", "0044-03-15 BC", "infinity"),
}


@pytest.fixture
async def app(database: str) -> AsyncIterator[Connection]:
    """The application whose table is swept. All sessions have Japanese settings."""
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as opened:
        name = opened.info.dbname
        for setting, value in SETTINGS.items():
            await opened.execute(f"ALTER DATABASE \"{name}\" SET {setting} = '{value}'".encode())
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as opened:
        yield opened


def a_plan(table: str, **changes: Any) -> Plan:
    source = changes.pop("source", Source(table=table))
    fields = {"namespace": "d", "name": "n", "uid": "u", "source": source, "match": (PENDING,), "write": CLOSE}
    return Plan(**fields | changes)


def opened(database: str, plan: Plan) -> InspectableSource:
    return open_source(plan, lambda: database)


@pytest.mark.parametrize("type_", KEYS)
async def test_keys_stamps_and_values_are_the_same_in_every_session(database: str, app: Connection, type_: str) -> None:
    await app.execute("SET TimeZone = 'UTC'; SET DateStyle = 'ISO, MDY'; SET IntervalStyle = 'postgres'")
    await app.execute(
        f"CREATE TABLE t (k {type_} PRIMARY KEY, status text, gone interval DEFAULT '1 day 02:00', at timestamptz DEFAULT '2026-01-01 00:00+00')".encode()
    )
    for text in KEYS[type_]:
        await app.execute("INSERT INTO t VALUES (%s, 'pending')", [text])
    expected = sorted(KEYS[type_])
    plan = a_plan("t", effect=Effect(columns=("k", "at", "gone"), key=("k", "gone"), handler="a:b"))
    source = opened(database, plan)
    cutoff = await source.now()
    assert sorted(key for (key,) in await source.keys(Range(), Predicate(cutoff))) == expected
    rows = await source.stale(Range(), Predicate(cutoff), 10)
    assert sorted(row.key[0] for row in rows) == expected
    assert {row.stamp for row in rows} == {(key, "1 day 02:00:00") for key in expected}
    assert {(row.values["at"].isoformat(), str(row.values["gone"])) for row in rows} == {
        ("2026-01-01T00:00:00+00:00", "1 day, 2:00:00")
    }
    window = await source.cut(Predicate(cutoff), None, 1, 10)
    assert window.rows == len(expected)
    written = await source.write(Keys(tuple((key,) for key in expected)), Predicate(cutoff))
    assert written.applied == len(expected)
    await source.close()


async def test_triggers_and_defaults_write_what_they_write_for_the_application(database: str, app: Connection) -> None:
    await app.execute(
        "CREATE TABLE t (id int PRIMARY KEY, status text, touched timestamp, note text); INSERT INTO t VALUES (1, 'pending'), (2, 'pending');"
        "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.touched := now(); NEW.note := now()::date; RETURN NEW; END $$;"
        "CREATE TRIGGER touch BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION touch();"
    )
    source = opened(database, a_plan("t"))
    assert (await source.write(Keys((("1",),)), Predicate(await source.now()))).applied == 1
    await app.execute("UPDATE t SET status = 'closed' WHERE id = 2")
    [(apart, same)] = await (
        await app.execute("SELECT extract(epoch FROM max(touched) - min(touched)) < 600, count(DISTINCT note) FROM t")
    ).fetchall()
    assert (apart, same) == (True, 1)
    await source.close()


async def test_the_users_sql_means_in_a_sweep_what_it_means_to_the_login(database: str, app: Connection) -> None:
    await app.execute("CREATE TABLE t (id int PRIMARY KEY, status text, at timestamptz)")
    await app.execute(
        "INSERT INTO t VALUES (1, 'pending', '2026-03-01 16:00+00'), (2, 'pending', '2026-03-01 14:00+00')"
    )
    match = (PENDING, Match("sql", sql="t.at::date = '02/03/2026'"))  # the second of March in Tokyo, read as DMY
    source = opened(database, a_plan("t", match=match))
    cutoff = await source.now()
    assert await source.keys(Range(), Predicate(cutoff)) == (("1",),)
    assert await source.count(Predicate(cutoff), 10) == 1
    assert (await source.cut(Predicate(cutoff), None, 10, 10)).rows == 1
    assert [row.key for row in await source.stale(Range(), Predicate(cutoff), 10)] == [("1",)]
    assert (await source.write(Range(), Predicate(cutoff))).applied == 1
    await source.close()


async def test_a_session_of_the_spec_goes_before_the_logins(database: str, app: Connection) -> None:
    await app.execute(
        "CREATE SCHEMA apart; CREATE FUNCTION apart.today() RETURNS text LANGUAGE sql AS $$ SELECT now()::date::text $$;"
        "CREATE TABLE t (id int PRIMARY KEY, status text, at timestamptz); INSERT INTO t VALUES (1, 'pending', '2026-03-01 16:00+00')"
    )
    session = Session(time_zone="UTC", date_style="ISO, MDY", search_path=("apart", "public"))
    match = (PENDING, Match("sql", sql="t.at::date = '03/01/2026' AND today() LIKE '20%'"))
    source = opened(database, a_plan("t", match=match, source=Source(table="t", session=session)))
    table = await source.inspect()
    assert table.session == {
        "TimeZone": "UTC",
        "DateStyle": "ISO, MDY",
        "IntervalStyle": "iso_8601",
        "search_path": "apart, public",
    }
    assert await source.keys(Range(), Predicate(await source.now())) == (("1",),)
    await source.close()


async def test_nothing_that_we_set_outlives_its_transaction(database: str, app: Connection) -> None:
    """Behind a pooler the application uses the session next."""
    await app.execute("CREATE TABLE t (id int PRIMARY KEY, status text); INSERT INTO t VALUES (1, 'pending')")
    source = PostgresSource(a_plan("t"), lambda: database)
    cutoff = await source.now()
    await source.inspect()
    await source.stale(Range(), Predicate(cutoff), 10)
    await source.write(Range(), Predicate(cutoff))
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as fresh:
        names = (
            "SELECT name, setting FROM pg_settings WHERE name NOT IN ('application_name', 'client_encoding') ORDER BY 1"
        )
        before = await (await fresh.execute(names)).fetchall()
        (idle,) = source._pool._idle
        assert await (await idle.execute(names)).fetchall() == before
    await source.close()


@pytest.mark.parametrize(
    ("naive_time_zone", "column", "expected"),
    [(None, "timestamp", True), (None, "date", True), (None, "timestamptz", False), ("UTC", "timestamp", False)],
)
async def test_naive_times_of_a_database_that_has_another_time_zone_are_reported(
    database: str, app: Connection, naive_time_zone: str | None, column: str, expected: bool
) -> None:
    await app.execute(f"CREATE TABLE t (id int PRIMARY KEY, at {column} NOT NULL)".encode())
    source = Source(table="t", naive_time_zone=naive_time_zone)
    opened_ = opened(database, a_plan("t", source=source, match=(Match("before", "at"),), write=Write()))
    warnings = dict((await opened_.inspect()).warnings)
    assert ("naive-time-zone" in warnings) is expected
    assert not expected or "set naiveTimeZone to Asia/Tokyo" in warnings["naive-time-zone"]
    await opened_.close()


# Berlin, 25 October 2026: at 03:00 summer time it is 02:00 again (01:00 UTC).
@pytest.mark.parametrize(
    ("cutoff", "stale"),
    [
        ("2026-10-25 00:15:00+00", ["01:59"]),  # 02:15 for the first time
        ("2026-10-25 00:59:00+00", ["01:59"]),
        ("2026-10-25 01:15:00+00", ["01:59", "02:10"]),  # 02:15 for the second time
        ("2026-10-25 02:00:00+00", ["01:59", "02:10", "02:50"]),  # 03:00
    ],
)
async def test_a_naive_time_that_the_clock_shows_twice_is_the_later_one(
    database: str, app: Connection, cutoff: str, stale: list[str]
) -> None:
    await app.execute("CREATE TABLE t (id text PRIMARY KEY, at timestamp NOT NULL)")
    for clock in ("01:59", "02:10", "02:50", "03:10"):
        await app.execute("INSERT INTO t VALUES (%s, %s)", [clock, f"2026-10-25 {clock}"])
    plan = a_plan(
        "t", source=Source(table="t", naive_time_zone="Europe/Berlin"), match=(Match("before", "at"),), write=Write()
    )
    source = opened(database, plan)
    assert [key for (key,) in await source.keys(Range(), Predicate(cutoff))] == stale
    await source.close()
