"""One generated table for each type of a column, condition and write, swept beside a plain statement: no difference.

On PostgreSQL 18 and 15, through PgBouncer in transaction mode, and on SQLite.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from kubesweep.queue.model import SweepState
from kubesweep_worker import testing
from tests.integration import matrix
from tests.integration.matrix import Kind
from tests.integration.pooler import PROGRAM, pgbouncer
from tests.integration.postgres import Server, postgres

OLDER = Path("/usr/lib/postgresql/15/bin")
BATCH = 5
WRITES: dict[str, dict[str, Any]] = {
    "update": {"update": [{"column": "state", "value": "closed"}, {"column": "note", "sql": "upper(t.note)"}]},
    "delete": {"delete": {}},
    "archive": {"delete": {"archiveTo": {"table": "archive"}}},
}
COLUMNS = "id INTEGER PRIMARY KEY, state TEXT NOT NULL, note TEXT, v {}"
delivered: set[int] = set()


def deliver(row: Any, context: Any) -> None:
    delivered.add(row["id"])


class Table:
    """``things``, refilled for each cell from ``base``; ``expected`` has the result of a plain statement."""

    def __init__(self, url: str, app: Any, kind: Kind) -> None:
        self.url, self._app = url, app
        for name in ("base", "things", "expected", "archive"):
            self.run(f"CREATE TABLE {name} ({COLUMNS.format(kind.type)})")
        rows = [(state, value) for value in ("NULL", *kind.values) for state in ("open", "open", "kept")]
        for number, (state, value) in enumerate(rows):
            self.run(f"INSERT INTO base SELECT {number}, '{state}', 'note {number}', {value}")

    def run(self, sql: str) -> Any:
        return self._app.execute(sql.encode() if isinstance(self._app, psycopg.Connection) else sql)

    def refill(self) -> None:
        for name in ("things", "expected", "archive"):
            self.run(f"DELETE FROM {name}")
        for name in ("things", "expected"):
            self.run(f"INSERT INTO {name} SELECT * FROM base")

    def rows(self, sql: str) -> list[Any]:
        return list(self.run(sql).fetchall())

    def difference(self, one: str, other: str) -> list[Any]:
        return self.rows(f"{one} EXCEPT {other}") + self.rows(f"{other} EXCEPT {one}")


def on_postgres(server: Server, kind: Kind, url: Any = lambda url: url) -> Iterator[Table]:
    database = server.create()
    with psycopg.connect(database, autocommit=True) as app:
        app.execute("CREATE TYPE mood AS ENUM ('sad', 'ok', 'glad')")
        app.execute("CREATE DOMAIN short AS varchar(3) CHECK (VALUE <> 'no')")
        yield Table(url(database), app, kind)
    server.drop(database)


@pytest.fixture(scope="session")
def older_server() -> Iterator[Server]:
    if not OLDER.is_dir():
        pytest.skip("this machine has no PostgreSQL 15")
    with postgres(binaries=OLDER) as server:
        yield server


@pytest.fixture(scope="session")
def pooler(postgres_server: Server) -> Iterator[Any]:
    if PROGRAM is None:
        pytest.skip("this machine has no PgBouncer")
    with pgbouncer(postgres_server) as running:
        yield running


@pytest.fixture
def table(request: pytest.FixtureRequest, database_kind: str, kind: Kind, tmp_path: Path) -> Iterator[Table]:
    if database_kind == "SQLite":
        path = tmp_path / "app.db"
        app = sqlite3.connect(path, isolation_level=None)
        yield Table(f"sqlite:///{path}", app, kind)
        app.close()
    elif database_kind == "PgBouncer":
        through = request.getfixturevalue("pooler").url
        yield from on_postgres(request.getfixturevalue("postgres_server"), kind, through)
    else:
        name = "older_server" if database_kind == "PostgreSQL 15" else "postgres_server"
        yield from on_postgres(request.getfixturevalue(name), kind)


CELLS = [
    pytest.param(database, kind, id=f"{database}-{number} {kind.type}")
    for database, kinds in {
        "PostgreSQL 18": matrix.POSTGRES,
        "PostgreSQL 15": matrix.POSTGRES,
        "PgBouncer": matrix.POSTGRES,
        "SQLite": matrix.SQLITE,
    }.items()
    for number, kind in enumerate(kinds)
]


async def swept(folder: Path, url: str, spec: dict[str, Any]) -> Any:
    document = {"apiVersion": "kubesweep.dev/v1alpha1", "kind": "SweepSchedule", "metadata": {"name": "things"}}
    source = {"urlFrom": {"secretKeyRef": {"name": "db", "key": "url"}}, "table": "things"}
    file = folder / "sweep.yaml"
    file.write_text(json.dumps({**document, "spec": {"every": "1h", "source": source, **spec}}))
    return (await testing.sweep(file, url=url)).sweep


@pytest.mark.parametrize(("database_kind", "kind"), CELLS)
async def test_a_sweep_leaves_what_a_plain_statement_leaves(table: Table, kind: Kind, tmp_path: Path) -> None:
    for condition, plain in kind.all_conditions:
        where = f"state = 'open' AND ({plain.replace('t.', '')})"
        named = condition if "sql" in condition else {"column": "v", **condition}
        for name, write in WRITES.items():
            cell = f"{kind.type} {condition} {name}"
            table.refill()
            due = {row[0] for row in table.rows(f"SELECT id FROM expected WHERE {where}")}
            if name == "update":
                table.run(f"UPDATE expected SET state = 'closed', note = upper(note) WHERE {where}")
            else:
                table.run(f"DELETE FROM expected WHERE {where}")
            delivered.clear()
            effect = {"handler": f"{__name__}:deliver", "columns": ["id"]}
            sweep = await swept(
                tmp_path,
                table.url,
                {
                    "match": [{"column": "state", "in": ["open"]}, named],
                    "write": write,
                    "limits": {"batchRows": BATCH},
                    **({"effect": effect} if name == "update" else {}),
                },
            )
            assert (sweep.state, sweep.applied) == (SweepState.COMPLETED, len(due)), cell
            assert table.difference("SELECT * FROM things", "SELECT * FROM expected") == [], cell
            if name == "update":
                assert delivered == due, cell
            if name == "archive":
                gone = "SELECT * FROM (SELECT * FROM base EXCEPT SELECT * FROM expected) AS gone"
                assert table.difference("SELECT * FROM archive", gone) == [], cell
