"""What is measured of a database: a real standby, real transactions and locks, a real autovacuum."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Iterator

import psycopg
import pytest

from kubesweep.api.plan import Assignment, Match, Plan, Source, Write
from kubesweep.errors import Outage
from kubesweep.queue.model import ACTIVE, LOCK_WAITS, OLDEST_XMIN, QUERY, REPLAY_LAG, VACUUM, HealthLimits, Sample
from kubesweep_worker.flow_control.health_level import UNKNOWN, Aged, HealthLevel
from kubesweep_worker.sources.postgres.health import HealthProbe
from kubesweep_worker.sources.postgres.source import PostgresSource
from tests.integration.postgres import Server, postgres
from tests.integration.standby import primary_with_standby
from tests.kits import polling

SLOW_VACUUM = {
    "autovacuum": "on",
    "autovacuum_naptime": "1s",
    "autovacuum_vacuum_threshold": "0",
    "autovacuum_vacuum_scale_factor": "0",
    "autovacuum_vacuum_insert_threshold": "-1",
    "autovacuum_analyze_threshold": "1000000",
    "autovacuum_vacuum_cost_delay": "100ms",
    "autovacuum_vacuum_cost_limit": "10",
    "max_prepared_transactions": "5",
    "wal_level": "replica",
    "fsync": "off",
}
Connect = Callable[..., psycopg.Connection[tuple[object, ...]]]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres(SLOW_VACUUM) as running:
        yield running


@pytest.fixture
def url(server: Server) -> Iterator[str]:
    made = server.create()
    yield made
    server.drop(made)


@pytest.fixture
async def probe(url: str) -> AsyncIterator[HealthProbe]:
    made = HealthProbe(lambda: url, "kubesweep/shop/carts", ())
    yield made
    await made.close()


@pytest.fixture
def connect(url: str) -> Iterator[Connect]:
    with contextlib.ExitStack() as opened:
        yield lambda **given: opened.enter_context(psycopg.connect(given.pop("url", url), **given))


async def until(probe: HealthProbe, holds: Callable[[Sample], bool]) -> Sample:
    async def ask() -> list[Sample]:
        sample = await probe.measure("")
        return [sample] if holds(sample) else []

    return (await polling.until(ask))[0]


async def test_the_lag_of_a_standby_grows_until_it_replays_again() -> None:
    with primary_with_standby() as (primary, standby), primary.connect() as writer, standby.connect() as replica:
        probe = HealthProbe(primary.url, "kubesweep/shop/carts", ())
        writer.execute("CREATE TABLE carts (id int)")
        await until(probe, lambda sample: (sample.values[REPLAY_LAG] or 0) < 0.5)
        replica.execute("SELECT pg_wal_replay_pause()")
        writer.execute("INSERT INTO carts SELECT generate_series(1, 10)")
        await until(probe, lambda sample: (sample.values[REPLAY_LAG] or 0) > 2.0)
        replica.execute("SELECT pg_wal_replay_resume()")
        await until(probe, lambda sample: sample.values[REPLAY_LAG] == 0.0)
        writer.execute("CREATE ROLE plain LOGIN")
        hidden = HealthProbe(lambda: primary.url(user="plain"), "kubesweep/shop/carts", ())
        sample = await hidden.measure("")
        assert sample.values[REPLAY_LAG] is None
        assert sample.problem == 'this user may not see it: GRANT pg_monitor TO "plain"'
        writer.execute("GRANT pg_monitor TO plain")
        assert (await hidden.measure("")).values[REPLAY_LAG] is not None
        await hidden.close()
        await probe.close()


OPENED = [
    "CREATE TABLE written (id int)",
    "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class",
]


@pytest.mark.parametrize("statement", OPENED)
async def test_a_transaction_that_keeps_dead_rows_is_as_old_as_its_begin(
    probe: HealthProbe, connect: Connect, statement: str
) -> None:
    session = connect(autocommit=statement.startswith("BEGIN"))
    session.execute(statement)
    await until(probe, lambda sample: (sample.values[OLDEST_XMIN] or 0) > 1.0)
    session.execute("ROLLBACK") if session.autocommit else session.rollback()
    assert (await probe.measure("")).values[OLDEST_XMIN] == 0.0


async def test_a_prepared_transaction_counts(probe: HealthProbe, connect: Connect) -> None:
    session, name = connect(autocommit=True), uuid.uuid4().hex
    session.execute("CREATE TABLE prepared (id int)")
    session.execute(f"BEGIN; INSERT INTO prepared VALUES (1); PREPARE TRANSACTION '{name}'")
    await until(probe, lambda sample: (sample.values[OLDEST_XMIN] or 0) > 1.0)
    session.execute(f"ROLLBACK PREPARED '{name}'")
    assert (await probe.measure("")).values[OLDEST_XMIN] == 0.0


async def test_sessions_count_that_used_the_database_within_the_last_second(
    probe: HealthProbe, connect: Connect, server: Server
) -> None:
    sweep, elsewhere = connect(application_name="kubesweep/shop/others"), connect(url=server.url())
    application, waiting = connect(), connect()
    for session in (sweep, elsewhere, application, waiting):
        session.execute("SELECT 1")  # the transaction stays open
    assert (await probe.measure("")).values[ACTIVE] == 2.0
    await until(probe, lambda sample: sample.values[ACTIVE] == 0.0)
    sweep.execute("SELECT 1")
    elsewhere.execute("SELECT 1")
    assert (await probe.measure("")).values[ACTIVE] == 0.0
    waiting.commit()
    assert (await probe.measure("")).values[ACTIVE] == 1.0


async def test_a_session_without_track_activities_counts_while_it_executes_something(
    probe: HealthProbe, connect: Connect
) -> None:
    hidden = connect(autocommit=True)
    hidden.execute("SET track_activities = off")
    assert (await probe.measure("")).values[ACTIVE] == 0.0
    running = asyncio.create_task(asyncio.to_thread(hidden.execute, "SELECT pg_sleep(3600)"))
    await until(probe, lambda sample: sample.values[ACTIVE] == 1.0)
    hidden.cancel()
    with pytest.raises(psycopg.errors.QueryCanceled):
        await running


async def test_what_holds_nothing_here_does_not_count(probe: HealthProbe, connect: Connect, server: Server) -> None:
    """A session that is idle in a transaction without a snapshot, one of another database, and a sweep."""
    sweep = connect(application_name="kubesweep/shop/others")
    for session in (connect(), connect(url=server.url()), sweep):
        session.execute("SELECT 1")
    connect(url=server.url()).execute("CREATE TEMPORARY TABLE elsewhere (id int)")
    sweep.execute("CREATE TABLE swept (id int)")
    values = (await probe.measure("")).values
    assert (values[OLDEST_XMIN], values[LOCK_WAITS], values[REPLAY_LAG]) == (0.0, 0.0, 0.0)


async def test_sessions_that_wait_for_a_lock_are_counted_without_those_of_sweeps(
    probe: HealthProbe, connect: Connect
) -> None:
    root = connect(autocommit=True)
    root.execute("CREATE TABLE busy (id int)")
    root.execute("INSERT INTO busy VALUES (1)")
    holder = connect()
    holder.execute("UPDATE busy SET id = 2")
    url = root.info.dsn
    waiting = [
        asyncio.create_task(_update(url, name)) for name in ("app", "app", "kubesweep/shop/carts", "kubesweep-like")
    ]
    sample = await until(probe, lambda sample: (sample.values[LOCK_WAITS] or 0) >= 3)
    assert sample.values[LOCK_WAITS] == 3
    await until(probe, lambda sample: sample.values[ACTIVE] == 0.0)  # they use no processor and no disk
    holder.rollback()
    await asyncio.gather(*waiting)
    assert (await probe.measure("")).values[LOCK_WAITS] == 0.0


async def _update(url: str, name: str) -> None:
    session = await psycopg.AsyncConnection.connect(url, autocommit=True, application_name=name)
    await session.execute("UPDATE busy SET id = 3")
    await session.close()


async def test_an_autovacuum_is_seen_on_its_table_and_on_what_that_is_a_part_of(
    probe: HealthProbe, connect: Connect, server: Server, url: str
) -> None:
    root = connect(autocommit=True)
    root.execute("CREATE TABLE whole (id int, text text) PARTITION BY RANGE (id)")
    root.execute("CREATE TABLE part PARTITION OF whole FOR VALUES FROM (0) TO (1000000)")
    root.execute("CREATE TABLE other (id int)")
    root.execute("INSERT INTO whole SELECT n, repeat('x', 200) FROM generate_series(1, 20000) AS n")
    root.execute("DELETE FROM part")
    oids = {name: oid(root, name) for name in ("whole", "part", "other")}
    # Between its lock and its report of progress, a VACUUM of a few milliseconds counts as any other transaction.
    sample = await until(probe, lambda sample: oids["part"] in sample.vacuumed and sample.values[OLDEST_XMIN] == 0.0)
    assert oids["whole"] in sample.vacuumed
    assert oids["other"] not in sample.vacuumed
    # A role without rights sees it too.
    role = f"r{uuid.uuid4().hex[:8]}"
    root.execute(f"CREATE ROLE {role} LOGIN")
    plain = HealthProbe(lambda: url.replace("postgres@", f"{role}@", 1), "kubesweep/shop/carts", ())
    assert oids["part"] in (await plain.measure("")).vacuumed
    assert (await plain.measure("")).values == {
        REPLAY_LAG: 0.0,
        OLDEST_XMIN: None,
        LOCK_WAITS: 0.0,
        ACTIVE: None,
    }
    await plain.close()
    root.execute("ALTER TABLE part SET (autovacuum_enabled = off)")  # waits for the vacuum, or ends it
    await until(probe, lambda sample: oids["part"] not in sample.vacuumed)


def oid(root: psycopg.Connection[tuple[object, ...]], name: str) -> int:
    found = root.execute("SELECT %s::regclass::oid::int", [name]).fetchone()
    assert found is not None
    assert isinstance(found[0], int)
    return found[0]


@pytest.mark.parametrize(
    ("query", "value", "problem"),
    [
        ("SELECT count(*) FROM generate_series(1, 12)", 12.0, ""),
        ("SELECT 3.5 -- a comment", 3.5, ""),
        ("7", 7.0, ""),
        ("SELECT '12'", 12.0, ""),
        ("SELECT NULL::int", None, "has no number"),
        ("SELECT 'NaN'::float8", None, "has no number"),
        ("SELECT 1 WHERE false", None, "has no number"),
        ("'Infinity'::float8", None, "no number"),
        ("SELECT 'many'", None, "source.health.query"),
        ("SELECT n FROM generate_series(1, 2) AS n", None, "more than one row"),
        ("SELECT count(*) FROM missing", None, "missing"),
        ("SELECT 1, 2", None, "one column"),
        ("SELECT nextval('numbers')", None, "read-only"),
        ("SELECT 1 FROM pg_sleep(60)", None, "takes longer than 2 s"),
    ],
)
async def test_the_users_query_has_one_number_or_a_problem(
    probe: HealthProbe, connect: Connect, query: str, value: float | None, problem: str
) -> None:
    connect(autocommit=True).execute("CREATE SEQUENCE numbers")
    sample = await probe.measure(query)
    assert sample.values == {QUERY: value}
    assert problem in sample.problem
    assert bool(problem) == bool(sample.problem)


async def test_a_database_that_cannot_be_reached_is_an_outage() -> None:
    probe = HealthProbe(lambda: "postgresql://nobody@127.0.0.1:1/x", "kubesweep/shop/carts", ())
    with pytest.raises(Outage):
        await probe.measure("")
    await probe.close()


@pytest.fixture
def hidden(connect: Connect) -> str:
    """The URL of a role that may not read the views of the statistics."""
    root = connect(autocommit=True)
    role = f"r{uuid.uuid4().hex}"
    root.execute(f"CREATE ROLE {role} LOGIN")
    root.execute("REVOKE SELECT ON pg_locks, pg_stat_activity FROM PUBLIC")
    root.execute("CREATE TABLE carts (id bigint PRIMARY KEY, status text)")
    root.execute(f"GRANT SELECT, UPDATE ON carts TO {role}")
    url = str(root.info.dsn)
    return psycopg.conninfo.make_conninfo(url, user=role)


async def test_views_that_may_not_be_read_leave_all_signals_unknown(hidden: str) -> None:
    probe = HealthProbe(lambda: hidden, "kubesweep/shop/carts", ())
    sample = await probe.measure("")
    assert sample.values == dict.fromkeys((REPLAY_LAG, OLDEST_XMIN, LOCK_WAITS, VACUUM, ACTIVE))
    assert "permission denied for view pg_locks" in sample.problem
    await probe.close()
    limits = HealthLimits(pause_on_vacuum=True)
    assert HealthLevel().decide(limits, {"": Aged(sample, 0.0)}, 1).reason == UNKNOWN


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("SELECT 1", ""),
        ("SELECT count(*) FROM missing", "missing"),
        ("SELECT setval('numbers', 1)", "read-only"),
        ("SELECT 1 FROM pg_sleep(60)", "takes longer than 2 s"),
    ],
)
async def test_a_check_tells_what_the_sweep_could_not_measure(
    hidden: str, connect: Connect, query: str, problem: str
) -> None:
    connect(autocommit=True).execute("CREATE SEQUENCE numbers; GRANT ALL ON numbers TO PUBLIC")
    health = HealthLimits(lock_waits=5.0, query=query, query_limit=1.0, continue_when_unknown=True)
    match, write = (Match("in", "status", ("old",)),), Write(update=(Assignment("status", "new"),))
    source = Source(table="carts", schema="public", health=health)
    plan = Plan(namespace="shop", name="carts", uid="1", source=source, match=match, write=write)
    opened = PostgresSource(plan, lambda: hidden)
    found = dict((await opened.inspect()).warnings)
    await opened.close()
    assert "lockWaits cannot be read, so the sweep ignores it: " in found["health-rights"]
    assert "permission denied for view pg_locks" in found["health-rights"]
    assert problem in found.get("health-query", "")
    assert bool(problem) == ("health-query" in found)
