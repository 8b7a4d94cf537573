"""Which sweeps of real PostgreSQL databases await approval: restored ones, other servers, promoted standbys, shares of any table."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest

from kubesweep.api.plan import Match, Plan, RowLimits, Source, Write
from kubesweep.proposal import proposal_of
from kubesweep.queue.model import Baseline, Sweep, SweepState
from kubesweep.timestamps import parse_time
from kubesweep_worker.sources import open_source
from tests.integration.cart_site import Site, cart_plan, carts
from tests.integration.postgres import Server, postgres
from tests.integration.postgres_plans import make_plan
from tests.integration.standby import primary_with_standby
from tests.kits import polling
from tests.kits.deadlines import scaled

GUARDED = RowLimits(batch_rows=50, approve_above_rows=1000)


def guarded(**changes: Any) -> Plan:
    return cart_plan(**{"limits": GUARDED, **changes})


async def swept(site: Site, plan: Plan) -> Sweep:
    sweep = (await site.sweep(plan)).sweep
    assert sweep is not None
    return sweep


def stale_again(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE carts SET status = 'old'")


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@pytest.fixture(scope="module")
def other_server() -> Iterator[Server]:
    with postgres() as running:
        yield running


async def test_a_changed_predicate_shows_what_it_would_do_and_is_approved_once(site: Site) -> None:
    carts(site.url, 20)
    execute(site.url, "UPDATE carts SET at = '2026-03-01 00:00:00+00' WHERE id = 3")
    execute(site.url, "UPDATE carts SET status = 'open' WHERE id > 10")
    assert (await swept(site, guarded())).applied == 10
    wider = guarded(
        match=(Match("in", "status", ("old", "open", "new")), Match("before", "at")), write=Write(), generation=1
    )
    sweep = await swept(site, wider)
    assert (sweep.state, sweep.reason) == (SweepState.AWAITING_APPROVAL, "PredicateChanged")
    assert sweep.message == (
        "match and write (update -> delete) differ from the last sweep's; 20 rows are stale. Nothing was changed"
    )
    found = proposal_of(sweep) or {}
    assert (found["rows"], found["oldestTime"], found["sampleKeys"][:2]) == (
        20,
        "2026-03-01T00:00:00Z",
        ['["1"]', '["2"]'],
    )
    assert (parse_time(found["newestTime"]) or 0) > (parse_time(found["oldestTime"]) or 0)
    assert site.statuses() == {"new": 10, "open": 10}
    assert await site.queue.approve(wider.ref, sweep.id) == sweep.id
    done = await continued(site, wider)
    assert (done.state, done.applied) == (SweepState.COMPLETED, 20)
    execute(site.url, "INSERT INTO carts VALUES (99, 'old')")
    assert (await swept(site, wider)).state is SweepState.COMPLETED


async def continued(site: Site, plan: Plan) -> Sweep:
    """The sweep that was approved, at its end."""
    await site.worker(plan).run(until_settled=True)
    sweep = (await site.stats(plan)).sweep
    assert sweep is not None
    return sweep


def dump_and_restore(server: Server, old: str, new: str) -> None:
    dumped = subprocess.run(
        [server.program("pg_dump"), "--dbname", old], check=True, capture_output=True, timeout=scaled(60)
    )
    psql = [server.program("psql"), "-q", "--dbname", new]
    subprocess.run(psql, input=dumped.stdout, check=True, timeout=scaled(60))


async def test_a_dump_that_was_restored_on_another_server_awaits_approval(site: Site, other_server: Server) -> None:
    carts(site.url, 10)
    await swept(site, guarded())
    before = site.url
    stale_again(before)
    site.url = other_server.create()
    dump_and_restore(other_server, before, site.url)
    sweep = await swept(site, guarded())
    assert (sweep.state, sweep.reason) == (SweepState.AWAITING_APPROVAL, "OtherDatabase")
    assert site.statuses() == {"old": 10}
    site.url = before  # the URL is corrected, and the sweep that waits may go on
    assert await site.queue.approve(guarded().ref) == sweep.id
    assert (await continued(site, guarded())).state is SweepState.COMPLETED


async def test_a_database_that_was_dropped_and_made_again_under_its_name_awaits_approval(
    site: Site, postgres_server: Server
) -> None:
    carts(site.url, 10)
    await swept(site, guarded())
    name = psycopg.conninfo.conninfo_to_dict(site.url)["dbname"]
    with postgres_server.connect() as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    carts(site.url, 10)
    assert (await swept(site, guarded())).reason == "OtherDatabase"


async def test_a_role_that_may_not_read_the_servers_identifier_compares_the_address(
    site: Site, other_server: Server
) -> None:
    for url in (site.url, elsewhere := other_server.create()):
        carts(url, 10)
        execute(url, "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
        execute(url, "DO $$ BEGIN CREATE ROLE guarded LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
        execute(url, "GRANT SELECT, UPDATE ON carts TO guarded")
    here, site.url = site.url, site.url.replace("postgres@", "guarded@")
    for plan, warned in ((guarded(), True), (cart_plan(), False)):
        source = open_source(plan, lambda: site.url)
        warnings = dict((await source.inspect()).warnings)
        await source.close()
        fix = 'GRANT EXECUTE ON FUNCTION pg_control_system() TO "guarded"'
        assert (fix in warnings.get("server-identifier", "")) is warned
    assert (await swept(site, guarded())).applied == 10
    stale_again(here)
    assert (await swept(site, guarded())).applied == 10
    site.url = elsewhere.replace("postgres@", "guarded@")
    assert (await swept(site, guarded())).reason == "OtherDatabase"
    execute(here, "DROP OWNED BY guarded; DROP ROLE guarded")


async def test_a_promoted_standby_is_the_same_database_on_another_timeline(tmp_path: Path) -> None:
    with primary_with_standby() as (primary, standby):
        carts(primary.url(), 10)
        site = Site(tmp_path, primary.url())
        first = await site.sweep(guarded())
        stale_again(primary.url())
        with primary.connect() as writer:
            [[written]] = writer.execute("SELECT pg_current_wal_lsn()").fetchall()

        async def replayed() -> Sequence[object]:
            with standby.connect() as replica:
                return replica.execute("SELECT 1 WHERE pg_last_wal_replay_lsn() >= %s::pg_lsn", (written,)).fetchall()

        await polling.until(replayed)
        primary.stop()
        with standby.connect() as replica:
            assert replica.execute("SELECT pg_promote()").fetchone() == (True,)
        site.url = standby.url()
        second = await site.sweep(guarded())
        assert second.sweep is not None
        assert (second.sweep.state, second.sweep.applied) == (SweepState.COMPLETED, 10)
        assert first.baseline is not None
        assert second.baseline is not None
        assert second.baseline.follows(first.baseline)
        assert (first.baseline.database.timeline, second.baseline.database.timeline) == (1, 2)
        await site.queue.close()
        primary.start()


async def after_a_loss(site: Site, plan: Plan, baseline: Baseline) -> Sweep:
    """The queue lost its data. The controller sees it only after a worker has claimed the plan job."""
    await site.queue.forget(plan.ref)
    await site.open(plan)
    working = asyncio.create_task(continued(site, plan))

    async def claimed() -> Sequence[object]:
        return [1] * (await site.stats(plan)).running

    await polling.until(claimed)
    await site.queue.restore_baseline(plan.ref, baseline)
    await site.queue.set_pace(plan.ref, plan.pace)
    return await working


async def test_a_lost_queue_neither_stops_a_schedule_nor_lets_another_database_pass(
    site: Site, postgres_server: Server
) -> None:
    plan = guarded(install="c1")
    carts(site.url, 10)
    await site.open(plan)
    await site.queue.set_pace(plan.ref, plan.pace)
    await continued(site, plan)
    baseline = (await site.stats(plan)).baseline
    assert baseline is not None
    stale_again(site.url)
    sweep = await after_a_loss(site, plan, baseline)
    assert (sweep.state, sweep.applied) == (SweepState.COMPLETED, 10)
    site.url = postgres_server.create()
    carts(site.url, 10)
    sweep = await after_a_loss(site, plan, baseline)
    assert (sweep.state, sweep.reason) == (SweepState.AWAITING_APPROVAL, "OtherDatabase")
    postgres_server.drop(site.url)


async def test_a_share_of_a_table_that_was_never_analyzed_is_counted(site: Site) -> None:
    carts(site.url, 100)
    execute(site.url, "UPDATE carts SET status = 'new' WHERE id > 21")
    sweep = await swept(site, guarded(limits=RowLimits(approve_above_share=20)))
    assert sweep.message == (
        "21 rows are stale: 21 % of the table (limits.approveAbove.share: 20 %). Nothing was changed"
    )
    sweep = await swept(site, guarded(limits=RowLimits(approve_above_share=21), generation=1))
    assert (sweep.state, sweep.applied) == (SweepState.COMPLETED, 21)


PARTS = """
    CREATE TABLE parts (id bigint, at timestamptz, PRIMARY KEY (id)) PARTITION BY RANGE (id);
    CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (1000);
    CREATE TABLE parts_high PARTITION OF parts FOR VALUES FROM (1000) TO (1000000) PARTITION BY RANGE (id);
    CREATE TABLE parts_higher PARTITION OF parts_high FOR VALUES FROM (1000) TO (1000000);
    CREATE TABLE parts_rest PARTITION OF parts DEFAULT;
    INSERT INTO parts SELECT i, now() FROM generate_series(1, 150000) i;
"""


async def rows_of(url: str, table: str) -> int | None:
    plan = make_plan(source=Source(table=table, key=("id",)), match=(Match("before", "at"),), write=Write())
    source = open_source(plan, lambda: url)
    try:
        return await source.table_rows()
    finally:
        await source.close()


async def test_the_rows_of_a_partitioned_table_are_those_of_its_parts(database: str) -> None:
    execute(database, PARTS)
    assert await rows_of(database, "parts") == 150_000  # counted: it has no statistics
    execute(database, "ANALYZE parts_low", "ANALYZE parts_higher")  # the empty part needs none
    estimate = await rows_of(database, "parts")
    assert estimate is not None
    assert abs(estimate - 150_000) < 3_000
    execute(database, "DELETE FROM parts WHERE id > 500", "VACUUM parts_higher")
    assert await rows_of(database, "parts") == 500


async def test_the_rows_of_a_table_that_grew_since_it_was_analyzed_are_those_of_today(database: str) -> None:
    execute(database, "CREATE TABLE things (id bigint PRIMARY KEY, at timestamptz)")
    assert await rows_of(database, "things") == 0
    execute(database, "INSERT INTO things SELECT generate_series(1, 3), now()", "ANALYZE things")
    assert await rows_of(database, "things") == 3
    execute(database, "INSERT INTO things SELECT generate_series(4, 90000), now()")
    assert await rows_of(database, "things") == 90_000
    execute(database, "ANALYZE things", "INSERT INTO things SELECT generate_series(90001, 300000), now()")
    grown = await rows_of(database, "things")
    assert grown is not None
    assert abs(grown - 300_000) < 6_000


async def test_the_size_of_a_table_that_cannot_be_counted_in_time_is_estimated_or_unknown(site: Site) -> None:
    """A policy makes each row slow for this role."""
    carts(site.url, 3)
    execute(
        site.url,
        "CREATE ROLE slowed LOGIN",
        "GRANT SELECT, UPDATE ON carts TO slowed",
        "ALTER TABLE carts ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY slow ON carts USING (pg_sleep(0.15) IS NOT NULL)",
    )
    plan = guarded(limits=RowLimits(approve_above_share=50), source=Source(table="carts", statement_timeout=0.3))
    source = open_source(plan, lambda: site.url.replace("postgres@", "slowed@"))
    assert await source.table_rows() is None
    execute(site.url, "ANALYZE carts")
    assert await source.table_rows() == 3  # an estimate is better than nothing
    await source.close()
    execute(site.url, "DROP OWNED BY slowed; DROP ROLE slowed")
