"""Rows that a write leaves unchanged without an error are reported, and the others are written."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest

from kubesweep.api.plan import Archive, Assignment, Match, Source, Write
from kubesweep.errors import RowError, SweepFailure
from kubesweep_worker.sources import open_source
from kubesweep_worker.sources.base import Keys, Predicate, Range
from tests.integration.postgres import Server
from tests.integration.postgres_plans import make_plan
from tests.integration.refusing_tables import (
    ALL,
    ARCHIVE,
    DELETE,
    POLICY,
    TABLE,
    Connection,
    assert_refusals_reported,
)

LITE = """
CREATE TABLE things (id INTEGER PRIMARY KEY, status TEXT NOT NULL, expires_at TEXT);
WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 10) INSERT INTO things SELECT n, 'pending', '2026-01-01' FROM n;
CREATE TABLE kept (id INTEGER, status TEXT, expires_at TEXT);
"""


TRIGGER = "CREATE TRIGGER keeps {when} ON things FOR EACH ROW WHEN (OLD.id % 5 = 3) EXECUTE FUNCTION keeps()"


FUNCTION = "CREATE FUNCTION keeps() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$;"


CUTOFF = "2026-03-01 00:00:00.000"


PARTLY = Write(update=(Assignment("status", sql="CASE t.id % 5 WHEN 3 THEN t.status ELSE 'expired' END"),))


class Case(NamedTuple):
    sql: str
    changes: dict[str, Any] = {}  # noqa: RUF012
    named: str = 'trigger "keeps"'


def before(event: str) -> str:
    return FUNCTION.format(body="RETURN NULL;") + TRIGGER.format(when=f"BEFORE {event}")


REINSERTS = FUNCTION.format(
    body="IF pg_trigger_depth() < 2 THEN INSERT INTO things SELECT OLD.*; END IF; RETURN NULL;"
) + TRIGGER.format(when="AFTER DELETE")


REOPENS = FUNCTION.format(body="UPDATE things SET status = 'pending' WHERE id = NEW.id; RETURN NULL;") + TRIGGER.format(
    when="AFTER UPDATE"
).replace("% 5 = 3", "% 5 = 3 AND NEW.status <> 'pending'")


POSTGRES = {
    "a BEFORE UPDATE trigger returns NULL": Case(before("UPDATE")),
    "a BEFORE UPDATE trigger restores the row": Case(
        FUNCTION.format(body="NEW.status := OLD.status; RETURN NEW;") + TRIGGER.format(when="BEFORE UPDATE")
    ),
    "a BEFORE DELETE trigger returns NULL": Case(before("DELETE"), {"write": DELETE}),
    "a BEFORE DELETE trigger returns NULL before the archive": Case(before("DELETE"), {"write": ARCHIVE}),
    "an AFTER UPDATE trigger reopens the row": Case(REOPENS),
    "a deferred trigger reopens the row": Case(
        REOPENS.replace("CREATE TRIGGER", "CREATE CONSTRAINT TRIGGER").replace(
            "FOR EACH", "DEFERRABLE INITIALLY DEFERRED FOR EACH"
        )
    ),
    "an AFTER DELETE trigger inserts the row again": Case(REINSERTS, {"write": DELETE}),
    "an AFTER DELETE trigger inserts the archived row again": Case(REINSERTS, {"write": ARCHIVE}),
    "the update's own sql leaves some rows as they are": Case("", {"write": PARTLY}, "spec.match"),
}


IGNORES = "CREATE TRIGGER keeps BEFORE {event} ON things WHEN OLD.id % 5 = 3 BEGIN SELECT RAISE(IGNORE); END"


SQLITE = {
    "RAISE(IGNORE) at an UPDATE": Case(IGNORES.format(event="UPDATE")),
    "RAISE(IGNORE) at a DELETE": Case(IGNORES.format(event="DELETE"), {"write": DELETE}),
    "RAISE(IGNORE) at a DELETE before the archive": Case(IGNORES.format(event="DELETE"), {"write": ARCHIVE}),
    "an AFTER UPDATE trigger reopens the row": Case(
        "CREATE TRIGGER keeps AFTER UPDATE ON things WHEN OLD.id % 5 = 3 AND NEW.status <> 'pending' "
        "BEGIN UPDATE things SET status = 'pending' WHERE id = NEW.id; END"
    ),
    "an AFTER DELETE trigger inserts the archived row again": Case(
        "CREATE TRIGGER keeps AFTER DELETE ON things WHEN OLD.id % 5 = 3 "
        "BEGIN INSERT INTO things VALUES (OLD.id, OLD.status, OLD.expires_at); END",
        {"write": ARCHIVE},
    ),
    "a constraint with ON CONFLICT IGNORE": Case(
        "DROP TABLE things; CREATE TABLE things (id INTEGER PRIMARY KEY, status TEXT NOT NULL, expires_at TEXT, code TEXT UNIQUE ON CONFLICT IGNORE);"
        "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 10) INSERT INTO things SELECT n, 'pending', '2026-01-01', n FROM n;"
        "INSERT INTO things VALUES (13, 'open', NULL, 'x3'), (18, 'open', NULL, 'x8')",
        {"write": Write(update=(Assignment("status", "expired"), Assignment("code", sql="'x' || t.id")))},
        "spec.match",
    ),
    "the update's own sql leaves some rows as they are": Case("", {"write": PARTLY}, "spec.match"),
}


@pytest.fixture
async def app(database: str) -> AsyncIterator[Connection]:
    """The application whose table is swept."""
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as opened:
        await opened.execute(TABLE)
        yield opened


@pytest.mark.parametrize("what", POSTGRES)
async def test_postgres_reports_rows_that_stay_and_writes_the_others(database: str, app: Connection, what: str) -> None:
    await app.execute(POSTGRES[what].sql.encode())
    source = open_source(make_plan(**POSTGRES[what].changes), lambda: database)
    await assert_refusals_reported(source, await source.now(), POSTGRES[what].named)
    row = await (await app.execute("SELECT count(*) FROM kept")).fetchone()
    assert row == (8 if POSTGRES[what].changes.get("write") == ARCHIVE else 0,)


@pytest.mark.parametrize("what", SQLITE)
async def test_sqlite_reports_rows_that_stay_and_writes_the_others(tmp_path: Path, what: str) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.executescript(LITE + SQLITE[what].sql)
    source = open_source(make_plan(**SQLITE[what].changes), lambda: f"sqlite:///{tmp_path}/a.db")
    await assert_refusals_reported(source, CUTOFF, SQLITE[what].named)
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        kept = connection.execute("SELECT count(*) FROM kept").fetchone()
    assert kept == (8 if SQLITE[what].changes.get("write") == ARCHIVE else 0,)


async def test_a_row_that_an_archive_drops_in_silence_is_kept_on_sqlite(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.executescript(
            LITE + "CREATE TABLE old (id INTEGER UNIQUE ON CONFLICT IGNORE); INSERT INTO old VALUES (3)"
        )
    source = open_source(make_plan(write=Write(archive=Archive("old"))), lambda: f"sqlite:///{tmp_path}/a.db")
    with pytest.raises(RowError, match="did not take the row"):
        await source.write(ALL, Predicate(CUTOFF))
    assert (await source.write(Range(("3",), None, 7), Predicate(CUTOFF))).applied == 7
    assert await source.keys(Range(), Predicate(CUTOFF)) == (("1",), ("2",), ("3",))
    await source.close()


async def test_a_row_that_the_application_closed_in_between_is_not_refused(database: str, app: Connection) -> None:
    source = open_source(make_plan(), lambda: database)
    cutoff = await source.now()
    await app.execute("UPDATE things SET status = 'closed' WHERE id <= 4")
    written = await source.write(ALL, Predicate(cutoff))
    assert (written.applied, written.refused) == (6, ())
    await source.close()


@pytest.mark.parametrize(
    ("plan", "sql", "text"),
    [
        ({}, POLICY, 'no policy that lets role "{role}" update rows'),
        ({"write": DELETE}, POLICY + "CREATE POLICY c ON things FOR UPDATE USING (true)", "FOR DELETE TO"),
        (
            {"write": DELETE},
            "CREATE RULE keep AS ON DELETE TO things DO INSTEAD NOTHING",
            'rule "keep" rewrites every DELETE',
        ),
        ({}, "CREATE RULE keep AS ON UPDATE TO things WHERE OLD.id = 3 DO INSTEAD NOTHING", 'DROP RULE "keep"'),
    ],
    ids=["no policy to update", "no policy to delete", "a rule", "a rule with a condition"],
)
async def test_a_cause_that_the_catalogue_proves_fails_the_sweep_before_its_first_row(
    database: str, app: Connection, postgres_server: Server, plan: dict[str, Any], sql: str, text: str
) -> None:
    role = f"sweeps {app.info.dbname}"
    await app.execute(f'CREATE ROLE "{role}" LOGIN; GRANT SELECT, UPDATE, DELETE ON things TO "{role}"; {sql}'.encode())
    source = open_source(make_plan(**plan), lambda: postgres_server.url(app.info.dbname, user=role))
    for call in (source.inspect, lambda: source.cut(Predicate(CUTOFF), None, 10, 10)):
        with pytest.raises(SweepFailure) as found:
            await call()
        assert found.value.reason == "WriteRefused"
        assert text.format(role=role) in str(found.value)
    await source.close()
    await app.execute(f'DROP OWNED BY "{role}"; DROP ROLE "{role}"'.encode())


@pytest.mark.parametrize("state", ["XX000", "55000", "0A000", "42501", "42P01", "25006", "57014", "40001", "58000"])
async def test_a_code_that_a_trigger_raises_is_its_rows_failure(database: str, app: Connection, state: str) -> None:
    body = f"IF OLD.id = 3 THEN RAISE EXCEPTION 'is a vip' USING ERRCODE = '{state}'; END IF; RETURN NEW;"
    await app.execute((FUNCTION.format(body=body) + TRIGGER.format(when="BEFORE UPDATE")).encode())
    source = open_source(make_plan(), lambda: database)
    cutoff = await source.now()
    with pytest.raises(RowError, match="is a vip"):
        await source.write(ALL, Predicate(cutoff))
    assert (await source.write(ALL, Predicate(cutoff, frozenset([("3",)])))).applied == 9
    await source.close()


@pytest.mark.parametrize("scope", ["TABLE things", "ALL TABLES", "TABLES IN SCHEMA public"])
async def test_a_publication_added_during_a_sweep_fails_it_with_the_statement_to_type(
    database: str, app: Connection, scope: str
) -> None:
    await app.execute("ALTER TABLE things DROP CONSTRAINT things_pkey; CREATE UNIQUE INDEX things_id ON things (id)")
    source = open_source(make_plan(source=Source(table="things", key=("id",)), write=DELETE), lambda: database)
    cutoff = await source.now()
    assert (await source.write(Keys((("1",),)), Predicate(cutoff))).applied == 1
    await app.execute(f"CREATE PUBLICATION p FOR {scope}".encode())
    for text in ("REPLICA IDENTITY", "ALTER TABLE things REPLICA IDENTITY USING INDEX things_id"):
        with pytest.raises(SweepFailure) as found:
            await source.write(ALL, Predicate(cutoff))
        assert (found.value.reason, text in str(found.value)) == ("NoReplicaIdentity", True)
    await app.execute("ALTER TABLE things REPLICA IDENTITY USING INDEX things_id")
    assert (await source.write(ALL, Predicate(cutoff))).applied == 9
    await source.close()


async def test_a_publication_of_updates_alone_lets_rows_be_deleted(database: str, app: Connection) -> None:
    await app.execute(
        "ALTER TABLE things DROP CONSTRAINT things_pkey, ADD UNIQUE (id), ALTER id SET NOT NULL;"
        "CREATE PUBLICATION p FOR TABLE things WITH (publish = 'insert, update')"
    )
    source = open_source(make_plan(source=Source(table="things", key=("id",)), write=DELETE), lambda: database)
    assert (await source.write(ALL, Predicate(await source.now()))).applied == 10
    await source.close()


async def test_a_function_that_fails_for_one_row_on_sqlite_is_its_failure(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.executescript(LITE + "UPDATE things SET expires_at = '{' WHERE id = 3")
    write = Write(update=(Assignment("status", sql="json_set('{}', '$.at', json(t.expires_at))"),))
    plan = make_plan(match=(Match("in", "status", ("pending",)),), write=write)
    source = open_source(plan, lambda: f"sqlite:///{tmp_path}/a.db")
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.execute("UPDATE things SET expires_at = '[]' WHERE id <> 3")
        connection.commit()
    with pytest.raises(RowError, match="malformed JSON"):
        await source.write(ALL, Predicate(CUTOFF))
    assert (await source.write(ALL, Predicate(CUTOFF, frozenset([("3",)])))).applied == 9
    await source.close()
