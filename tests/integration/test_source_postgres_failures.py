"""The Postgres source after errors: what happens to the rows, and which class of error is raised."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import psycopg
import pytest

from kubesweep.api.plan import Archive, Assignment, Effect, Source, Write
from kubesweep.errors import Outage, RowError, SweepFailure
from kubesweep_worker.sources import open_source
from kubesweep_worker.sources.base import Keys, Predicate, Range
from tests.integration.postgres import Server, postgres
from tests.integration.postgres_plans import make_plan
from tests.integration.things_table import ALL, SCHEMA, Connection, opened


@pytest.fixture
async def app(database: str) -> AsyncIterator[Connection]:
    """The application whose table is swept."""
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as opened:
        await opened.execute(SCHEMA)
        yield opened


async def test_a_table_that_vanishes_ends_the_sweep_until_it_returns(database: str, app: Connection) -> None:
    source = opened(database)
    cutoff = await source.now()
    assert (await source.write(Keys((("1",),)), Predicate(cutoff))).applied == 1
    await app.execute("DROP TABLE things")
    with pytest.raises(SweepFailure) as found:
        await source.write(ALL, Predicate(cutoff))
    assert found.value.reason == "TableMissing"
    await app.execute(SCHEMA.replace("id int", "id uuid").replace("SELECT n,", "SELECT gen_random_uuid(),"))
    assert len(await source.keys(ALL, Predicate("2999-01-01 00:00:00+00"))) == 10
    await source.close()


async def test_a_column_that_is_renamed_ends_the_sweep(database: str, app: Connection) -> None:
    source = opened(database)
    cutoff = await source.now()
    await source.count(Predicate(cutoff), 1)
    await app.execute("ALTER TABLE things RENAME status TO state")
    with pytest.raises(SweepFailure) as found:
        await source.write(ALL, Predicate(cutoff))
    assert found.value.reason == "ColumnMissing"
    await source.close()


async def test_a_refused_row_is_a_row_error_without_its_data(database: str, app: Connection) -> None:
    await app.execute("ALTER TABLE things ADD CONSTRAINT seven CHECK (id <> 7 OR status <> 'expired')")
    source = opened(database)
    with pytest.raises(RowError) as found:
        await source.write(ALL, Predicate(await source.now()))
    assert found.value.error == "CheckViolation"
    assert str(found.value) == 'new row for relation "things" violates check constraint "seven"'
    await source.close()


async def test_a_deferred_constraint_is_a_row_error_at_the_commit_and_when_tried(
    database: str, app: Connection
) -> None:
    await app.execute(
        "CREATE TABLE others (id int PRIMARY KEY, thing int REFERENCES things DEFERRABLE INITIALLY DEFERRED); "
        "INSERT INTO others VALUES (1, 4)"
    )
    source = opened(database, write=Write())
    with pytest.raises(RowError) as found:
        await source.write(ALL, Predicate(await source.now()))
    assert found.value.error == "ForeignKeyViolation"
    with pytest.raises(RowError) as found:
        await source.try_write(await source.now(), 10)
    assert found.value.error == "ForeignKeyViolation"
    await source.close()


async def test_rows_that_row_level_security_hides_are_not_swept_and_a_warning_says_so(
    database: str, app: Connection, postgres_server: Server
) -> None:
    name = app.info.dbname
    await app.execute(
        f'CREATE ROLE "sweeper {name}" LOGIN; GRANT SELECT, UPDATE ON things TO "sweeper {name}"; '
        "ALTER TABLE things ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON things USING (id <= 3)"
    )
    source = opened(postgres_server.url(name, user=f"sweeper {name}"))
    table = await source.inspect()
    assert "row-level-security" in dict(table.warnings)
    assert (await source.write(ALL, Predicate(await source.now()))).applied == 3
    await source.close()
    await app.execute(f'DROP OWNED BY "sweeper {name}"; DROP ROLE "sweeper {name}"')


async def test_a_database_that_is_read_only_by_default_ends_the_sweep(database: str, app: Connection) -> None:
    await app.execute(f'ALTER DATABASE "{app.info.dbname}" SET default_transaction_read_only = on')
    source = opened(database)
    assert await source.count(Predicate(await source.now()), 100) == 10
    for call in (source.inspect(), source.write(ALL, Predicate(await source.now()))):
        with pytest.raises(SweepFailure) as found:
            await call
        assert found.value.reason == "ReadOnly"
    await source.close()


async def test_a_wrong_password_ends_the_sweep_until_it_is_rotated(
    locked_role: str, postgres_server: Server, database: str, app: Connection
) -> None:
    await app.execute(f"CREATE ROLE {locked_role} LOGIN PASSWORD 'right'; GRANT SELECT ON things TO {locked_role}")
    passwords = ["s3cret-wrong"]
    source = open_source(make_plan(), lambda: postgres_server.url(app.info.dbname, locked_role, passwords[-1]))
    with pytest.raises(SweepFailure) as found:
        await source.probe()
    assert found.value.reason == "AuthenticationFailed"
    assert "s3cret" not in str(found.value)
    passwords.append("right")
    assert await source.count(Predicate(await source.now()), 100) == 10
    await source.close()


@pytest.fixture
def own_server() -> Iterator[Server]:
    with postgres() as server:
        yield server


async def test_a_server_that_is_gone_is_an_outage_until_it_returns(own_server: Server) -> None:
    url = own_server.create()
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(SCHEMA)
    source = opened(url)
    cutoff = await source.now()
    own_server.stop("fast")
    for _ in range(2):
        with pytest.raises(Outage) as found:
            await source.probe()
        assert found.value.reason in ("Unreachable", "ConnectionLost")
    own_server.start()
    await source.probe()
    assert (await source.write(ALL, Predicate(cutoff))).applied == 10
    await source.close()


async def test_deleted_rows_arrive_in_the_archive_with_the_columns_that_it_has(database: str, app: Connection) -> None:
    await app.execute(
        "CREATE SCHEMA archive; CREATE TABLE archive.things (status text, id int GENERATED ALWAYS AS IDENTITY, at timestamptz DEFAULT now())"
    )
    source = opened(database, write=Write(archive=Archive("things", "archive")))
    await source.inspect()
    assert (await source.write(Range(("2",), ("8",)), Predicate(await source.now(), frozenset([("5",)])))).applied == 5
    rows = await (await app.execute("SELECT id FROM archive.things ORDER BY 1")).fetchall()
    assert rows == [(3,), (4,), (6,), (7,), (8,)]
    left = await (await app.execute("SELECT array_agg(id ORDER BY id) FROM things")).fetchone()
    assert left == ([1, 2, 5, 9, 10],)
    await source.close()


async def test_a_tried_write_is_rolled_back(database: str, app: Connection) -> None:
    source = opened(database)
    tried = await source.try_write(await source.now(), 4)
    assert (tried.tried, tried.would_apply, tried.still_stale) == (4, 4, 0)
    assert await source.count(Predicate(await source.now()), 100) == 10
    await source.close()


async def test_an_explanation_is_sql_that_runs(database: str, app: Connection) -> None:
    source = opened(database, effect=Effect(columns=("id", "note"), handler="a:b"))
    explanation = await source.explain(await source.now())
    assert explanation.write_sql is not None
    for statement in (explanation.plan_sql, explanation.stale_sql, explanation.write_sql):
        await app.execute(statement.encode())
    assert "Scan" in explanation.plan_text
    assert explanation.index_advice is None
    await source.close()


async def test_values_that_python_cannot_hold_reach_the_effect_as_text(database: str, app: Connection) -> None:
    await app.execute("UPDATE things SET expires_at = '-infinity' WHERE id = 1")
    source = opened(database, effect=Effect(columns=("id", "expires_at", "note"), handler="a:b"))
    [row] = await source.stale(Keys((("1",),)), Predicate(await source.now()), 10)
    assert (row.key, row.stamp, dict(row.values)) == (
        ("1",),
        ("-infinity",),
        {"id": 1, "expires_at": "-infinity", "note": None},
    )
    await source.close()


async def test_times_that_python_does_not_know_reach_the_effect_as_text(database: str, app: Connection) -> None:
    await app.execute("ALTER TABLE things ADD closes time DEFAULT '24:00', ADD opens timetz DEFAULT '24:00+00'")
    await app.execute("ALTER TABLE things ADD keeps interval DEFAULT '-178000000 years'")
    source = opened(database, effect=Effect(columns=("closes", "opens", "keeps"), handler="a:b"))
    (first, *_) = await source.stale(ALL, Predicate(await source.now()), 10)
    assert (first.values["closes"], first.values["opens"]) == ("24:00:00", "24:00:00+00")
    assert isinstance(first.values["keeps"], str | timedelta)
    await source.close()


async def test_a_value_too_long_for_its_index_is_its_rows_failure(database: str, app: Connection) -> None:
    await app.execute("ALTER TABLE things ADD proof text; CREATE INDEX ON things (proof)")
    long = "(SELECT string_agg(md5(n::text), '') FROM generate_series(1, 2000) AS n)"
    source = opened(database, write=Write(update=(Assignment("status", "x"), Assignment("proof", sql=long))))
    with pytest.raises(RowError, match="index row"):
        await source.write(Keys((("3",),)), Predicate(await source.now()))
    await source.close()


async def test_an_error_code_of_the_applications_own_trigger_is_its_rows_failure(
    database: str, app: Connection
) -> None:
    await app.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'is a vip' USING ERRCODE = '45000'; END $$; "
        "CREATE TRIGGER refuse BEFORE UPDATE ON things FOR EACH ROW WHEN (OLD.id = 3) EXECUTE FUNCTION refuse()"
    )
    source = opened(database)
    with pytest.raises(RowError, match="is a vip"):
        await source.write(ALL, Predicate(await source.now()))
    await source.close()


async def test_a_role_that_quotes_all_identifiers_changes_nothing(database: str, app: Connection) -> None:
    await app.execute("CREATE TABLE words (id text PRIMARY KEY, status text, expires_at timestamptz)")
    await app.execute("INSERT INTO words VALUES ('a', 'pending', now() - interval '1 day')")
    await app.execute(f'ALTER DATABASE "{app.info.dbname}" SET quote_all_identifiers = on')
    source = opened(database, source=Source(table="words"))
    assert (await source.write(ALL, Predicate(await source.now()))).applied == 1
    await source.close()


async def test_a_session_whose_time_zone_was_changed_names_rows_as_before(database: str, app: Connection) -> None:
    await app.execute(
        "CREATE TABLE events (at timestamptz PRIMARY KEY, status text, expires_at timestamptz); "
        "INSERT INTO events VALUES ('2026-07-01 12:00+00', 'pending', now() - interval '1 day'); "
        "CREATE FUNCTION elsewhere() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM set_config('TimeZone', 'Asia/Tokyo', false); RETURN NULL; END $$; "
        "CREATE TRIGGER elsewhere AFTER UPDATE ON events EXECUTE FUNCTION elsewhere()"
    )
    source = opened(database, source=Source(table="events"))
    cutoff = await source.now()
    named = await source.keys(ALL, Predicate(cutoff))
    assert (await source.write(ALL, Predicate(cutoff))).applied == 1
    await app.execute("UPDATE events SET status = 'pending'")
    assert await source.keys(ALL, Predicate(cutoff)) == named
    await source.close()
