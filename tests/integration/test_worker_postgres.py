from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import psycopg

from kubesweep.api.plan import Plan, RowLimits, Source
from kubesweep.queue.model import Stats, SweepState
from kubesweep_worker.testing import context, row, sweep
from tests.integration.cart_site import Site, cart_plan, carts
from tests.integration.postgres import postgres
from tests.kits.deadlines import scaled


async def test_one_poison_row_among_a_thousand_costs_only_itself(site: Site) -> None:
    carts(site.url, 1000)
    with psycopg.connect(site.url, autocommit=True) as connection:
        connection.execute("ALTER TABLE carts ADD CHECK (id <> 417 OR status <> 'new') NOT VALID")
    plan = cart_plan()
    stats = await site.sweep(plan, retries=True)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied, stats.sweep.dead) == (SweepState.COMPLETED, 999, 1)
    (letter,) = await site.queue.dead_letters(plan.ref)
    assert letter.key == ("417",)

    again = (await site.sweep(plan)).sweep
    assert again is not None
    assert (again.state, again.planned) == (SweepState.COMPLETED, 0)

    with psycopg.connect(site.url, autocommit=True) as connection:
        connection.execute("ALTER TABLE carts DROP CONSTRAINT carts_check")
    assert await site.queue.replay(plan.ref) == 1
    await site.worker(plan).run(until_settled=True, await_retries=True)
    assert site.statuses() == {"new": 1000}
    assert await site.queue.dead_letters(plan.ref) == ()


async def test_rows_that_the_application_locks_do_not_hold_the_sweep(site: Site) -> None:
    carts(site.url, 1000)
    plan = cart_plan()
    with psycopg.connect(site.url) as application:
        application.execute("SELECT 1 FROM carts WHERE id IN (5, 6, 700) FOR UPDATE")
        stats = await site.sweep(plan)
        assert stats.sweep is not None
        assert (stats.sweep.state, stats.sweep.applied, stats.sweep.retrying) == (SweepState.COMPLETED, 997, 3)
    await site.worker(plan).run(until_settled=True, await_retries=True)
    assert site.statuses() == {"new": 1000}
    assert (await site.stats(plan)).excluded == 0


async def test_a_stopped_worker_cancels_its_statement_and_another_one_finishes(site: Site) -> None:
    carts(site.url, 1000)
    plan = cart_plan(source=Source(table="carts", schema="public", lock_timeout=3600.0))
    await site.open(plan)
    with psycopg.connect(site.url) as application:
        application.execute("SELECT 1 FROM carts WHERE id = 5 FOR UPDATE")
        worker = site.worker(plan, concurrency=1)
        running = asyncio.create_task(worker.run())
        with psycopg.connect(site.url, autocommit=True) as look:
            blocked = (
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
            while (look.execute(blocked).fetchone() or (0,))[0] == 0:
                await site.queue.wait(plan.ref, 0.01)
            worker.stop()
            async with asyncio.timeout(scaled(60)):
                assert await running == 0
            assert (look.execute(blocked).fetchone() or (0,))[0] == 0
    stats = await site.stats(plan)
    assert (stats.running, site.statuses()) == (0, {"old": 1000})
    done = await _finish(site, plan)
    assert done.sweep is not None
    assert (done.sweep.state, done.sweep.applied) == (SweepState.COMPLETED, 1000)


async def _finish(site: Site, plan: Plan) -> Stats:
    async with asyncio.timeout(scaled(60)):
        await site.worker(plan).run(until_settled=True)
    return await site.stats(plan)


async def test_a_server_that_goes_away_in_the_middle_costs_nothing(tmp_path: Path) -> None:
    with postgres() as server:
        site = Site(tmp_path, server.create())
        carts(site.url, 2000)
        plan = cart_plan(limits=RowLimits(batch_rows=20))
        await site.open(plan)
        running = asyncio.create_task(site.worker(plan).run(until_settled=True))
        while (await site.stats(plan)).sweep is None or ((await site.stats(plan)).sweep or _none()).applied == 0:
            await site.queue.wait(plan.ref, 0.02)
        await asyncio.to_thread(server.stop, "fast")
        while not any(not f.ok and f.kind == "SourceReady" for f in (await site.stats(plan)).findings):
            await site.queue.wait(plan.ref, 0.02)
        await asyncio.to_thread(server.start)
        async with asyncio.timeout(scaled(60)):
            await running
        stats = await site.stats(plan)
        assert stats.sweep is not None
        assert (stats.sweep.state, stats.excluded, stats.dead) == (SweepState.COMPLETED, 0, 0)
        assert stats.sweep.applied + stats.sweep.unconfirmed == 2000
        assert stats.sweep.balanced
        assert site.statuses() == {"new": 2000}
        assert {f.kind: f.ok for f in stats.findings}["SourceReady"]
        await site.queue.close()


def _none() -> Any:
    raise AssertionError("the sweep vanished")


async def test_a_table_that_is_missing_fails_the_sweep_with_a_reason(site: Site) -> None:
    stats = await site.sweep(cart_plan())
    assert stats.sweep is not None
    assert stats.sweep.state is SweepState.FAILED
    assert "carts" in stats.sweep.message
    assert (stats.dead, stats.excluded) == (0, 0)


async def test_two_workers_share_a_sweep_and_write_every_row_once(site: Site) -> None:
    carts(site.url, 5000)
    with psycopg.connect(site.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE audit (id bigint)")
        connection.execute(
            "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS"
            " $$BEGIN INSERT INTO audit VALUES (NEW.id); RETURN NEW; END$$"
        )
        connection.execute("CREATE TRIGGER note AFTER UPDATE ON carts FOR EACH ROW EXECUTE FUNCTION note()")
    plan = cart_plan(limits=RowLimits(batch_rows=50))
    await site.open(plan)
    async with asyncio.timeout(scaled(60)):
        await asyncio.gather(*(site.worker(plan).run(until_settled=True) for _ in range(2)))
    stats = await site.stats(plan)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied, stats.sweep.balanced) == (SweepState.COMPLETED, 5000, True)
    with psycopg.connect(site.url) as connection:
        assert connection.execute("SELECT count(*), count(DISTINCT id) FROM audit").fetchone() == (5000, 5000)


SWEEP = """
apiVersion: kubesweep.dev/v1alpha1
kind: SweepSchedule
metadata: {name: carts}
spec:
  every: 1h
  source:
    urlFrom: {secretKeyRef: {name: db, key: url}}
    table: carts
  match:
    - {column: status, in: [old]}
  effect:
    columns: [id]
    handler: cart_handlers_of_a_test:close
  write:
    update: [{column: status, value: new}]
  retry: {maxAttempts: 2, backoff: 100ms, maxBackoff: 200ms}
"""
HANDLERS = """
from kubesweep_worker import Reject

async def close(row, ctx):
    if row["id"] == 3:
        raise Reject("three")
    if row["id"] == 4:
        raise ValueError(f"attempt {ctx.attempt}")
"""


async def test_a_user_tests_a_whole_sweep_with_one_call(tmp_path: Path, database: str) -> None:
    carts(database, 10)
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    (tmp_path / "cart_handlers_of_a_test.py").write_text(HANDLERS)
    swept = await sweep(tmp_path / "sweep.yaml", url=database, retries=True)
    assert (swept.sweep.state, swept.sweep.applied, swept.sweep.dead) == (SweepState.COMPLETED, 8, 2)
    assert {letter.error: letter.message for letter in swept.dead} == {"Rejected": "three", "ValueError": "attempt 2"}


def test_a_user_calls_a_handler_with_a_row_and_a_context() -> None:
    made = row({"id": 1, "name": "secret"})
    assert (made["id"], len(made), dict(made)) == (1, 2, {"id": 1, "name": "secret"})
    assert "secret" not in repr(made)
    assert context(state=7, attempt=3).state == 7
    assert context(attempt=3).attempt == 3
