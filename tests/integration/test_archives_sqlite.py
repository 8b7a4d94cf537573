"""Archives on SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from kubesweep.api.plan import Archive, Write
from kubesweep.errors import RowError, SweepFailure
from kubesweep_worker.sources import open_source
from kubesweep_worker.sources.base import InspectableSource, Keys, Predicate, Range
from tests.integration.archive_tables import ALL, ARCHIVE, BOTH, ONE, TABLES, Connection, refused
from tests.integration.postgres_plans import make_plan

CUTOFF = "2026-03-01 00:00:00.000"


LITE = """
CREATE TABLE things (id INTEGER PRIMARY KEY, status TEXT NOT NULL, expires_at TEXT, note TEXT);
INSERT INTO things SELECT n, 'pending', '2026-01-01', 'note ' || n FROM (SELECT 1 AS n UNION SELECT 2 UNION SELECT 3);
CREATE TABLE kept (id INTEGER, status TEXT, expires_at TEXT, note TEXT);
"""


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


@pytest.fixture
def lite(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.executescript(LITE)
    return tmp_path / "a.db"


def altered(lite: Path, statements: str) -> str:
    """The URL of the file after these statements."""
    with closing(sqlite3.connect(lite)) as connection:
        connection.executescript(statements)
    return f"sqlite:///{lite}"


@pytest.mark.parametrize("what", BOTH)
async def test_what_a_migration_of_both_tables_changes_is_kept_on_sqlite(lite: Path, what: str) -> None:
    statements, column, value = BOTH[what]
    source = open_source(make_plan(write=ARCHIVE), lambda: f"sqlite:///{lite}")
    await source.origin()
    with closing(sqlite3.connect(lite)) as connection:
        for statement in statements:
            for table in ("things", "kept"):
                connection.execute(statement.format(table))
        assert (await source.write(ALL, Predicate(CUTOFF))).applied == 3
        assert connection.execute(f"SELECT count(*), min({column}) FROM kept").fetchone() == (3, value)
    await source.close()


@pytest.mark.parametrize("what", ONE)
async def test_a_column_that_the_archive_does_not_get_stops_the_sweep_on_sqlite(lite: Path, what: str) -> None:
    statement, expected = ONE[what]
    source = open_source(make_plan(write=ARCHIVE), lambda: f"sqlite:///{lite}")
    await source.origin()
    with closing(sqlite3.connect(lite)) as connection:
        connection.execute(statement)
        for _ in range(2):
            with pytest.raises(SweepFailure, match=expected):
                await source.write(ALL, Predicate(CUTOFF))
        assert connection.execute("SELECT count(*), (SELECT count(*) FROM kept) FROM things").fetchone() == (3, 0)
    await source.close()


async def test_an_archive_that_lacks_columns_or_all_of_them_is_reported_on_sqlite(lite: Path) -> None:
    url = altered(lite, "CREATE TABLE few (id INTEGER); CREATE TABLE none (x INTEGER)")
    few = open_source(make_plan(write=Write(archive=Archive("few"))), lambda: url)
    assert "no column status, expires_at, note" in dict((await few.inspect()).warnings)["archive-columns"]
    await few.close()
    await refused(url, "none", "no column in common")
    await refused(url, "things", "is the table itself")


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TRIGGER d BEFORE INSERT ON kept WHEN NEW.id = 2 BEGIN SELECT RAISE(IGNORE); END",
        "INSERT INTO kept SELECT * FROM things WHERE id = 2;"
        "CREATE TRIGGER d BEFORE INSERT ON kept WHEN NEW.id = 2 BEGIN SELECT RAISE(IGNORE); END",
        "DROP TABLE kept; CREATE TABLE kept (id INTEGER PRIMARY KEY ON CONFLICT IGNORE, status TEXT, expires_at TEXT, note TEXT);"
        "INSERT INTO kept VALUES (2, 'older', '', '');"
        "CREATE TRIGGER d BEFORE INSERT ON kept WHEN NEW.id < 0 BEGIN SELECT RAISE(IGNORE); END",
        "ALTER TABLE kept RENAME id TO number;"
        "CREATE TRIGGER d BEFORE INSERT ON kept WHEN NEW.number = 2 OR NEW.note = 'note 2' BEGIN SELECT RAISE(IGNORE); END",
    ],
    ids=["a trigger", "and an older row", "a constraint, beside a trigger", "without the key"],
)
async def test_a_row_of_which_the_archive_keeps_no_copy_stays_in_its_table_on_sqlite(lite: Path, sql: str) -> None:
    url = altered(lite, sql)
    source = open_source(make_plan(write=ARCHIVE), lambda: url)
    for scope in (ALL, Keys((("2",),))):
        with pytest.raises(RowError, match="did not take the row"):
            await source.write(scope, Predicate(CUTOFF))
    assert (await source.write(Keys((("1",), ("3",))), Predicate(CUTOFF))).applied == 2
    assert await source.keys(Range(), Predicate(CUTOFF)) == (("2",),)
    await source.close()


async def test_names_of_an_archive_ignore_case_on_sqlite(lite: Path) -> None:
    url = altered(lite, "DROP TABLE kept; CREATE TABLE kept (ID INTEGER, Status TEXT, EXPIRES_AT TEXT, Note TEXT)")
    source = open_source(make_plan(write=ARCHIVE), lambda: url)
    assert "archive-columns" not in dict((await source.inspect()).warnings)
    assert (await source.write(ALL, Predicate(CUTOFF))).applied == 3
    await source.close()
    with closing(sqlite3.connect(lite)) as connection:
        assert connection.execute("SELECT min(note) FROM kept").fetchone() == ("note 1",)


async def test_an_archive_in_which_new_rows_replace_older_ones_is_refused_on_sqlite(lite: Path) -> None:
    url = altered(lite, "DROP TABLE kept; CREATE TABLE kept (id INTEGER, status TEXT UNIQUE ON CONFLICT REPLACE)")
    await refused(url, "kept", "ON CONFLICT REPLACE")
