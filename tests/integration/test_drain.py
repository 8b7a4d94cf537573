"""SIGTERM while effects run: each of them ends and is written, no further effect starts, and the other rows are released."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from kubesweep.api.plan import Effect, Plan, RowLimits, Webhook
from kubesweep.queue.connect import connect
from kubesweep.queue.model import SweepRequest
from kubesweep.queue.service import QueueService
from kubesweep_worker.runtime.build import build_worker
from kubesweep_worker.runtime.signals import install_signal_handlers
from kubesweep_worker.settings import WorkerSettings
from tests.integration import drain_handlers as effects
from tests.integration.receivers import receiver
from tests.integration.test_worker_handlers import handler_plan, left, make_table
from tests.kits.deadlines import scaled
from tests.kits.servers import shared

ROWS = 1000
SIGNALS = 20  # in each of six tests
# Two jobs, each with more rows than effects of all rounds. With fewer, the two that run may have too few rows left for the ``at``-th effect.
HALVES = RowLimits(batch_rows=ROWS // 2)
COLUMNS = ("id",)


@asynccontextmanager
async def slow_plan(kind: str) -> AsyncIterator[Plan]:
    """A plan whose effects run one at a time, in several threads, or as many requests."""
    module = effects.__name__
    if kind == "coroutine":
        yield handler_plan("", effect=Effect(columns=COLUMNS, handler=f"{module}:slow", concurrency=1), limits=HALVES)
    elif kind == "thread":
        handler = f"{module}:slow_in_a_thread"
        yield handler_plan("", effect=Effect(columns=COLUMNS, handler=handler, concurrency=3), limits=HALVES)
    else:

        async def answer(request: web.Request) -> web.Response:
            body = await request.json()
            effects.now.begin(body["row"]["id"])
            await effects.now.wait()
            return web.Response()

        async with receiver(answer) as url:
            yield handler_plan("", effect=Effect(columns=COLUMNS, webhook=Webhook(url), concurrency=20), limits=HALVES)


async def drained(plan: Plan, url: str, where: str, at: int) -> int:
    """How many effects began in a worker that got SIGTERM while its ``at``-th one began."""
    effects.now = this = effects.Round(at)
    worker = build_worker(plan, url=lambda: url, queue_url=where, settings=WorkerSettings())
    install_signal_handlers(worker)
    async with asyncio.timeout(scaled(60)):
        assert await worker.run() == 0
    return this.begun


@pytest.mark.parametrize("kind", ["coroutine", "thread", "webhook"])
@pytest.mark.parametrize("backend", ["sqlite", "valkey"])
async def test_a_worker_stopped_during_slow_effects_begins_no_other_and_writes_those(
    tmp_path: Path, kind: str, backend: str
) -> None:
    where = f"sqlite:///{tmp_path / 'queue.db'}" if backend == "sqlite" else shared("valkey").socket_url
    queue, url, chance = connect(where), make_table(tmp_path / "carts.db", ROWS), random.Random(7)
    effects.Round.expected = Counter()
    async with slow_plan(kind) as plan:
        await queue.forget(plan.ref)
        await queue.open_sweep(plan.ref, SweepRequest(tick=1.0, plan=plan.version))
        assert plan.effect is not None
        for _ in range(SIGNALS):
            at = chance.randint(1, plan.effect.concurrency)
            expected = len(effects.Round.expected)
            begun = await drained(plan, url, where, at)
            assert at <= begun <= plan.effect.concurrency
            assert len(effects.Round.expected) == expected + begun
            await nothing_in_flight(queue, plan, tmp_path)
        effects.now = effects.Round(0)
        effects.now.sent.set()
        await build_worker(plan, url=lambda: url, queue_url=where).run(until_settled=True)
        (stats,) = await queue.stats([plan.ref])
    await queue.close()
    assert stats.sweep is not None
    assert (stats.sweep.applied, stats.sweep.skipped, stats.sweep.unconfirmed) == (ROWS, 0, 0)
    assert effects.Round.expected == Counter(dict.fromkeys(range(1, ROWS + 1), 1))
    assert left(tmp_path / "carts.db") == []


async def nothing_in_flight(queue: QueueService, plan: Plan, folder: Path) -> None:
    """Every row with an effect is written and counted, and no job waits for a lease to expire."""
    (stats,) = await queue.stats([plan.ref])
    assert stats.sweep is not None
    written = ROWS - len(left(folder / "carts.db"))
    assert (stats.running, stats.sweep.applied, len(effects.Round.expected)) == (0, written, written)
