"""Compares a sweep with an application's own clean-up: run both on copies of one database, and compare the remaining rows.

An application runs in its own process and, unless it belongs to the tests' own packages, in its own virtual environment:
``make apps`` creates those from ``requirements/apps``.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from kubesweep.api.loading.files import load
from kubesweep.queue.model import SweepState
from kubesweep_worker import testing
from tests.integration.postgres import Server
from tests.kits.deadlines import scaled

ROOT = Path(__file__).parents[2]
INSTALLED = ROOT / ".venv" / "apps"
Rows = dict[str, list[Any]]

TABLES = """
SELECT schemaname, tablename FROM pg_tables
WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2
"""


def program(application: str, name: str = "python") -> str:
    """A program of the application's virtual environment."""
    path = INSTALLED / application / "bin" / name
    if not path.exists():
        pytest.fail(f"{application} is not installed: run `make apps` once, which installs it")
    return str(path)


def run(*command: str, cwd: Path, **environment: str) -> str:
    """Run a command of the application in the folder ``cwd`` and return its output."""
    done = subprocess.run(
        command,
        check=False,
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=scaled(300),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def database_name(url: str) -> str:
    return str(psycopg.conninfo.conninfo_to_dict(url)["dbname"])


def libpq(url: str) -> dict[str, str]:
    """The environment in which PostgreSQL's own client library connects to ``url``."""
    given = psycopg.conninfo.conninfo_to_dict(url)
    return {f"PG{name}": str(given[key]) for name, key in (("HOST", "host"), ("USER", "user"), ("DATABASE", "dbname"))}


def rows(url: str) -> Rows:
    """Every row of every table, sorted."""
    if url.startswith("sqlite:///"):
        return _sqlite_rows(url.removeprefix("sqlite:///"))
    with psycopg.connect(url) as connection:
        found = {}
        for schema, table in connection.execute(TABLES).fetchall():
            query = SQL("SELECT t::text FROM {} AS t").format(Identifier(schema, table))
            found[table if schema == "public" else f"{schema}.{table}"] = sorted(
                row[0] for row in connection.execute(query).fetchall()
            )
    return found


def _sqlite_rows(file: str) -> Rows:
    with closing(sqlite3.connect(file)) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {name: sorted(map(repr, connection.execute(f'SELECT * FROM "{name}"'))) for name in names}


async def sweep(file: Path, url: str) -> dict[str, int]:
    """Run one sweep of each schedule of ``file``, in the file's order. Each writes every row that it planned; returns their number."""
    applied = {}
    for name in [loaded.plan.name for loaded in load([file], url=url)]:
        done = (await testing.sweep(file, url=url, name=name)).sweep
        assert (done.state, done.planned) == (SweepState.COMPLETED, done.applied), (name, done)
        applied[name] = done.applied
    return applied


def assert_same(left: Rows, expected: Rows) -> None:
    """Both have the same tables, and in them the same rows."""
    assert left.keys() == expected.keys()
    for table in left:
        ours, theirs = set(left[table]), set(expected[table])
        differing = (sorted(ours - theirs)[:5], sorted(theirs - ours)[:5])
        assert left[table] == expected[table], (
            f"{table}: only the sweep left {differing[0]}, only the application left {differing[1]}"
        )


def removed(before: Rows, left: Rows) -> dict[str, int]:
    """The number of rows that each table lost, for the tables that lost any."""
    lost = {table: len(before[table]) - len(left[table]) for table in before}
    return {table: count for table, count in lost.items() if count}


def summary(application: str, before: Rows, left: Rows) -> str:
    """A line for the end of the run. A test records it as its property ``rows``."""
    counts = [sum(len(each[table]) for table in before) for each in (before, left)]
    return f"{application}: {counts[0]:,} rows in {len(before)} tables, {counts[1]:,} left by each"


@dataclass
class DatabasePair:
    """The database that a sweep cleans, and after ``copy`` a copy, which the application cleans."""

    server: Server
    swept: str
    record: Callable[[str, object], None]
    cleaned: str = ""
    before: Rows = field(default_factory=dict)
    left: Rows = field(default_factory=dict)

    def copy(self) -> str:
        """Copy the database, with the rows that it has now. Returns the copy's URL."""
        self.cleaned = self.server.create(template=database_name(self.swept))
        self.before = rows(self.swept)
        return self.cleaned

    def compare(self, application: str, expected: Callable[[str], Rows] = rows) -> dict[str, int]:
        """Check that both have the same rows. Returns the number of rows that each table lost."""
        self.left = rows(self.swept)
        assert_same(self.left, expected(self.cleaned))
        self.record("rows", summary(application, self.before, self.left))
        return removed(self.before, self.left)


@pytest.fixture
def databases(
    database: str, postgres_server: Server, record_property: Callable[[str, object], None]
) -> Iterator[DatabasePair]:
    made = DatabasePair(postgres_server, database, record_property)
    yield made
    if made.cleaned:
        postgres_server.drop(made.cleaned)
