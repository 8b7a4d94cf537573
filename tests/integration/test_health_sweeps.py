"""Sweeps whose database gets into trouble: they slow down, say why, and recover."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest
from aiohttp import web

from kubesweep.api.plan import Effect, Plan, RowLimits, Session, Source, Webhook
from kubesweep.queue.model import Finding, HealthLimits, Pace, Stats
from tests.integration.cart_site import Site, cart_plan, carts
from tests.integration.receivers import receiver
from tests.integration.standby import primary_with_standby
from tests.kits import polling
from tests.kits.deadlines import scaled

ROWS = 4000
BATCH = 20
JOBS = 2  # of one worker at once
BAD, GOOD = 1000, 0


@pytest.fixture
def signal(site: Site) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A number that the test sets, and the sweep's query reads."""
    with psycopg.connect(site.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE signal (value int)")
        connection.execute(f"INSERT INTO signal VALUES ({GOOD})")
        yield connection


QUERY = HealthLimits(query="SELECT value FROM signal", query_limit=100.0)


def careful(health: HealthLimits, search_path: tuple[str, ...] = (), **changes: object) -> Plan:
    session = Session(search_path=search_path)
    source = Source(table="carts", schema="public", lock_timeout=0.05, session=session, health=health)
    return cart_plan(source=source, **{"limits": RowLimits(batch_rows=BATCH), **changes})


def set_to(signal: psycopg.Connection[tuple[object, ...]], value: int) -> None:
    signal.execute("UPDATE signal SET value = %s", [value])


async def throttled(site: Site, plan: Plan, reason: str) -> Finding:
    async def ask() -> list[Finding]:
        findings = (await site.stats(plan)).findings
        return [each for each in findings if each.kind == "Throttle" and each.reason == reason]

    return (await polling.until(ask))[0]


def applied(stats: Stats) -> int:
    assert stats.sweep is not None
    return stats.sweep.applied


async def reported_again(site: Site, plan: Plan, before: Finding) -> None:
    """Wait for a further report: whatever the workers do in a pause, they had time for it."""

    async def ask() -> bool:
        return any(each.kind == "Throttle" and each.at > before.at for each in (await site.stats(plan)).findings)

    await polling.until(ask)


@contextlib.asynccontextmanager
async def sweeping(site: Site, plan: Plan, workers: int = 1) -> AsyncIterator[None]:
    """Workers on one sweep, which has to end within the block or soon after it."""
    await site.open(plan)
    running = [asyncio.create_task(site.worker(plan).run(until_settled=True)) for _ in range(workers)]
    try:
        yield
        async with asyncio.timeout(scaled(120)):
            assert await asyncio.gather(*running) == [0] * workers
    finally:
        for each in running:
            each.cancel()


async def test_a_standby_that_falls_behind_pauses_the_sweep_until_it_has_caught_up(tmp_path: Path) -> None:
    with primary_with_standby() as (primary, standby), standby.connect() as replica:
        site = Site(tmp_path, primary.url())
        carts(site.url, ROWS)
        # At this rate it would take a minute, and the lag needs a second to grow.
        limits, health = RowLimits(batch_rows=BATCH, rows_per_second=70.0), HealthLimits(replay_lag=1.0)
        plan = careful(health, limits=limits)
        replica.execute("SELECT pg_wal_replay_pause()")
        async with sweeping(site, plan):
            finding = await throttled(site, plan, "ReplayLag")
            while not finding.message.startswith("paused: replay lag "):
                await reported_again(site, plan, finding)
                finding = await throttled(site, plan, "ReplayLag")
            assert finding.throttle is not None
            assert (finding.throttle.factor, finding.throttle.limit) == (0.0, "1.0 s")
            before = applied(await site.stats(plan))
            await reported_again(site, plan, finding)
            assert applied(await site.stats(plan)) <= before + JOBS * BATCH < ROWS
            replica.execute("SELECT pg_wal_replay_resume()")
            await site.queue.set_pace(plan.ref, Pace.of(None, health=health))
        assert site.statuses() == {"new": ROWS}
        assert (await site.stats(plan)).throttled(time.time()) is None
        await site.queue.close()


async def test_nothing_is_written_before_the_first_sample(
    site: Site, signal: psycopg.Connection[tuple[object, ...]]
) -> None:
    carts(site.url, ROWS)
    set_to(signal, BAD)
    plan = careful(QUERY)
    async with sweeping(site, plan, workers=2):
        finding = await throttled(site, plan, "Query")
        assert finding.message == "paused: health.query: 1000 > 100"
        await reported_again(site, plan, finding)
        assert site.statuses() == {"old": ROWS}
        set_to(signal, GOOD)
    assert site.statuses() == {"new": ROWS}


async def test_a_row_with_an_effect_waits_too(site: Site, signal: psycopg.Connection[tuple[object, ...]]) -> None:
    carts(site.url, 200)
    calls: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        calls.append((await request.json())["row"]["id"])
        if len(calls) == 60:
            set_to(signal, BAD)
        return web.Response()

    async with receiver(answer) as url:
        effect = Effect(columns=("id",), concurrency=1, webhook=Webhook(url))
        plan = careful(QUERY, effect=effect, limits=RowLimits(batch_rows=BATCH, rows_per_second=30.0))
        async with sweeping(site, plan):
            finding = await throttled(site, plan, "Query")
            sent = len(calls)
            await reported_again(site, plan, finding)
            assert len(calls) <= sent + 1 < 200
            assert site.statuses() == {"new": len(calls), "old": 200 - len(calls)}  # a crash repeats no effect
            set_to(signal, GOOD)
            await site.queue.set_pace(plan.ref, Pace.of(None, health=QUERY))
    assert len(set(calls)) == len(calls) == 200
    assert site.statuses() == {"new": 200}


async def test_a_person_can_go_on_in_spite_of_the_health(
    site: Site, signal: psycopg.Connection[tuple[object, ...]]
) -> None:
    carts(site.url, ROWS)
    set_to(signal, BAD)
    plan = careful(QUERY)
    async with sweeping(site, plan):
        await throttled(site, plan, "Query")
        await site.queue.set_pace(plan.ref, Pace.of(None, "off", health=QUERY))
    assert site.statuses() == {"new": ROWS}


async def test_limits_that_are_added_while_a_sweep_runs_hold(
    site: Site, signal: psycopg.Connection[tuple[object, ...]]
) -> None:
    carts(site.url, ROWS)
    set_to(signal, BAD)
    plan = careful(HealthLimits(lock_waits=1000.0), limits=RowLimits(batch_rows=BATCH, rows_per_second=100.0))
    async with sweeping(site, plan):
        await polling.until(lambda: has_applied(site, plan))
        await site.queue.set_pace(plan.ref, Pace.of(100.0, health=QUERY))
        finding = await throttled(site, plan, "Query")
        await reported_again(site, plan, finding)
        assert applied(await site.stats(plan)) < ROWS
        await site.queue.set_pace(plan.ref, Pace.of(None))
    assert site.statuses() == {"new": ROWS}


async def has_applied(site: Site, plan: Plan) -> bool:
    stats = await site.stats(plan)
    return stats.sweep is not None and stats.sweep.applied > 0


@contextlib.contextmanager
def as_app(site: Site) -> Iterator[tuple[psycopg.Connection[tuple[object, ...]], str]]:
    """The workers of ``site`` connect as a new role without pg_monitor. A superuser's connection and the role."""
    role = f"r{site.url.partition('/t')[2].partition('?')[0]}"
    with psycopg.connect(site.url, autocommit=True) as root:
        root.execute(f"CREATE ROLE {role} LOGIN")
        root.execute(f"GRANT SELECT, UPDATE ON carts TO {role}")
        site.url = site.url.replace("postgres@", f"{role}@", 1)
        try:
            yield root, role
        finally:
            root.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_signal_that_this_user_may_not_read_pauses_and_names_the_grant(site: Site) -> None:
    carts(site.url, ROWS)
    with as_app(site) as (root, role):
        plan = careful(HealthLimits(oldest_xmin=600.0))
        async with sweeping(site, plan):
            finding = await throttled(site, plan, "Unknown")
            assert f'GRANT pg_monitor TO "{role}"' in finding.message
            root.execute(f"GRANT pg_monitor TO {role}")
        assert site.statuses() == {"new": ROWS}


async def test_a_user_without_rights_pauses_no_sweep_of_another_user(site: Site, tmp_path: Path) -> None:
    carts(site.url, ROWS)
    monitor = Site(tmp_path, site.url)
    with as_app(site) as (root, role):
        blind = careful(HealthLimits(oldest_xmin=600.0))
        async with sweeping(site, blind):
            await throttled(site, blind, "Unknown")
            seeing = careful(HealthLimits(oldest_xmin=600.0), name="other", uid="other")
            async with sweeping(monitor, seeing):
                pass
            assert monitor.statuses() == {"new": ROWS}
            root.execute(f"GRANT pg_monitor TO {role}")
    await monitor.queue.close()


async def test_a_query_is_measured_for_each_search_path(site: Site, tmp_path: Path) -> None:
    carts(site.url, ROWS)
    with psycopg.connect(site.url, autocommit=True) as root:
        for schema, value in (("quiet", GOOD), ("busy", BAD)):
            root.execute(f"CREATE SCHEMA {schema} CREATE TABLE signal (value int)")
            root.execute(f"INSERT INTO {schema}.signal VALUES ({value})")
        paused, other = (careful(QUERY, (schema,), name=schema, uid=schema) for schema in ("busy", "quiet"))
        async with sweeping(site, paused):
            await throttled(site, paused, "Query")
            async with sweeping(site, other):
                pass
            assert site.statuses() == {"new": ROWS}
            root.execute("UPDATE busy.signal SET value = 0")


async def test_a_worker_that_is_stopped_in_a_pause_gives_its_jobs_back(
    site: Site, signal: psycopg.Connection[tuple[object, ...]]
) -> None:
    carts(site.url, ROWS)
    set_to(signal, BAD)
    plan = careful(QUERY)
    await site.open(plan)
    worker = site.worker(plan)
    running = asyncio.create_task(worker.run())
    await throttled(site, plan, "Query")
    worker.stop()
    async with asyncio.timeout(scaled(60)):
        assert await running == 0
    stats = await site.stats(plan)
    assert (stats.running, applied(stats), site.statuses()) == (0, 0, {"old": ROWS})
    set_to(signal, GOOD)
    async with asyncio.timeout(scaled(60)):
        await site.worker(plan).run(until_settled=True)
    assert site.statuses() == {"new": ROWS}


async def test_one_worker_measures_for_all_while_a_transaction_holds_back_vacuum(site: Site) -> None:
    carts(site.url, 200)
    plan = careful(HealthLimits(oldest_xmin=0.2), limits=RowLimits(batch_rows=BATCH, rows_per_second=5.0))
    measuring = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'kubesweep/:health/%'"
        " AND datname = current_database()"
    )
    with psycopg.connect(site.url) as application:
        application.execute("SELECT pg_current_xact_id()")
        async with sweeping(site, plan, workers=3):
            finding = await throttled(site, plan, "OldestXmin")
            await reported_again(site, plan, finding)
            assert application.execute(measuring).fetchone() == (1,)
            application.rollback()
            await site.queue.set_pace(plan.ref, Pace.of(None))
    assert site.statuses() == {"new": 200}


async def test_a_sweep_yields_while_another_session_uses_the_database(site: Site) -> None:
    carts(site.url, ROWS)
    plan = careful(HealthLimits(lock_waits=1000.0, yields=True))
    async with await psycopg.AsyncConnection.connect(site.url, autocommit=True) as application:
        used = asyncio.create_task(application.execute("SELECT pg_sleep(3600)"))
        async with sweeping(site, plan):
            finding = await throttled(site, plan, "ActiveSessions")
            assert finding.message == "slowed to 10%: 1 other session uses the database"
            application.cancel()
            with pytest.raises(psycopg.errors.QueryCanceled):
                await used
        assert site.statuses() == {"new": ROWS}
