"""An edit of the plan while workers of the previous plan run effects."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from kubesweep.api.plan import Assignment, Plan, RowLimits, Write
from kubesweep.queue.connect import connect
from kubesweep.queue.model import SweepRequest, SweepState
from tests.integration.receivers import hook_plan, receiver
from tests.integration.test_worker_handlers import left
from tests.integration.test_worker_process import Site
from tests.kits.deadlines import scaled
from tests.kits.servers import binaries, shared

ROWS, JOB = 60, 20
PATIENT = {"lease": 30.0, "deadline": 60.0}


class Receiver:
    """Counts the calls for each row, and answers none before ``go``."""

    def __init__(self) -> None:
        self.calls: Counter[int] = Counter()
        self.two_jobs = asyncio.Event()
        self.go = asyncio.Event()

    async def answer(self, request: web.Request) -> web.Response:
        self.calls[(await request.json())["row"]["id"]] += 1
        if self.calls.total() >= 2 * JOB:
            self.two_jobs.set()
        await self.go.wait()
        return web.Response()


@pytest.fixture
async def expected() -> Receiver:
    return Receiver()


@pytest.fixture(params=["sqlite", *sorted(binaries())])
async def site(request: pytest.FixtureRequest, tmp_path: Path, expected: Receiver) -> AsyncIterator[Site]:
    async with receiver(expected.answer) as url:
        plan = hook_plan(url, timeout=60.0, limits=RowLimits(batch_rows=JOB))
        assert plan.effect is not None
        wide = msgspec.structs.replace(plan.effect, concurrency=ROWS)
        made = Site(tmp_path, msgspec.structs.replace(plan, effect=wide), ROWS)
        if request.param != "sqlite":
            store = shared(request.param)
            with store.client() as client:
                client.flushall()
            await made.queue.close()
            made.where = store.socket_url
            made.queue = connect(made.where)
        yield made
        expected.go.set()
        await made.close()


async def begun(site: Site, expected: Receiver) -> asyncio.subprocess.Process:
    """A worker with two in-flight jobs, all of whose effects have started."""
    await site.open()
    worker = await site.start(settings=PATIENT)
    async with asyncio.timeout(scaled(60)):
        await expected.two_jobs.wait()
    return worker


async def edit(site: Site, plan: Plan) -> asyncio.subprocess.Process:
    """A worker of the edited plan that has claimed from the queue: it has done the check that was enqueued for it."""
    await site.queue.open_sweep(plan.ref, SweepRequest(tick=2.0, plan=plan.version))
    await site.queue.enqueue_check(plan.ref, plan.version)
    site.plan = plan
    worker = await site.start(settings=PATIENT)
    async with asyncio.timeout(scaled(60)):
        while not any(each.kind == "Effect" for each in (await site.stats()).findings):
            await site.queue.wait(plan.ref, 0.05)
    return worker


async def ends(site: Site, expected: Receiver, *workers: asyncio.subprocess.Process) -> None:
    workers[0].send_signal(signal.SIGTERM)
    expected.go.set()
    for worker in workers:
        code, err = await site.finish(worker)
        assert code == 0, err


async def test_a_sweep_after_an_edit_calls_no_effect_for_rows_that_workers_of_before_still_hold(
    site: Site, expected: Receiver
) -> None:
    before = await begun(site, expected)
    other = msgspec.structs.replace(site.plan, generation=1, write=Write(update=(Assignment("status", "newer"),)))
    after = await edit(site, other)
    assert expected.calls.total() == 2 * JOB
    await ends(site, expected, before, after)
    assert expected.calls == Counter(range(1, ROWS + 1))
    assert left(site.folder / "carts.db") == []
    stats = await site.stats()
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied) == (SweepState.COMPLETED, ROWS - 2 * JOB)
    assert [(each.state, each.applied) for each in stats.history] == [(SweepState.SUPERSEDED, 2 * JOB)]


async def test_after_an_edit_of_the_speed_workers_of_both_share_one_sweep(site: Site, expected: Receiver) -> None:
    before = await begun(site, expected)
    after = await edit(site, msgspec.structs.replace(site.plan, generation=1, concurrency=7, max_replicas=9))
    await ends(site, expected, before, after)
    assert expected.calls == Counter(range(1, ROWS + 1))
    stats = await site.stats()
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied, stats.history) == (SweepState.COMPLETED, ROWS, ())
