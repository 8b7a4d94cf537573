"""Archives: what a migration changes while a worker runs is kept, or stops the sweep before anything is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from kubesweep.errors import RowError, SweepFailure
from kubesweep_worker.sources import open_source
from kubesweep_worker.sources.base import InspectableSource, Keys, Predicate, Range, Scope
from tests.integration.archive_tables import ALL, ARCHIVE, BOTH, ONE, TABLES, Connection, refused
from tests.integration.postgres import Server
from tests.integration.postgres_plans import make_plan
from tests.kits.deadlines import scaled


@pytest.fixture
async def app(database: str) -> AsyncIterator[Connection]:
    """The application whose table is swept."""
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as opened:
        await opened.execute(TABLES)
        yield opened


@pytest.fixture
async def source(database: str, app: Connection) -> AsyncIterator[InspectableSource]:
    """The source of a worker that has read the tables."""
    opened = open_source(make_plan(write=ARCHIVE), lambda: database)
    await opened.origin()
    yield opened
    await opened.close()


@pytest.mark.parametrize("scope", [ALL, Keys((("1",), ("2",), ("3",)))], ids=["range", "keys"])
@pytest.mark.parametrize("what", BOTH)
async def test_what_a_migration_of_both_tables_changes_between_plan_and_write_is_kept(
    source: InspectableSource, app: Connection, what: str, scope: Scope
) -> None:
    statements, column, value = BOTH[what]
    cutoff = await source.now()
    for statement in statements:
        for table in ("things", "kept"):
            await app.execute(statement.format(table).encode())
    assert (await source.write(scope, Predicate(cutoff))).applied == 3
    row = await (await app.execute(f"SELECT count(*), min({column}) FROM kept".encode())).fetchone()
    assert row == (3, value)


@pytest.mark.parametrize("what", BOTH)
async def test_what_a_migration_changes_while_the_write_waits_for_its_lock_is_kept(
    source: InspectableSource, database: str, app: Connection, what: str
) -> None:
    statements, column, value = BOTH[what]
    cutoff = await source.now()
    async with await psycopg.AsyncConnection.connect(database) as migration:
        for statement in statements:
            for table in ("kept", "things"):
                await migration.execute(statement.format(table).encode())
        writing = asyncio.create_task(source.write(ALL, Predicate(cutoff)))
        async with asyncio.timeout(scaled(30)):
            waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            while (await (await app.execute(waits.encode())).fetchone()) == (0,):
                assert not writing.done()
        await migration.commit()
    assert (await writing).applied == 3
    row = await (await app.execute(f"SELECT count(*), min({column}) FROM kept".encode())).fetchone()
    assert row == (3, value)


@pytest.mark.parametrize("what", ONE)
async def test_a_column_that_the_archive_does_not_get_stops_the_sweep_before_anything_is_lost(
    source: InspectableSource, app: Connection, what: str
) -> None:
    statement, expected = ONE[what]
    cutoff = await source.now()
    await app.execute(statement.encode())
    for _ in range(2):
        with pytest.raises(SweepFailure, match=expected) as found:
            await source.write(ALL, Predicate(cutoff))
        assert found.value.reason == "ArchiveMismatch"
    advice = str(found.value).partition("lost: ")[2]
    assert await (await app.execute("SELECT count(*), (SELECT count(*) FROM kept) FROM things")).fetchone() == (3, 0)
    await app.execute(advice.encode())
    assert (await source.write(ALL, Predicate(cutoff))).applied == 3


async def test_the_table_itself_is_no_archive(database: str, app: Connection) -> None:
    await refused(database, "things", "is the table itself")


FUNCTION = "CREATE FUNCTION drops() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {} END $$;"


TRIGGER = "CREATE TRIGGER drops BEFORE INSERT ON kept FOR EACH ROW EXECUTE FUNCTION drops();"


SECOND = FUNCTION.format("IF NEW.id = 2 THEN RETURN NULL; END IF; RETURN NEW;") + TRIGGER


OLDER = "INSERT INTO kept SELECT * FROM things WHERE id = 2;"


# What an archive may do with row 2 so that no copy of it is kept.
DROPS = {
    "a trigger": SECOND,
    "a trigger, and an older row of the same key": OLDER + SECOND,
    "a trigger that keeps the first of each key": OLDER
    + FUNCTION.format("IF EXISTS (SELECT FROM kept WHERE id = NEW.id) THEN RETURN NULL; END IF; RETURN NEW;")
    + TRIGGER,
    "a trigger of a view": "ALTER TABLE kept RENAME TO base; CREATE VIEW kept AS TABLE base;"
    + SECOND.replace("BEFORE", "INSTEAD OF").replace("RETURN NEW", "INSERT INTO base SELECT NEW.*; RETURN NEW"),
    "a trigger of the table behind a view": "ALTER TABLE kept RENAME TO base; CREATE VIEW kept AS TABLE base;"
    + SECOND.replace("ON kept", "ON base"),
    "a trigger, without the key in the archive": "ALTER TABLE kept DROP id;"
    + SECOND.replace("NEW.id = 2", "NEW.note = 'note 2'"),
}


# What an archive may do with all rows so that each is kept.
KEEPS = {
    "a trigger that sets a column": "ALTER TABLE kept ADD at timestamptz;"
    + FUNCTION.format("NEW.at := now(); RETURN NEW;")
    + TRIGGER,
    "partitions as they were made before PostgreSQL 10": "CREATE TABLE old () INHERITS (kept);"
    + FUNCTION.format("INSERT INTO old SELECT NEW.*; RETURN NULL;")
    + TRIGGER,
    "the same, and a key of another type": "ALTER TABLE kept ALTER id TYPE numeric(10, 2); CREATE TABLE old () INHERITS (kept);"
    + FUNCTION.format("INSERT INTO old SELECT NEW.*; RETURN NULL;")
    + TRIGGER,
    "a trigger that changes the key": FUNCTION.format("NEW.id := NEW.id + 100; RETURN NEW;") + TRIGGER,
    "older rows of the same keys": "INSERT INTO kept TABLE things",
}


@pytest.mark.parametrize("what", DROPS)
async def test_a_row_of_which_the_archive_keeps_no_copy_stays_in_its_table(
    database: str, app: Connection, what: str
) -> None:
    await app.execute(DROPS[what].encode())
    older = await (await app.execute("SELECT count(*) FROM kept")).fetchone()
    source = open_source(make_plan(write=ARCHIVE), lambda: database)
    cutoff = await source.now()
    for ask in (
        source.try_write(cutoff, 10),
        source.write(ALL, Predicate(cutoff)),
        source.write(Keys((("2",),)), Predicate(cutoff)),
    ):
        with pytest.raises(RowError, match="did not take the row") as found:
            await ask
        assert found.value.error == "WriteRefused"
    assert (await source.write(Keys((("1",), ("3",))), Predicate(cutoff))).applied == 2
    assert await source.keys(Range(), Predicate(cutoff)) == (("2",),)
    assert older is not None
    assert await (await app.execute("SELECT count(*) FROM kept")).fetchone() == (older[0] + 2,)
    await source.close()


@pytest.mark.parametrize("what", KEEPS)
async def test_rows_that_the_archive_keeps_in_its_own_way_are_deleted(
    database: str, app: Connection, what: str
) -> None:
    await app.execute(KEEPS[what].encode())
    older = await (await app.execute("SELECT count(*) FROM kept")).fetchone()
    source = open_source(make_plan(write=ARCHIVE), lambda: database)
    cutoff = await source.now()
    assert (await source.try_write(cutoff, 10)).would_apply == 3
    assert (await source.write(ALL, Predicate(cutoff))).applied == 3
    assert older is not None
    assert await (await app.execute("SELECT count(*) FROM kept")).fetchone() == (older[0] + 3,)
    await source.close()


async def test_an_archive_that_may_only_be_written_is_enough(
    database: str, app: Connection, postgres_server: Server
) -> None:
    role = f"archives {app.info.dbname}"
    await app.execute(
        (
            f'CREATE ROLE "{role}" LOGIN; GRANT SELECT, DELETE ON things TO "{role}"; GRANT INSERT ON kept TO "{role}";'
            + FUNCTION.format("RETURN NEW;")
            + TRIGGER
            + "ALTER TABLE kept ENABLE ROW LEVEL SECURITY; CREATE POLICY puts ON kept FOR INSERT WITH CHECK (true)"
        ).encode()
    )
    source = open_source(make_plan(write=ARCHIVE), lambda: postgres_server.url(app.info.dbname, user=role))
    assert (await source.write(ALL, Predicate(await source.now()))).applied == 3
    await source.close()
    await app.execute(f'DROP OWNED BY "{role}"; DROP ROLE "{role}"'.encode())


@pytest.mark.parametrize("retyped", ["expires_at TYPE date", "id TYPE smallint, ALTER note TYPE name"])
async def test_a_type_that_would_lose_stops_the_sweep_that_was_permitted_before(
    source: InspectableSource, app: Connection, retyped: str
) -> None:
    cutoff = await source.now()
    await app.execute(f"ALTER TABLE kept ALTER {retyped}".encode())
    with pytest.raises(SweepFailure, match="would lose a part") as found:
        await source.write(ALL, Predicate(cutoff))
    assert found.value.reason == "ArchiveLossy"
    assert await (await app.execute("SELECT count(*) FROM things")).fetchone() == (3,)


PARTS = {
    "a child of the table": "DROP TABLE kept; CREATE TABLE kept () INHERITS (things)",
    "a view of the table": "DROP TABLE kept; CREATE VIEW kept AS SELECT * FROM things",
    "a partition of the table": "DROP TABLE kept, things; CREATE TABLE things (id int PRIMARY KEY, status text, expires_at timestamptz) PARTITION BY RANGE (id);"
    "CREATE TABLE kept PARTITION OF things FOR VALUES FROM (0) TO (99)",
}


@pytest.mark.parametrize("what", PARTS)
async def test_an_archive_whose_rows_are_the_tables_own_is_refused(database: str, app: Connection, what: str) -> None:
    await app.execute(PARTS[what].encode())
    await refused(database, "kept", "archived rows would match again")
