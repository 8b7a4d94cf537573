"""rowsPerSecond with a real receiver: two workers on one queue, and the calls that they sent in any ten seconds."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from aiohttp import web

from kubesweep.api.plan import Effect, RetryPolicy, RowLimits, Webhook
from kubesweep.queue.connect import connect
from kubesweep.queue.model import Pace, SweepRequest
from kubesweep_worker.runtime.build import build_worker
from kubesweep_worker.settings import WorkerSettings
from tests.integration.receivers import receiver
from tests.integration.test_worker_handlers import handler_plan, make_table
from tests.kits.deadlines import scaled
from tests.kits.servers import shared

RATE = 50.0
ROWS = 250
WINDOW = 10.0


def most_beyond_the_rate(times: list[float]) -> float:
    """By how many calls the worst of all windows up to ten seconds exceeds the rate."""
    return max(
        last - first + 1 - RATE * (times[last] - times[first])
        for first in range(len(times))
        for last in range(first, len(times))
        if times[last] - times[first] <= WINDOW
    )


@pytest.mark.parametrize("status", [200, 422, 503])
@pytest.mark.parametrize("backend", ["sqlite", "valkey"])
async def test_two_workers_send_no_more_than_the_rate_and_fifty_in_any_ten_seconds(
    tmp_path: Path, backend: str, status: int
) -> None:
    times: list[float] = []

    async def answer(request: web.Request) -> web.Response:
        times.append(time.monotonic())
        row = (await request.json())["row"]["id"]
        failing = status == 422 or (status == 503 and len(times) < ROWS // 2 and row % 4)
        return web.Response(status=status if failing else 200)

    async with receiver(answer) as url:
        plan = handler_plan(
            "",
            effect=Effect(columns=("id",), webhook=Webhook(url)),
            limits=RowLimits(batch_rows=60, rows_per_second=RATE),
            retry=RetryPolicy(max_attempts=2, backoff=0.1, max_backoff=0.2),
            halt_above=10_000,
        )
        table = make_table(tmp_path / "carts.db", ROWS)
        where = f"sqlite:///{tmp_path / 'queue.db'}" if backend == "sqlite" else shared("valkey").socket_url
        queue = connect(where)
        await queue.forget(plan.ref)
        await queue.open_sweep(plan.ref, SweepRequest(tick=1.0, plan=plan.version))
        settings = WorkerSettings(backoff=0.05, max_backoff=0.2)
        workers = [build_worker(plan, url=lambda: table, queue_url=where, settings=settings) for _ in range(2)]
        async with asyncio.timeout(scaled(60)):
            await asyncio.gather(*(worker.run(until_settled=True, await_retries=True) for worker in workers))
        (stats,) = await queue.stats([plan.ref])
        await queue.close()
    assert stats.sweep is not None
    assert len(times) >= (50 if status == 422 else ROWS)
    assert most_beyond_the_rate(times) <= 50
    if status == 200:
        assert (stats.sweep.applied, len(times)) == (ROWS, ROWS)


@pytest.mark.parametrize("backend", ["sqlite", "valkey"])
async def test_a_job_that_runs_follows_a_new_pace(tmp_path: Path, backend: str) -> None:
    """At the plan's rate it would take ten minutes, and the test fails after one."""
    called = asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        called.set()
        return web.Response()

    async with receiver(answer) as url:
        effect, limits = Effect(columns=("id",), webhook=Webhook(url)), RowLimits(rows_per_second=1.0)
        plan = handler_plan("", effect=effect, limits=limits)
        table = make_table(tmp_path / "carts.db", 600)
        where = f"sqlite:///{tmp_path / 'queue.db'}" if backend == "sqlite" else shared("valkey").socket_url
        queue = connect(where)
        await queue.forget(plan.ref)
        await queue.open_sweep(plan.ref, SweepRequest(tick=1.0, plan=plan.version))
        worker = build_worker(plan, url=lambda: table, queue_url=where, settings=WorkerSettings())
        async with asyncio.timeout(scaled(60)):
            running = asyncio.create_task(worker.run(until_settled=True))
            await called.wait()
            await queue.set_pace(plan.ref, Pace.of(1.0, "off"))
            assert await running == 0
        (stats,) = await queue.stats([plan.ref])
        await queue.close()
    assert stats.sweep is not None
    assert stats.sweep.applied == 600
