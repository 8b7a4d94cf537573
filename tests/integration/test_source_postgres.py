"""The Postgres source against a real server: every stale row in exactly one cut, and written once."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import psycopg
import pytest

from kubesweep.api.plan import Assignment, Effect, Match, Plan, Source, Write
from kubesweep.queue.model import Key
from kubesweep_worker.sources import open_source
from kubesweep_worker.sources.base import Cut, InspectableSource, Keys, Predicate, Range
from tests.integration.postgres import Server

STALE = (Match("in", "status", ("pending",)), Match("before", "expires_at", offset=60.0))
CLOSE = Write(update=(Assignment("status", value="expired"),))


def make_plan(**changes: Any) -> Plan:
    source = changes.pop("source", Source(table="things"))
    return Plan(
        **{
            "namespace": "default",
            "name": "close",
            "uid": "u",
            "source": source,
            "match": STALE,
            "write": CLOSE,
            **changes,
        }
    )


async def every_cut(source: InspectableSource, cutoff: str, excluded: set[Key], batch: int, most: int) -> list[Cut]:
    cuts: list[Cut] = []
    after: Key | None = None
    while True:
        window = await source.cut(Predicate(cutoff, frozenset(excluded)), after, batch, most)
        cuts += window.cuts
        assert window.rows == sum(cut.rows for cut in window.cuts)
        if window.cursor is None:
            return cuts
        after = window.cursor


@pytest.fixture
async def connection(database: str) -> AsyncIterator[psycopg.AsyncConnection[tuple[Any, ...]]]:
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as opened:
        yield opened


async def statistics_are_told(connection: psycopg.AsyncConnection[tuple[Any, ...]]) -> None:
    """A backend tells its statistics when it ends: wait until all others have."""
    await connection.execute(
        "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


KEYS = {
    "smallint": ("smallint", "(n - 700)::smallint"),
    "integer": ("integer", "n * 3 - 500"),
    "bigint": ("bigint", "n * 5000000000"),
    "uuid": ("uuid", "md5(n::text)::uuid"),
    "text in C": ('text COLLATE "C"', "chr(65 + n % 50) || n"),
    "text with marks": ("text", "'Ä\\\"{},'' ' || md5(n::text)"),
    "text in a collation of Unicode": ('text COLLATE "pg_c_utf8"', "md5(n::text)"),
    "varchar": ("varchar(40)", "md5(n::text)"),
    "char": ("char(10)", "'x' || n"),
    "date": ("date", "date '2020-01-01' - n"),
    "timestamp": ("timestamp", "timestamp '2020-01-01' - n * interval '1.000001 s'"),
    "timestamptz": ("timestamptz", "timestamptz '2020-01-01 00:00+02' - n * interval '1.000001 s'"),
    "numeric": ("numeric", "n / 7.0"),
}


@pytest.mark.parametrize("analysed", [True, False], ids=["analysed", "never analysed"])
@pytest.mark.parametrize("share", [0.5, 0.02], ids=["dense", "sparse"])
@pytest.mark.parametrize("kind", KEYS)
async def test_every_stale_row_is_in_exactly_one_cut(
    database: str, connection: psycopg.AsyncConnection[tuple[Any, ...]], kind: str, share: float, analysed: bool
) -> None:
    declared, expression = KEYS[kind]
    rng = random.Random(f"{kind}{share}")
    chosen = [n for n in range(1, 1501) if rng.random() < share]
    await connection.execute(
        f"CREATE TABLE things (id {declared} PRIMARY KEY, status text NOT NULL, expires_at timestamptz)"
    )
    await connection.execute(
        f"INSERT INTO things SELECT {expression}, CASE WHEN n = ANY ('{set(chosen) or {0}}'::int[]) THEN 'pending' ELSE 'live' END, "
        "now() - interval '1 day' FROM generate_series(1, 1500) AS n"
    )
    if analysed:
        await connection.execute("ANALYZE things")
    await check_cuts(database, connection, make_plan())


async def check_cuts(database: str, connection: psycopg.AsyncConnection[tuple[Any, ...]], plan: Plan) -> None:
    source = open_source(plan, lambda: database)
    try:
        table = await source.inspect()
        cutoff = await source.now()
        names = ", ".join(f'"{name}"::text' for name in table.key)
        cursor = await connection.execute(f"SELECT {names} FROM things WHERE status = 'pending'")
        expected = {tuple(row) for row in await cursor.fetchall()}
        excluded = set(sorted(expected)[::7])
        cuts = await every_cut(source, cutoff, excluded, 20, 100)
        found: list[Key] = []
        for cut in cuts:
            keys = await source.keys(cut.scope, Predicate(cutoff, frozenset(excluded)))
            assert len(keys) == cut.rows
            assert 0 < cut.rows <= 20
            found += keys
        assert sorted(found) == sorted(expected - excluded)
        applied = [(await source.write(cut.scope, Predicate(cutoff, frozenset(excluded)))).applied for cut in cuts]
        assert applied == [cut.rows for cut in cuts]
        assert [(await source.write(cut.scope, Predicate(cutoff, frozenset(excluded)))).applied for cut in cuts] == [
            0
        ] * len(cuts)
        assert await source.count(Predicate(cutoff), 10_000) == len(excluded)
    finally:
        await source.close()


@pytest.mark.parametrize("share", [0.5, 0.02], ids=["dense", "sparse"])
async def test_every_stale_row_of_a_composite_key_is_in_exactly_one_cut(
    database: str, connection: psycopg.AsyncConnection[tuple[Any, ...]], share: float
) -> None:
    rng = random.Random(share)
    await connection.execute(
        'CREATE TABLE things (region text COLLATE "C", day date, n bigint, status text, expires_at timestamp, PRIMARY KEY (region, day, n))'
    )
    rows = [
        (
            rng.choice(["eu", "us", "Ä,\"'{}\\"]),
            f"2026-01-{1 + n % 9:02}",
            n,
            "pending" if rng.random() < share else "live",
            "2026-01-01",
        )
        for n in range(1500)
    ]
    async with connection.cursor() as cursor:
        await cursor.executemany("INSERT INTO things VALUES (%s, %s, %s, %s, %s)", rows)
    await connection.execute("ANALYZE things")
    await check_cuts(database, connection, make_plan())


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


async def test_partitions_are_swept_through_their_parent(
    database: str, connection: psycopg.AsyncConnection[tuple[Any, ...]]
) -> None:
    await connection.execute(
        "CREATE TABLE things (id int, status text, expires_at timestamptz, PRIMARY KEY (id)) PARTITION BY RANGE (id); "
        "CREATE TABLE one PARTITION OF things FOR VALUES FROM (0) TO (500); CREATE TABLE two PARTITION OF things DEFAULT; "
        "INSERT INTO things SELECT n, CASE n % 3 WHEN 0 THEN 'pending' ELSE 'live' END, now() - interval '1 day' FROM generate_series(1, 1000) AS n"
    )
    await check_cuts(database, connection, make_plan())


async def test_few_stale_rows_in_a_big_table_are_found_without_reading_it(
    database: str, connection: psycopg.AsyncConnection[tuple[Any, ...]]
) -> None:
    await connection.execute(
        "CREATE TABLE things (id bigint PRIMARY KEY, status text, expires_at timestamptz, filler text); "
        "INSERT INTO things SELECT n, 'pending', now() + CASE WHEN n % 2000 = 0 THEN -1 ELSE 1 END * interval '1 day', repeat('x', 200) "
        "FROM generate_series(1, 200000) AS n; CREATE INDEX ON things (expires_at); ANALYZE things"
    )
    pages = "SELECT heap_blks_read + heap_blks_hit FROM pg_statio_user_tables WHERE relname = 'things'"
    source = open_source(make_plan(), lambda: database)
    cutoff = await source.now()
    # the INSERT's own statistics are told at most once a second: they must not come after the reset
    await connection.execute("SELECT pg_stat_force_next_flush()")
    await connection.execute("SELECT pg_stat_reset()")
    window = await source.cut(Predicate(cutoff), None, 1000, 80_000)
    await source.close()
    await statistics_are_told(connection)
    assert [type(cut.scope) for cut in window.cuts] == [Keys]
    assert window.rows == 100
    async with connection.transaction():
        await connection.execute("SELECT pg_stat_clear_snapshot()")
    row = await (await connection.execute(pages)).fetchone()
    assert row is not None
    assert row[0] <= 3 * window.rows


async def test_a_keys_job_finds_its_rows_by_their_key_however_few_the_planner_expects(
    database: str, connection: psycopg.AsyncConnection[tuple[Any, ...]]
) -> None:
    await connection.execute(
        "CREATE TABLE things (id bigint PRIMARY KEY, status text, expires_at timestamptz);"
        "INSERT INTO things SELECT n, CASE WHEN n % 100 = 0 THEN 'pending' ELSE 'done' END, now() - interval '1 day' "
        "FROM generate_series(1, 50000) n; CREATE INDEX by_time ON things (expires_at) WHERE status = 'pending'; ANALYZE things"
    )
    source = open_source(make_plan(), lambda: database)
    cutoff = await source.now()
    await source.stale(Keys((("100",), ("200",), ("49900",))), Predicate(cutoff), 10)
    await source.close()
    await statistics_are_told(connection)
    used = await connection.execute("SELECT indexrelname, idx_scan > 0 FROM pg_stat_user_indexes")
    assert dict(await used.fetchall()) == {"things_pkey": True, "by_time": False}


async def test_warming_up_opens_what_the_jobs_will_use(
    database: str, connection: psycopg.AsyncConnection[tuple[Any, ...]]
) -> None:
    await connection.execute("CREATE TABLE things (id bigint PRIMARY KEY, status text, expires_at timestamptz)")
    await connection.execute("INSERT INTO things VALUES (1, 'pending', now() - interval '1 day')")
    source = open_source(make_plan(concurrency=3), lambda: database)
    await source.warm()
    found = await connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'kubesweep/default/close'"
    )
    assert await found.fetchone() == (3,)
    untouched = await connection.execute("SELECT status FROM things")
    assert await untouched.fetchone() == ("pending",)
    await source.close()


TABLES = """
    CREATE SCHEMA IF NOT EXISTS archive;
    CREATE TABLE things (id bigint PRIMARY KEY, code text NOT NULL UNIQUE, status text, expires_at timestamptz);
    CREATE TABLE others (id bigint PRIMARY KEY, status text, expires_at timestamptz);
    CREATE TABLE archive.things (id bigint PRIMARY KEY, status text, expires_at timestamptz);
"""


async def origin(url: str, source: Source) -> str:
    opened = open_source(make_plan(source=source), lambda: url)
    try:
        return await opened.origin()
    finally:
        await opened.close()


async def test_the_origin_of_keys_changes_with_database_schema_table_and_key_columns(
    postgres_server: Server, database: str
) -> None:
    elsewhere = postgres_server.create()
    for url in (database, elsewhere):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(TABLES)
    things = Source(table="things")
    found = [
        await origin(database, things),
        await origin(elsewhere, things),
        await origin(database, Source(table="others")),
        await origin(database, Source(table="things", schema="archive")),
        await origin(database, Source(table="things", key=("code",))),
    ]
    postgres_server.drop(elsewhere)
    assert len(set(found)) == len(found)
    assert found[0].startswith("public.things(id) #")
    assert await origin(database, Source(table="things", schema="public", key=("id",), lock_timeout=1.0)) == found[0]


async def test_the_origin_is_known_to_a_role_that_may_not_ask_for_the_servers_identifier(
    postgres_server: Server, database: str
) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(TABLES)
        connection.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
        connection.execute("CREATE ROLE plain LOGIN; GRANT SELECT, UPDATE ON things, others TO plain")
    plain = database.replace("postgres@", "plain@")
    found = await origin(plain, Source(table="things"))
    assert found.startswith("public.things(id) #")
    assert found == await origin(plain, Source(table="things"))
    assert found != await origin(plain, Source(table="others"))
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DROP OWNED BY plain; DROP ROLE plain")


ENDS = {
    "bigint": ("id bigint PRIMARY KEY", "n", ("id",)),
    "uuid": ("id uuid PRIMARY KEY", "md5(n::text)::uuid", ("id",)),
    "two columns": ("id text, part int, PRIMARY KEY (part, id)", "n::text", ("part", "id")),
}


@pytest.mark.parametrize("kind", ENDS)
@pytest.mark.parametrize("share", [1, 40], ids=["dense", "sparse"])
async def test_a_window_ends_at_the_greatest_key_of_the_start(
    database: str, connection: psycopg.AsyncConnection[tuple[Any, ...]], kind: str, share: int
) -> None:
    columns, value, key = ENDS[kind]
    await connection.execute(f"CREATE TABLE things ({columns}, status text, expires_at timestamptz)".encode())
    names = ", ".join(key)
    values = ", ".join("n / 500" if name == "part" else value for name in key)
    filled = (
        f"INSERT INTO things ({names}, status, expires_at) SELECT {values}, CASE WHEN n % {share} = 0 THEN 'pending' ELSE 'live' END, "
        "now() - interval '1 day' FROM generate_series({}, {}) AS n"
    )
    await connection.execute(filled.format(1, 2000).encode())
    await connection.execute("ANALYZE things")
    source = open_source(make_plan(), lambda: database)
    cutoff, last = await source.bounds()
    order = " DESC, ".join(key) + " DESC"
    row = await (await connection.execute(f"SELECT {names} FROM things ORDER BY {order} LIMIT 1".encode())).fetchone()
    assert row is not None
    assert last == tuple(str(part) for part in row)
    await connection.execute(filled.format(2001, 4000).encode())
    expected = await connection.execute(
        f"SELECT count(*) FROM things WHERE status = 'pending' AND ({names}) <= (SELECT {names} FROM things ORDER BY {order} LIMIT 1)".encode()
    )
    everything = await expected.fetchone()
    planned, after = 0, None
    while True:
        window = await source.cut(Predicate(cutoff), after, 20, 200, last)
        planned, after = planned + window.rows, window.cursor
        if after is None:
            break
    assert everything is not None
    assert planned <= everything[0]
    assert planned == 2000 // share if kind != "uuid" else planned >= 2000 // share
    await source.close()
