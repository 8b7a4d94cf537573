"""docs/errors.md, section "Source": each row is a case here and each case a row, with the reason and the text word for word."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from kubesweep.api.plan import Plan, Source
from kubesweep.errors import Outage, SweepFailure
from kubesweep_worker.sources import open_source
from tests.integration.postgres import Server
from tests.integration.source_error_cases import (
    BEFORE,
    LITE,
    OPEN,
    POSTGRES,
    SQLITE,
    SQLITE_WARNINGS,
    TABLE,
    URLS,
    WARNINGS,
    Case,
    update,
)

DOCS = Path(__file__).parents[2] / "docs" / "errors.md"


def documented() -> dict[str, tuple[str, str]]:
    section = DOCS.read_text().split("## Source\n")[1].split("\n## ")[0]
    cells = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)]
        for line in section.splitlines()
        if line.startswith("| ")
    ]
    return {
        row[1]: (row[2].strip("`"), row[3].replace("\\|", "|"))
        for row in cells
        if len(row) == 5 and row[2].startswith("`")
    }


def make_plan(case: Case) -> Plan:
    plan = {"match": (BEFORE, OPEN), **update("status", "expired"), **case.plan}
    source = Source(table=case.table, schema=case.schema, key=case.key, naive_time_zone=case.zone, health=case.health)
    return Plan(namespace="d", name="n", uid="u", source=source, **plan)


async def inspected(plan: Plan, url: str) -> tuple[tuple[str, str], ...]:
    """The warnings."""
    source = open_source(plan, lambda: url)
    try:
        return (await source.inspect()).warnings
    finally:
        await source.close()


async def found(plan: Plan, url: str) -> tuple[str, str]:
    with pytest.raises((SweepFailure, Outage)) as error:
        await inspected(plan, url)
    assert "hunter2" not in str(error.value)
    assert isinstance(error.value, (SweepFailure, Outage))
    return error.value.reason, str(error.value)


def test_the_table_has_a_row_for_each_case_and_no_other() -> None:
    assert list(documented()) == [*POSTGRES, *SQLITE, *URLS, *WARNINGS, *SQLITE_WARNINGS]


@pytest.fixture
def role(postgres_server: Server, database: str) -> Iterator[str]:
    name = psycopg.conninfo.conninfo_to_dict(database)["dbname"]
    with postgres_server.turn():
        yield "role"
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(f'ALTER DATABASE "{name}" RESET ALL'.encode())
            connection.execute('DROP OWNED BY "role"; DROP ROLE "role"')


@pytest.mark.parametrize("what", [*POSTGRES, *WARNINGS])
async def test_postgres_says_what_the_table_says(postgres_server: Server, database: str, role: str, what: str) -> None:
    case = {**POSTGRES, **WARNINGS}[what]
    name = str(psycopg.conninfo.conninfo_to_dict(database)["dbname"])
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f'CREATE ROLE "{role}" LOGIN')
        connection.execute(TABLE)
        connection.execute(case.sql.format(role=role, database=name).encode())
    url = postgres_server.url(name, role) if case.role else database
    if what in POSTGRES:
        assert await found(make_plan(case), url) == documented()[what]
    else:
        assert await inspected(make_plan(case), url) == (documented()[what],)


@pytest.mark.parametrize("what", [*SQLITE, *SQLITE_WARNINGS])
async def test_sqlite_says_what_the_table_says(tmp_path: Path, what: str) -> None:
    case = {**SQLITE, **SQLITE_WARNINGS}[what]
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.executescript(f"{LITE}; {case.sql}")
    url = f"sqlite:///{tmp_path}/a.db"
    if what in SQLITE:
        assert await found(make_plan(case), url) == documented()[what]
    else:
        assert await inspected(make_plan(case), url) == (documented()[what],)


@pytest.mark.parametrize("what", URLS)
async def test_a_url_that_leads_nowhere_says_what_the_table_says(
    postgres_server: Server, tmp_path: Path, what: str
) -> None:
    (tmp_path / "text.db").write_text("this is no database, however long the text of it may be " * 20)
    url = URLS[what].replace("{folder}", str(tmp_path))
    if url.startswith("{server}"):
        database, _, user = url.removeprefix("{server}/").partition(" as ")
        url = postgres_server.url(database, user or "postgres")
    reason, text = await found(make_plan(Case()), url)
    text = re.sub(r'connection to server on socket "[^"]*"', 'connection to server on socket "…"', text)
    assert (reason, text) == documented()[what]
