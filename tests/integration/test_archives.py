"""Archives: what a migration changes while a worker runs is kept, or stops the sweep before anything is lost."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from kubesweep.api.plan import Archive, Write
from kubesweep.errors import SweepFailure
from kubesweep_worker.sources import open_source
from kubesweep_worker.sources.base import InspectableSource, Keys, Range, Scope
from tests.deadlines import scaled
from tests.integration.test_source_postgres import make_plan

Connection = psycopg.AsyncConnection[tuple[Any, ...]]
ALL = Range(None, None, 3)
CUTOFF = "2026-03-01 00:00:00.000"
ARCHIVE = Write(archive=Archive("kept"))
TABLES = """
CREATE TABLE things (id int PRIMARY KEY, status text NOT NULL, expires_at timestamptz, note text);
INSERT INTO things SELECT n, 'pending', now() - interval '1 day', 'note ' || n FROM generate_series(1, 3) AS n;
CREATE TABLE kept (LIKE things);
"""
LITE = """
CREATE TABLE things (id INTEGER PRIMARY KEY, status TEXT NOT NULL, expires_at TEXT, note TEXT);
INSERT INTO things SELECT n, 'pending', '2026-01-01', 'note ' || n FROM (SELECT 1 AS n UNION SELECT 2 UNION SELECT 3);
CREATE TABLE kept (id INTEGER, status TEXT, expires_at TEXT, note TEXT);
"""
ADDED = "ALTER TABLE {} ADD COLUMN extra text DEFAULT 'new'"
# What a migration does to both tables, and what the archive then has of row 1 under the last column.
BOTH = {
    "added": ((ADDED,), "extra", "new"),
    "renamed": (("ALTER TABLE {} RENAME COLUMN note TO remark",), "remark", "note 1"),
    "dropped": (("ALTER TABLE {} DROP COLUMN note",), "status", "pending"),
    "dropped and added": (("ALTER TABLE {} DROP COLUMN note", ADDED), "extra", "new"),
}
ONE = {
    "added": (ADDED.format("things"), 'got column "extra" while this worker ran'),
    "renamed": ("ALTER TABLE things RENAME COLUMN note TO remark", 'got column "remark" while this worker ran'),
}


@pytest.fixture
async def app(database: str) -> AsyncIterator[Connection]:
    """The application whose table is swept."""
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as opened:
        await opened.execute(TABLES)
        yield opened


@pytest.fixture
async def source(database: str, app: Connection) -> AsyncIterator[InspectableSource]:
    """Of a worker that has looked at the tables."""
    opened = open_source(make_plan(write=ARCHIVE), lambda: database)
    await opened.origin()
    yield opened
    await opened.close()


@pytest.fixture
def lite(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.executescript(LITE)
    return tmp_path / "a.db"


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
    assert (await source.write(scope, cutoff, ())).applied == 3
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
        writing = asyncio.create_task(source.write(ALL, cutoff, ()))
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
    statement, told = ONE[what]
    cutoff = await source.now()
    await app.execute(statement.encode())
    for _ in range(2):
        with pytest.raises(SweepFailure, match=told) as found:
            await source.write(ALL, cutoff, ())
        assert found.value.reason == "ArchiveMismatch"
    advice = str(found.value).partition("lost: ")[2]
    assert await (await app.execute("SELECT count(*), (SELECT count(*) FROM kept) FROM things")).fetchone() == (3, 0)
    await app.execute(advice.encode())
    assert (await source.write(ALL, cutoff, ())).applied == 3


@pytest.mark.parametrize("what", BOTH)
async def test_what_a_migration_of_both_tables_changes_is_kept_on_sqlite(lite: Path, what: str) -> None:
    statements, column, value = BOTH[what]
    source = open_source(make_plan(write=ARCHIVE), lambda: f"sqlite:///{lite}")
    await source.origin()
    with closing(sqlite3.connect(lite)) as connection:
        for statement in statements:
            for table in ("things", "kept"):
                connection.execute(statement.format(table))
        assert (await source.write(ALL, CUTOFF, ())).applied == 3
        assert connection.execute(f"SELECT count(*), min({column}) FROM kept").fetchone() == (3, value)
    await source.close()


@pytest.mark.parametrize("what", ONE)
async def test_a_column_that_the_archive_does_not_get_stops_the_sweep_on_sqlite(lite: Path, what: str) -> None:
    statement, told = ONE[what]
    source = open_source(make_plan(write=ARCHIVE), lambda: f"sqlite:///{lite}")
    await source.origin()
    with closing(sqlite3.connect(lite)) as connection:
        connection.execute(statement)
        for _ in range(2):
            with pytest.raises(SweepFailure, match=told):
                await source.write(ALL, CUTOFF, ())
        assert connection.execute("SELECT count(*), (SELECT count(*) FROM kept) FROM things").fetchone() == (3, 0)
    await source.close()


async def test_an_archive_that_lacks_columns_or_all_of_them_is_told_on_sqlite(lite: Path) -> None:
    with closing(sqlite3.connect(lite)) as connection:
        connection.executescript("CREATE TABLE few (id INTEGER); CREATE TABLE none (x INTEGER)")
    few = open_source(make_plan(write=Write(archive=Archive("few"))), lambda: f"sqlite:///{lite}")
    assert "no column status, expires_at, note" in dict((await few.inspect()).warnings)["archive-columns"]
    for name, told in (("none", "no column in common"), ("things", "is the table itself")):
        source = open_source(make_plan(write=Write(archive=Archive(name))), lambda: f"sqlite:///{lite}")
        with pytest.raises(SweepFailure, match=told):
            await source.inspect()
        await source.close()
    await few.close()


async def test_the_table_itself_is_no_archive(database: str, app: Connection) -> None:
    source = open_source(make_plan(write=Write(archive=Archive("things"))), lambda: database)
    with pytest.raises(SweepFailure, match="is the table itself"):
        await source.inspect()
    await source.close()
