"""Deletes that change rows of other tables: refused until spec.write.delete.children accepts them, and reported by the check."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from kubesweep.api.plan import Plan, Write
from kubesweep.errors import SweepFailure
from kubesweep_worker.sources import open_source
from kubesweep_worker.sources.base import Predicate, Range
from tests.integration.postgres_plans import make_plan

Connection = psycopg.AsyncConnection[tuple[Any, ...]]
CUTOFF = "2026-03-01 00:00:00.000"
TABLES = """
CREATE TABLE things (id int PRIMARY KEY, status text NOT NULL, expires_at {time});
CREATE TABLE lines (id int PRIMARY KEY, thing int REFERENCES things (id) ON DELETE {action});
CREATE TABLE notes (id int PRIMARY KEY, line int REFERENCES lines (id) ON DELETE CASCADE);
INSERT INTO things VALUES (1, 'pending', '2020-01-01'), (2, 'pending', '2020-01-01');
INSERT INTO lines VALUES (10, 1), (11, 1), (12, 2);
INSERT INTO notes VALUES (100, 10);
"""
DELETES = make_plan(write=Write())


def accepting(plan: Plan) -> Plan:
    return msgspec.structs.replace(plan, write=Write(children=True))


@pytest.fixture(params=["postgres", "sqlite"])
async def where(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[str, Any]]:
    """A database's URL, and how to run statements in it."""
    if request.param == "sqlite":
        with closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as connection:

            async def run(sql: str) -> Any:
                connection.executescript(sql) if ";" in sql else None
                return connection.execute(sql).fetchall() if ";" not in sql else None

            yield f"sqlite:///{tmp_path}/a.db", run
        return
    url = request.getfixturevalue("database")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as app:

        async def query(sql: str) -> Any:
            found = await app.execute(sql.encode())
            return await found.fetchall() if found.description else None

        yield url, query


async def tables(where: tuple[str, Any], action: str) -> str:
    url, run = where
    await run(TABLES.format(action=action, time="text" if url.startswith("sqlite") else "timestamptz"))
    return url


async def test_a_delete_that_takes_rows_of_other_tables_along_waits_for_a_yes(where: tuple[str, Any]) -> None:
    url, run = await tables(where, "CASCADE"), where[1]
    source = open_source(DELETES, lambda: url)
    for ask in (source.inspect, source.bounds):
        with pytest.raises(
            SweepFailure, match=r"rows of .*lines.* are deleted too .* rows of .*notes.*children: accept"
        ) as found:
            await ask()
        assert found.value.reason == "ChildrenCascade"
    await source.close()
    source = open_source(accepting(DELETES), lambda: url)
    table = await source.inspect()
    assert "children" not in dict(table.warnings)
    assert ["3 for the stale rows of a sample" in sentence for sentence in table.children] == [True, False]
    assert (await source.write(Range(), Predicate(await source.now()))).applied == 2
    assert await run("SELECT (SELECT count(*) FROM lines), (SELECT count(*) FROM notes)") == [(0, 0)]
    await source.close()


async def test_the_sample_has_rows_that_became_stale_a_moment_ago(where: tuple[str, Any]) -> None:
    url, run = await tables(where, "CASCADE"), where[1]
    recent = "datetime('now', '-1 hour')" if url.startswith("sqlite") else "now() - interval '1 hour'"
    await run(f"UPDATE things SET expires_at = {recent}")
    source = open_source(accepting(DELETES), lambda: url)
    assert "3 for the stale rows of a sample" in (await source.inspect()).children[0]
    await source.close()


async def test_a_dry_run_reports_what_a_delete_would_also_delete_and_continues(where: tuple[str, Any]) -> None:
    url = await tables(where, "CASCADE")
    source = open_source(msgspec.structs.replace(DELETES, mode="DryRun"), lambda: url)
    assert "ON DELETE CASCADE" in dict((await source.inspect()).warnings)["children"]
    await source.bounds()
    await source.close()


@pytest.mark.parametrize("action", ["SET NULL", "SET DEFAULT"])
async def test_a_delete_that_changes_rows_of_other_tables_is_reported(where: tuple[str, Any], action: str) -> None:
    url = await tables(where, action)
    source = open_source(DELETES, lambda: url)
    table = await source.inspect()
    assert f"ON DELETE {action}" in dict(table.warnings)["children"]
    await source.bounds()
    await source.close()
    source = open_source(accepting(DELETES), lambda: url)
    assert "children" not in dict((await source.inspect()).warnings)
    await source.close()


async def test_rows_that_others_refer_to_stay_and_the_check_says_so(where: tuple[str, Any]) -> None:
    url = await tables(where, "RESTRICT")
    source = open_source(DELETES, lambda: url)
    table = await source.inspect()
    assert "children" not in dict(table.warnings)
    (sentence, *_) = table.children
    assert "refers to stays, as a dead letter" in sentence
    await source.close()


async def test_a_foreign_key_that_comes_between_two_sweeps_stops_the_second(where: tuple[str, Any]) -> None:
    url, run = await tables(where, "RESTRICT"), where[1]
    source = open_source(DELETES, lambda: url)
    await source.bounds()
    await run("CREATE TABLE parts (thing int REFERENCES things (id) ON DELETE CASCADE)")
    with pytest.raises(SweepFailure, match="parts"):
        await source.bounds()
    await source.close()


async def test_foreign_keys_of_sqlite_are_heeded_unless_the_url_says_off(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.executescript(TABLES.format(action="CASCADE", time="text"))
    off = open_source(DELETES, lambda: f"sqlite:///{tmp_path}/a.db?foreign_keys=off")
    assert (await off.inspect()).children == ()
    assert (await off.write(Range(), Predicate(CUTOFF))).applied == 2
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        assert connection.execute("SELECT count(*) FROM lines").fetchone() == (3,)
    await off.close()
    on = open_source(accepting(DELETES), lambda: f"sqlite:///{tmp_path}/a.db?foreign_keys=on")
    assert "foreign-key-violations" in dict((await on.inspect()).warnings)
    await on.close()
    odd = open_source(DELETES, lambda: f"sqlite:///{tmp_path}/a.db?foreign_keys=maybe")
    with pytest.raises(SweepFailure, match="foreign_keys=on"):
        await odd.inspect()
    await odd.close()
