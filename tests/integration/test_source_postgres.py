"""The Postgres source against a real server: every stale row in exactly one cut, and written once."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from kubesweep.api.plan import Plan
from kubesweep.queue.model import Key
from kubesweep_worker.sources import open_source
from kubesweep_worker.sources.base import Cut, InspectableSource, Keys, Predicate
from tests.integration.postgres_plans import make_plan


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


async def flush_statistics(connection: psycopg.AsyncConnection[tuple[Any, ...]]) -> None:
    """A backend reports its statistics when it ends: wait until all others have ended."""
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
    # the statistics of the INSERT are reported at most once a second, and must not arrive after the reset
    await connection.execute("SELECT pg_stat_force_next_flush()")
    await connection.execute("SELECT pg_stat_reset()")
    window = await source.cut(Predicate(cutoff), None, 1000, 80_000)
    await source.close()
    await flush_statistics(connection)
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
    await flush_statistics(connection)
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
