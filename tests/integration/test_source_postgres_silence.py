"""A database that never answers, without closing the connection: the wait ends on this side, and the error says whether a write was sent."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from kubesweep.api.plan import Source, Write
from kubesweep.errors import Outage
from kubesweep_worker.sources.base import Predicate, Range
from kubesweep_worker.sources.postgres.source import PostgresSource
from tests.integration.postgres_plans import make_plan
from tests.integration.test_source_postgres_transactions import blocked
from tests.integration.things_table import SCHEMA

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


@pytest.fixture
async def app(database: str) -> AsyncIterator[Connection]:
    """The application whose table is swept."""
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as opened:
        await opened.execute(SCHEMA)
        yield opened


async def test_a_frozen_backend_is_an_outage_that_wrote_nothing(database: str, app: Connection) -> None:
    patient = Source(table="things", statement_timeout=30.0, lock_timeout=30.0)
    source = PostgresSource(make_plan(source=patient), lambda: database, margin=-29.0)
    cutoff = await source.now()
    async with await psycopg.AsyncConnection.connect(database) as holder:
        await holder.execute("SELECT FROM things WHERE id = 3 FOR UPDATE")
        writing = asyncio.create_task(source.write(Range(), Predicate(cutoff)))
        await blocked(database)
        found = await app.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'kubesweep/%' AND wait_event_type = 'Lock'"
            " AND datname = current_database()"  # other tests use the same server
        )
        [(frozen,)] = await found.fetchall()
        os.kill(frozen, signal.SIGSTOP)
        try:
            with pytest.raises(Outage) as silent:
                await writing
            assert (silent.value.reason, silent.value.maybe_applied) == ("NoAnswer", False)
            await holder.rollback()
            assert await source.count(Predicate(cutoff), 100) == 10
        finally:
            os.kill(frozen, signal.SIGCONT)
    assert (await source.write(Range(), Predicate(cutoff))).applied == 10
    await source.close()


async def test_a_commit_that_is_not_answered_in_time_may_have_applied(database: str, app: Connection) -> None:
    await app.execute(
        "CREATE FUNCTION waits() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END $$; "
        "CREATE TABLE others (thing int REFERENCES things ON DELETE CASCADE); INSERT INTO others VALUES (1);"
        "CREATE CONSTRAINT TRIGGER at_commit AFTER DELETE ON others DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION waits()"
    )
    patient = Source(table="things", statement_timeout=0.3, lock_timeout=60.0)
    source = PostgresSource(make_plan(source=patient, write=Write()), lambda: database, margin=0.3)
    await source.warm()
    await app.execute("SELECT pg_advisory_lock(1)")
    with pytest.raises(Outage) as found:
        await source.write(Range(), Predicate(await source.now()))
    assert (found.value.reason, found.value.maybe_applied) == ("NoAnswer", True)
    await app.execute("SELECT pg_advisory_unlock(1)")
    await source.close()
