"""Keys of every type that PostgreSQL can order and whose text is exact: each stale row is in one cut, read, written and refused by its key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from kubesweep.api.plan import Assignment, Effect, Match, Plan, Source, Write
from kubesweep.errors import SweepFailure
from kubesweep_worker.sources import open_source
from kubesweep_worker.sources.base import Keys, Predicate, Range

Connection = psycopg.AsyncConnection[tuple[Any, ...]]
# The expression of the n-th key, of 40.
TYPES = {
    "boolean": "n % 2 = 0",
    "bytea": "decode(md5(n::text), 'hex')",
    "cidr": "('10.0.' || n || '.0/24')::cidr",
    "citext": "'Key ' || chr(64 + n)",
    "inet": "('10.0.0.' || n || '/8')::inet",
    "macaddr": "('08:00:2b:01:02:' || lpad(to_hex(n), 2, '0'))::macaddr",
    "mood": "CASE n WHEN 1 THEN 'sad' WHEN 2 THEN 'it''s \\ \"fine\"' ELSE 'glad' END::mood",
    "oid": "(4000000000 + n)::oid",
    "time": "time '00:00' + n * interval '1 minute 0.5 seconds'",
    "timestamptz": "timestamptz '2026-03-29 00:00:00+01' + n * interval '10 minutes'",
    "date": "date '2026-01-01' + n",
    "numeric": "n / 7.0",
    "uuid": "md5(n::text)::uuid",
    "text": "repeat(chr(200 + n), 3) || '\\ '' \"'",
}


@pytest.fixture
async def app(database: str) -> AsyncIterator[Connection]:
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as opened:
        yield opened


def a_plan(**changes: Any) -> Plan:
    fields: dict[str, Any] = {
        "namespace": "d",
        "name": "n",
        "uid": "u",
        "source": Source(table="things"),
        "match": (Match("in", "status", ("pending",)),),
        "write": Write(update=(Assignment("status", value="closed"),)),
    }
    return Plan(**fields | changes)


async def filled(app: Connection, type_: str, expression: str) -> int:
    if type_ == "citext":
        try:
            await app.execute("CREATE EXTENSION citext")
        except psycopg.Error:
            pytest.skip("this PostgreSQL has no extension citext")
    if type_ == "mood":
        await app.execute("CREATE TYPE mood AS ENUM ('sad', 'it''s \\ \"fine\"', 'glad')")
    await app.execute(f"CREATE TABLE things (k {type_} PRIMARY KEY, status text NOT NULL)".encode())
    insert = f"INSERT INTO things SELECT DISTINCT ON (k) k, 'pending' FROM (SELECT {expression} AS k FROM generate_series(1, 40) AS n) AS s"
    return (await app.execute(insert.encode())).rowcount


@pytest.mark.parametrize(("type_", "bytea_output"), [*((type_, "hex") for type_ in TYPES), ("bytea", "escape")])
async def test_each_row_is_named_by_its_key(database: str, app: Connection, type_: str, bytea_output: str) -> None:
    await app.execute(f'ALTER DATABASE "{app.info.dbname}" SET bytea_output = {bytea_output}'.encode())
    rows = await filled(app, type_, TYPES[type_])
    source = open_source(a_plan(effect=Effect(columns=("k",), handler="a:b")), lambda: database)
    await source.inspect()
    cutoff, last = await source.bounds()
    every = await source.keys(Range(), Predicate(cutoff))
    assert len(set(every)) == rows
    after, found = None, 0
    while True:
        window = await source.cut(Predicate(cutoff, frozenset(every[:1])), after, 3, 6, last)
        found += window.rows
        for cut in window.cuts:
            assert len(await source.stale(cut.scope, Predicate(cutoff, frozenset(every[:1])), 10)) == cut.rows
        after = window.cursor
        if after is None:
            break
    assert found == rows - 1
    assert {row.key for row in await source.stale(Keys(every), Predicate(cutoff), 100)} == set(every)
    assert (await source.write(Keys(every[:1]), Predicate(cutoff))).applied == 1
    assert (await source.write(Range(), Predicate(cutoff))).applied == rows - 1
    await source.close()


@pytest.mark.parametrize("type_", ["double precision", "interval", "int4range", "jsonb"])
async def test_a_type_whose_text_does_not_name_its_value_is_refused(database: str, app: Connection, type_: str) -> None:
    await app.execute(f"CREATE TABLE things (k {type_} PRIMARY KEY, status text NOT NULL)".encode())
    source = open_source(a_plan(), lambda: database)
    with pytest.raises(SweepFailure, match="does not name its value exactly") as found:
        await source.inspect()
    assert found.value.reason == "KeyTypeUnsupported"
    await source.close()


async def test_a_deferrable_primary_key_is_a_key(database: str, app: Connection) -> None:
    await app.execute("CREATE TABLE things (k int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, status text NOT NULL)")
    await app.execute("INSERT INTO things VALUES (1, 'pending')")
    source = open_source(a_plan(), lambda: database)
    assert (await source.inspect()).warnings == ()
    assert (await source.write(Range(), Predicate(await source.now()))).applied == 1
    await source.close()


@pytest.mark.parametrize(
    ("rest", "expected"),
    [("", 'name "status" in spec.source.key'), (", PRIMARY KEY (k, status)", "CREATE INDEX ON ONLY")],
)
async def test_a_partitioned_table_gets_advice_that_postgresql_takes(
    database: str, app: Connection, rest: str, expected: str
) -> None:
    """PostgreSQL cannot create an index CONCURRENTLY on a partitioned table."""
    await app.execute(
        f"CREATE TABLE things (k int NOT NULL, status text NOT NULL, at timestamptz NOT NULL{rest}) PARTITION BY LIST (status);"
        "CREATE TABLE one PARTITION OF things DEFAULT;"
        "INSERT INTO things SELECT n, 'open', now() FROM generate_series(1, 120000) AS n; ANALYZE things".encode()
    )
    plan = a_plan(
        match=(Match("before", "at", offset=60.0),),
        write=Write(),
        source=Source(table="things", key=() if rest else ("k",)),
    )
    source = open_source(plan, lambda: database)
    if rest:
        advice = dict((await source.inspect()).warnings)["no-index"]
    else:
        with pytest.raises(SweepFailure) as found:
            await source.inspect()
        advice = str(found.value)
    assert expected in advice
    assert "CONCURRENTLY ON" not in advice
    await source.close()
