"""Locks, cancelled statements and broken connections: what a transaction of the Postgres source leaves behind."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import psycopg
import pytest

from kubesweep.api.plan import Assignment, Match, Source, Write
from kubesweep.errors import Outage, RowError
from kubesweep_worker.sources.base import Keys, Predicate
from kubesweep_worker.sources.postgres.pool import Pool, Rows, Timeouts, Transaction
from tests.integration.postgres import Server
from tests.integration.things_table import ALL, SCHEMA, Connection, opened
from tests.kits.deadlines import scaled

BLOCKED = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database() AND application_name LIKE 'kubesweep/%'"


@pytest.fixture
async def app(database: str) -> AsyncIterator[Connection]:
    """The application whose table is swept."""
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as opened:
        await opened.execute(SCHEMA)
        yield opened


async def blocked(database: str) -> None:
    """Returns when a statement of the source waits for a lock."""
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as watcher:
        while True:
            row = await (await watcher.execute(BLOCKED)).fetchone()
            if row and row[0]:
                return


async def test_a_row_locked_by_the_application_is_an_outage_and_then_left_alone(database: str, app: Connection) -> None:
    source = opened(database)
    cutoff = await source.now()
    async with await psycopg.AsyncConnection.connect(database) as holder:
        await holder.execute("UPDATE things SET note = 'mine' WHERE id = 3")
        with pytest.raises(Outage) as found:
            await source.write(ALL, Predicate(cutoff))
        assert (found.value.reason, found.value.maybe_applied) == ("Locked", False)
        written = await source.write(ALL, Predicate(cutoff), skip_locked=True)
        assert (written.applied, written.locked) == (9, (("3",),))
    assert (await source.write(Keys((("3",),)), Predicate(cutoff))).applied == 1
    await source.close()


async def test_a_row_whose_lock_ends_while_rows_are_locked_is_reported_as_locked(
    database: str, app: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = opened(database)
    cutoff = await source.now()
    assert len(await source.keys(ALL, Predicate(cutoff))) == 10
    send = Transaction.run
    async with await psycopg.AsyncConnection.connect(database) as holder:
        await holder.execute("UPDATE things SET status = 'done' WHERE id = 3")

        async def one_by_one(tx: Transaction, *statements: str) -> list[Rows]:
            answers: list[Rows] = []
            for statement in statements:
                answers += await send(tx, statement)
                await holder.commit()
            return answers

        with monkeypatch.context() as patched:
            patched.setattr(Transaction, "run", one_by_one)
            written = await source.write(ALL, Predicate(cutoff), skip_locked=True)
    assert (written.applied, written.locked) == (9, (("3",),))
    assert await source.keys(Keys(written.locked), Predicate(cutoff)) == ()
    await source.close()


async def test_a_write_whose_rows_stay_stale_is_rolled_back(database: str, app: Connection) -> None:
    source = opened(database, write=Write(update=(Assignment("note", value="x"),)))
    written = await source.write(ALL, Predicate(await source.now()))
    assert (written.applied, written.still_stale) == (0, 10)
    row = await (await app.execute("SELECT count(*) FROM things WHERE note IS NOT NULL")).fetchone()
    assert row == (0,)
    await source.close()


async def test_a_backend_killed_in_the_middle_of_a_write_has_written_nothing(database: str, app: Connection) -> None:
    source = opened(database, source=Source(table="things", lock_timeout=3600.0))
    cutoff = await source.now()
    async with await psycopg.AsyncConnection.connect(database) as holder:
        await holder.execute("SELECT FROM things WHERE id = 3 FOR UPDATE")
        writing = asyncio.create_task(source.write(ALL, Predicate(cutoff)))
        await blocked(database)
        await app.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'kubesweep/%' AND wait_event_type = 'Lock'"
        )
        with pytest.raises(Outage) as found:
            await writing
    assert not found.value.maybe_applied
    assert (await source.write(ALL, Predicate(cutoff))).applied == 10
    await source.close()


async def test_an_idle_connection_that_was_killed_is_replaced_without_an_error(database: str, app: Connection) -> None:
    source = opened(database)
    cutoff = await source.now()
    await app.execute(
        "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name LIKE 'kubesweep/%'"
    )
    assert await source.count(Predicate(cutoff), 100) == 10
    await source.close()


async def test_a_cancelled_write_leaves_nothing_behind(database: str, app: Connection) -> None:
    source = opened(database, source=Source(table="things", lock_timeout=3600.0))
    cutoff = await source.now()
    async with await psycopg.AsyncConnection.connect(database) as holder:
        await holder.execute("SELECT FROM things WHERE id = 3 FOR UPDATE")
        writing = asyncio.create_task(source.write(ALL, Predicate(cutoff)))
        await blocked(database)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
    assert (await source.write(ALL, Predicate(cutoff))).applied == 10
    await source.close()


async def test_a_rollback_that_is_cancelled_leaves_no_connection_open(database: str, app: Connection) -> None:
    pool = Pool(lambda: database, 1, "kubesweep/test", Timeouts(30.0))

    async def refused() -> None:
        async with pool.transaction(()) as tx:
            [[(server,)]] = await tx.run("SELECT pg_backend_pid()")
            os.kill(server, signal.SIGSTOP)
            stopped.set_result(server)
            raise RowError("Refused", "the caller gives up")

    stopped: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    giving_up = asyncio.create_task(refused())
    server = await stopped
    giving_up.cancel()
    os.kill(server, signal.SIGCONT)
    with pytest.raises(asyncio.CancelledError):
        await giving_up
    await pool.close()
    async with asyncio.timeout(scaled(60)):
        await gone(app, "kubesweep/test")


async def test_the_connection_of_a_cancelled_transaction_is_not_used_again(database: str) -> None:
    pool = Pool(lambda: database, 1, "kubesweep/test", Timeouts(30.0))

    async def hanging() -> None:
        async with pool.transaction(()) as tx:
            [[(server,)]] = await tx.run("SELECT pg_backend_pid()")
            begun.set_result(server)
            await asyncio.Event().wait()

    begun: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    working = asyncio.create_task(hanging())
    first = await begun
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    async with pool.transaction(()) as tx:
        [[(second,)]] = await tx.finish("SELECT pg_backend_pid()")
    assert second != first
    await pool.close()


async def gone(app: Connection, name: str) -> None:
    """Returns when no connection has this name."""
    while True:
        found = await app.execute(
            "SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s", (name,)
        )
        if not found.rowcount:
            return


async def test_a_deadlock_is_an_outage(database: str, app: Connection) -> None:
    source = opened(database, source=Source(table="things", lock_timeout=3600.0))
    cutoff = await source.now()
    async with await psycopg.AsyncConnection.connect(database) as holder:
        await holder.execute("SET deadlock_timeout = '1h'")
        await holder.execute("SELECT FROM things WHERE id = 10 FOR UPDATE")
        writing = asyncio.create_task(source.write(ALL, Predicate(cutoff)))
        await blocked(database)
        waiting = asyncio.create_task(holder.execute("SELECT FROM things WHERE id = 1 FOR UPDATE"))
        with pytest.raises(Outage) as found:
            await writing
        await waiting
    assert found.value.reason == "Deadlock"
    await source.close()


async def test_a_slow_statement_is_an_outage(database: str, app: Connection) -> None:
    slow = Match("sql", sql="pg_sleep(3600) IS NOT NULL")
    source = opened(database, match=(slow,), source=Source(table="things", statement_timeout=1.0))
    with pytest.raises(Outage) as found:
        await source.count(Predicate(await source.now()), 10)
    assert found.value.reason == "StatementTimeout"
    await source.close()


async def test_a_role_that_may_only_delete_waits_for_locked_rows(
    database: str, app: Connection, postgres_server: Server
) -> None:
    name = f"deleter {app.info.dbname}"
    await app.execute(f'CREATE ROLE "{name}" LOGIN; GRANT SELECT, DELETE ON things TO "{name}"'.encode())
    source = opened(postgres_server.url(app.info.dbname, user=name), write=Write())
    cutoff = await source.now()
    async with await psycopg.AsyncConnection.connect(database) as holder:
        await holder.execute("SELECT FROM things WHERE id = 3 FOR UPDATE")
        with pytest.raises(Outage) as found:
            await source.write(ALL, Predicate(cutoff), skip_locked=True)
        assert found.value.reason == "Locked"
    assert (await source.write(ALL, Predicate(cutoff), skip_locked=True)).applied == 10
    await source.close()
    await app.execute(f'DROP OWNED BY "{name}"; DROP ROLE "{name}"'.encode())


async def test_a_commit_without_an_answer_may_have_applied(database: str, app: Connection) -> None:
    await app.execute(
        "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$; "
        "CREATE TABLE others (thing int REFERENCES things ON DELETE CASCADE); INSERT INTO others VALUES (1);"
        "CREATE CONSTRAINT TRIGGER at_commit AFTER DELETE ON others DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION die()"
    )
    source = opened(database, write=Write())
    with pytest.raises(Outage) as found:
        await source.write(ALL, Predicate(await source.now()))
    assert found.value.maybe_applied
    await source.close()
