"""The origin of a key: its database, schema, table and key columns."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from kubesweep.api.plan import Source
from kubesweep_worker.sources import open_source
from tests.integration.postgres import Server
from tests.integration.postgres_plans import make_plan


@pytest.fixture
async def connection(database: str) -> AsyncIterator[psycopg.AsyncConnection[tuple[Any, ...]]]:
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as opened:
        yield opened


TABLES = """
    CREATE SCHEMA IF NOT EXISTS archive;
    CREATE TABLE things (id bigint PRIMARY KEY, code text NOT NULL UNIQUE, status text, expires_at timestamptz);
    CREATE TABLE others (id bigint PRIMARY KEY, status text, expires_at timestamptz);
    CREATE TABLE archive.things (id bigint PRIMARY KEY, status text, expires_at timestamptz);
"""


async def origin(url: str, source: Source) -> str:
    opened = open_source(make_plan(source=source), lambda: url)
    try:
        return await opened.origin()
    finally:
        await opened.close()


async def test_the_origin_of_keys_changes_with_database_schema_table_and_key_columns(
    postgres_server: Server, database: str
) -> None:
    elsewhere = postgres_server.create()
    for url in (database, elsewhere):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(TABLES)
    things = Source(table="things")
    found = [
        await origin(database, things),
        await origin(elsewhere, things),
        await origin(database, Source(table="others")),
        await origin(database, Source(table="things", schema="archive")),
        await origin(database, Source(table="things", key=("code",))),
    ]
    postgres_server.drop(elsewhere)
    assert len(set(found)) == len(found)
    assert found[0].startswith("public.things(id) #")
    assert await origin(database, Source(table="things", schema="public", key=("id",), lock_timeout=1.0)) == found[0]


async def test_the_origin_is_known_to_a_role_that_may_not_ask_for_the_servers_identifier(
    postgres_server: Server, database: str
) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(TABLES)
        connection.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
        connection.execute("CREATE ROLE plain LOGIN; GRANT SELECT, UPDATE ON things, others TO plain")
    plain = database.replace("postgres@", "plain@")
    found = await origin(plain, Source(table="things"))
    assert found.startswith("public.things(id) #")
    assert found == await origin(plain, Source(table="things"))
    assert found != await origin(plain, Source(table="others"))
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DROP OWNED BY plain; DROP ROLE plain")
