"""Which tables on PostgreSQL get a warning, and which do not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from kubesweep.api.plan import Archive, Match, Plan, Source, Write
from kubesweep.errors import SweepFailure
from kubesweep_worker.sources import open_source
from kubesweep_worker.sources.base import Keys, Predicate, Range

Connection = psycopg.AsyncConnection[tuple[Any, ...]]
AT = Match("before", "at")


@pytest.fixture
async def app(database: str) -> AsyncIterator[Connection]:
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as opened:
        yield opened


async def warned(database: str, *match: Match, write: Write | None = None) -> dict[str, str]:
    plan = Plan(
        namespace="d",
        name="n",
        uid="u",
        source=Source(table="things", naive_time_zone="UTC"),
        match=match,
        write=write or Write(),
    )
    source = open_source(plan, lambda: database)
    try:
        return dict((await source.inspect()).warnings)
    finally:
        await source.close()


INDEXED = (
    "CREATE TABLE things (id int PRIMARY KEY, seen bigint NOT NULL, other bigint); CREATE INDEX ON things (seen);"
    "INSERT INTO things SELECT n, n FROM generate_series(1, 1000) AS n; ANALYZE things"
)
EPOCHS = {
    "t.seen < extract(epoch from :cutoff)": True,
    "to_timestamp(t.seen) < :cutoff": True,
    "timestamp 'epoch' + t.seen * interval '1 second' < :cutoff": True,
    "'epoch'::timestamptz + make_interval(secs => t.seen) < :cutoff": True,
    "extract(epoch from :cutoff) > t.seen": True,
    "t.seen + 86400 < extract(epoch from :cutoff)::bigint": True,
    "t.seen < extract(epoch from :cutoff)::bigint - 86400": False,
    "t.seen < date_part('epoch', :cutoff)::int": False,
    "t.other < extract(epoch from :cutoff)": False,
}
REFERRED = (
    "CREATE TABLE things (id int PRIMARY KEY, email text, at timestamptz NOT NULL);"
    "CREATE TABLE purchases (thing int REFERENCES things, email text, open bool); CREATE INDEX ON purchases (thing);"
    "CREATE TABLE others (x int); CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.purchases (thing int)"
)
# No trouble only where a foreign key guards what the subquery asks.
SUBQUERIES = {
    "NOT EXISTS (SELECT FROM purchases AS o WHERE o.thing = t.id)": False,
    'not exists (select 1 from public."purchases" o where o."thing" = t.id and o.open)': False,
    "NOT EXISTS (SELECT FROM purchases AS o WHERE o.email = t.email)": True,
    "NOT EXISTS (SELECT FROM purchases AS o WHERE o.thing = t.id OR o.email = t.email)": True,
    "NOT EXISTS (SELECT FROM purchases AS o JOIN others AS x ON true WHERE o.thing = t.id)": True,
    "NOT EXISTS (SELECT FROM purchases AS o WHERE o.thing = t.id) AND (SELECT count(*) FROM others) >= 0": True,
    "NOT EXISTS (SELECT FROM elsewhere.purchases AS o WHERE o.thing = t.id)": True,
    "EXISTS (SELECT FROM purchases AS o WHERE o.thing = t.id)": True,
}


@pytest.mark.parametrize(
    ("tables", "warning", "sql", "expected"),
    [
        *((INDEXED, "epoch-sql", sql, expected) for sql, expected in EPOCHS.items()),
        *((REFERRED, "subquery", sql, expected) for sql, expected in SUBQUERIES.items()),
    ],
    ids=[*EPOCHS, *SUBQUERIES],
)
async def test_sql_is_reported_where_postgresql_would_read_everything_or_look_at_rows_without_a_lock(
    database: str, app: Connection, tables: str, warning: str, sql: str, expected: bool
) -> None:
    await app.execute(tables.encode())
    assert (warning in await warned(database, Match("sql", sql=sql))) is expected


async def test_a_foreign_key_that_is_not_enforced_does_nothing(database: str, app: Connection) -> None:
    await app.execute("CREATE TABLE things (id int PRIMARY KEY, at timestamptz NOT NULL)")
    await app.execute(
        "CREATE TABLE lines (thing int, FOREIGN KEY (thing) REFERENCES things ON DELETE CASCADE NOT ENFORCED)"
    )
    assert await warned(database, AT) == {}


async def test_a_partial_index_that_leaves_out_null_serves_its_foreign_key(database: str, app: Connection) -> None:
    await app.execute(
        "CREATE TABLE things (id int PRIMARY KEY, at timestamptz NOT NULL); CREATE TABLE lines (thing int REFERENCES things, done bool)"
    )
    assert "foreign-key-without-index" in await warned(database, AT)
    await app.execute("CREATE INDEX ON lines (thing) WHERE done")
    assert "foreign-key-without-index" in await warned(database, AT)
    await app.execute("CREATE INDEX ON lines (thing) WHERE thing IS NOT NULL")
    assert await warned(database, AT) == {}


async def test_what_an_archive_does_not_get_is_reported(database: str, app: Connection) -> None:
    await app.execute(
        "CREATE TABLE things (id int PRIMARY KEY, at timestamptz NOT NULL, amount numeric); CREATE TABLE heirs (secret text) INHERITS (things);"
        "CREATE TABLE kept (id int, at timestamptz, amount numeric GENERATED ALWAYS AS (0) STORED)"
    )
    expected = await warned(database, AT, write=Write(archive=Archive("kept")))
    assert "amount" in expected["archive-columns"]
    plan = Plan(
        namespace="d",
        name="n",
        uid="u",
        source=Source(table="things"),
        match=(AT,),
        write=Write(archive=Archive("kept")),
    )
    source = open_source(plan, lambda: database)
    sentences = [sentence for code, sentence in (await source.inspect()).warnings if code == "archive-columns"]
    assert any("secret of heirs" in sentence for sentence in sentences)
    await source.close()


async def test_an_archive_of_a_type_that_cannot_be_had_is_named(database: str, app: Connection) -> None:
    await app.execute(
        "CREATE TABLE things (id int PRIMARY KEY, at timestamptz NOT NULL, note text); CREATE TABLE kept (id int, at timestamptz, note inet)"
    )
    with pytest.raises(SweepFailure, match=r'"kept" cannot take the rows: .*inet'):
        await warned(database, AT, write=Write(archive=Archive("kept")))


async def test_a_function_whose_name_ends_like_now_is_another(database: str, app: Connection) -> None:
    await app.execute(
        "CREATE TABLE things (id int PRIMARY KEY, at timestamptz NOT NULL); CREATE FUNCTION unknow(int) RETURNS bool RETURN true"
    )
    assert "volatile-sql" not in await warned(database, AT, Match("sql", sql="unknow(t.id)"))
    assert "volatile-sql" in await warned(database, AT, Match("sql", sql="t.at < now()"))


async def test_a_column_that_the_archive_begins_to_generate_stops_the_sweep(database: str, app: Connection) -> None:
    await app.execute(
        "CREATE TABLE things (id int PRIMARY KEY, at timestamptz NOT NULL, note text); CREATE TABLE kept (LIKE things);"
        "INSERT INTO things VALUES (1, '2020-01-01', 'precious')"
    )
    plan = Plan(
        namespace="d",
        name="n",
        uid="u",
        source=Source(table="things"),
        match=(AT,),
        write=Write(archive=Archive("kept")),
    )
    source = open_source(plan, lambda: database)
    cutoff, _ = await source.bounds()
    await app.execute(
        "ALTER TABLE kept DROP COLUMN note; ALTER TABLE kept ADD note text GENERATED ALWAYS AS ('x') STORED"
    )
    [key] = await source.keys(Range(), Predicate(cutoff))
    with pytest.raises(SweepFailure, match='lost column "note" while this worker ran'):
        await source.write(Keys((key,)), Predicate(cutoff))
    await source.close()
    assert await (await app.execute("SELECT count(*) FROM things")).fetchone() == (1,)
