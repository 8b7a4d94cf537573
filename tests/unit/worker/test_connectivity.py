"""After an outage of the queue, the first worker that reconnects leaves the expired jobs of the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from kubesweep.errors import Outage
from kubesweep.queue.model import Claims, Limits, SweepState
from kubesweep.queue.sqlite.queue import SqliteQueue
from kubesweep_worker.runtime.connectivity import QueueConnectivity
from kubesweep_worker.settings import WorkerSettings
from tests.contract.backends import Clock
from tests.kits.deadlines import scaled
from tests.kits.worker import MemorySource, Workbench

LEASE = 0.9  # seconds; the time of a heartbeat is a third of it


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Workbench]:
    made = Workbench(tmp_path, MemorySource(100), clock=Clock())
    yield made
    await made.queue.close()


class Away(SqliteQueue):
    """Does not answer the first claims, each of which takes a while; says what the others asked for, and got."""

    refused_writes = 2
    pass_time: Callable[[], None]
    asked: asyncio.Queue[tuple[Limits, Claims]]

    async def claim(self, ref: Any, consumer: str, want: int, limits: Limits) -> Claims:
        if self.refused_writes:
            self.refused_writes -= 1
            self.pass_time()
            raise Outage("QueueUnreachable", "connection refused")
        claims = await super().claim(ref, consumer, want, limits)
        self.asked.put_nowait((limits, claims))
        return claims


async def test_a_worker_that_was_cut_off_leaves_the_jobs_of_the_others_for_the_time_of_a_heartbeat(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.open()
    clock, ref, limits = bench.clock, bench.plan.ref, Limits(lease=LEASE)
    assert isinstance(clock, Clock)
    (owned,) = (await bench.queue.claim(ref, "another worker", 1, limits)).jobs
    clock.advance(LEASE + 1)
    asked: asyncio.Queue[tuple[Limits, Claims]] = asyncio.Queue()
    now = 0.0

    def pass_time() -> None:
        nonlocal now
        now += LEASE / 2

    def connect() -> Away:
        queue = Away(str(bench.folder / "queue.db"), clock=clock)
        queue.asked, queue.pass_time = asked, pass_time
        return queue

    monkeypatch.setattr(bench, "connect", connect)
    worker = bench.worker(lease=LEASE, monotonic=lambda: now, idle_wait=0.02)
    running = asyncio.create_task(worker.run(until_settled=True))
    async with asyncio.timeout(scaled(60)):
        for _ in range(3):
            given, claims = await asked.get()
            assert (given.own_expired_only, claims.jobs) == (True, ())
        assert await bench.queue.extend(ref, (owned,), LEASE) == ()
        clock.advance(LEASE + 1)
        now += LEASE / 2  # its owner did not come back
        await running
    stats = await bench.stats()
    assert stats.sweep is not None
    assert stats.sweep.applied == 100


@pytest.mark.parametrize("planned", [False, True], ids=["plan", "row"])
async def test_leases_that_ran_out_without_a_crash_dead_letter_nothing(tmp_path: Path, planned: bool) -> None:
    """The answer to a claim was lost on its way, time and again."""
    bench = Workbench(tmp_path, MemorySource(1), clock=Clock())
    clock, ref = bench.clock, bench.plan.ref
    assert isinstance(clock, Clock)
    await bench.open()
    if planned:
        await plan_only(bench)
    for number in range(10):
        clock.advance(LEASE + 1)
        (claim,) = (await bench.queue.claim(ref, f"worker {number}", 1, Limits(lease=LEASE))).jobs
        assert claim.delivery == number + 1
    clock.advance(LEASE + 1)
    stats = await bench.run()
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied + stats.sweep.unconfirmed, stats.dead) == (
        SweepState.COMPLETED,
        1,
        0,
    )
    await bench.queue.close()


async def plan_only(bench: Workbench) -> None:
    """A worker that leaves when it comes to write."""
    bench.source.writes_allowed.clear()
    worker = bench.worker(concurrency=1)
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(scaled(60)):
        await bench.source.writing.wait()
        worker.stop(now=True)
        await running
    bench.source.writes_allowed.set()


async def test_a_job_that_is_released_was_no_crash(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, MemorySource(1), clock=Clock())
    clock, ref = bench.clock, bench.plan.ref
    assert isinstance(clock, Clock)
    await bench.open()
    await plan_only(bench)
    for number in range(2):
        clock.advance(LEASE + 1)
        await bench.queue.claim(ref, f"worker {number}", 1, Limits(lease=LEASE))
    for _ in range(6):
        clock.advance(LEASE + 1)
        bench.source.writing.clear()
        await plan_only(bench)  # begun alone, and released
    (claim,) = (await bench.queue.claim(ref, "somebody", 1, Limits(lease=LEASE))).jobs
    assert claim.delivery >= 3
    assert claim.job.crashes == 0
    await bench.queue.close()


@pytest.mark.parametrize("heard", [True, False], ids=["answer lost", "request lost"])
async def test_settlements_that_are_lost_in_drains_dead_letter_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heard: bool
) -> None:
    """Each worker is stopped while the queue no longer answers it, and leaves without having settled."""
    bench = Workbench(tmp_path, MemorySource(1), clock=Clock())
    clock, workers = bench.clock, 0
    assert isinstance(clock, Clock)

    class Mute(SqliteQueue):
        async def settle(self, *given: Any) -> Any:
            worker.stop()
            if heard:
                await super().settle(*given)
            raise Outage("QueueUnreachable", "connection reset")

        async def release(self, *given: Any) -> Any:
            raise Outage("QueueUnreachable", "connection reset")

    def mute() -> SqliteQueue:
        return Mute(str(tmp_path / "queue.db"), clock=clock)

    await bench.open()
    await plan_only(bench)
    honest = bench.connect
    while (await bench.stats()).running or not workers:
        clock.advance(LEASE + 1)
        monkeypatch.setattr(bench, "connect", mute)
        worker = bench.worker(lease=LEASE, patience=0.01)
        monkeypatch.setattr(bench, "connect", honest)
        workers += 1
        if workers > 10:
            break
        async with asyncio.timeout(scaled(60)):
            await worker.run()
    clock.advance(LEASE + 1)
    stats = await bench.run()
    assert workers == (1 if heard else 11)
    assert stats.sweep is not None
    assert stats.sweep.applied + stats.sweep.unconfirmed == 1
    assert (stats.sweep.state, stats.dead) == (SweepState.COMPLETED, 0)
    await bench.queue.close()


def test_only_a_silence_in_which_a_lease_can_run_out_counts() -> None:
    now, settings = 0.0, WorkerSettings(monotonic=lambda: now)
    contact = QueueConnectivity(settings)
    assert not contact.limits(Limits()).own_expired_only
    now += settings.idle_wait  # an idle worker waits that long
    assert not contact.limits(Limits()).own_expired_only
    contact.answered()
    for _ in range(9):  # a proxy that cuts every connection
        now += settings.lease / 3
        contact.lost()
        assert not contact.limits(Limits()).own_expired_only
        contact.answered()
        assert not contact.limits(Limits()).own_expired_only
    now += settings.lease
    contact.lost()
    assert contact.limits(Limits()).own_expired_only


def test_a_process_that_was_paused_was_cut_off_too() -> None:
    now, settings = 0.0, WorkerSettings(monotonic=lambda: now)
    contact = QueueConnectivity(settings)
    now = settings.idle_wait + settings.lease
    assert contact.limits(Limits()).own_expired_only
    contact.answered()
    assert contact.limits(Limits()).own_expired_only
    now += settings.heartbeat
    assert not contact.limits(Limits()).own_expired_only
