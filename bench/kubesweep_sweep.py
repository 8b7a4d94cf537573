"""One complete sweep by worker processes that were started before and are idle."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.servers import Server
from kubesweep.api.plan import Assignment, Match, Plan, RowLimits, Source, Write
from kubesweep.queue.connect import connect
from kubesweep.queue.model import OpenResult, ScheduleRef, Stats, Sweep, SweepRequest
from kubesweep.queue.service import QueueService

POLL_INTERVAL = 0.02  # seconds between two queries of the queue; the figures come from the queue's timestamps
PATIENCE = 900.0


@dataclass(frozen=True, slots=True)
class Size:
    """The workers' settings."""

    workers: int
    batch_rows: int = 1000
    concurrency: int = 2


def plan(size: Size) -> Plan:
    """The schedule of examples/conversations for expired conversations, without the webhook, which the UPDATE statement lacks too."""
    return Plan(
        namespace="default",
        name="bench",
        uid=ScheduleRef.local("default", "bench").uid,
        source=Source(schema="public", table="conversations", key=("id",)),
        match=(
            Match(op="in", column="status", values=("pending", "progress")),
            Match(op="before", column="expires_at"),
        ),
        write=Write(update=(Assignment("status", value="expired"), Assignment("closed_at", sql="now()"))),
        limits=RowLimits(batch_rows=size.batch_rows),
        concurrency=size.concurrency,
        max_replicas=size.workers,
    )


def sweep(server: Server, database: str, size: Size) -> tuple[int, float]:
    """Sweep the conversations of ``database``. Returns rows written and seconds from the tick to the last settlement."""
    rows, began, ended = sweep_plan(server, database, plan(size), size.workers)
    return rows, ended - began


def sweep_plan(
    server: Server, database: str, compiled: Plan, workers: int, idle: float = 0.0
) -> tuple[int, float, float]:
    """Returns rows written, and the times of the tick and of the last settlement in seconds since 1970.

    The workers are ready for ``idle`` seconds before the tick.
    """
    done = asyncio.run(_sweep(server.url(database), compiled, workers, idle))
    if not done.balanced or done.applied != done.planned or done.finished is None:
        raise RuntimeError(f"the sweep does not add up: {done}")
    return done.applied, done.started, done.finished


async def _sweep(url: str, compiled: Plan, workers: int, idle: float) -> Sweep:
    with tempfile.TemporaryDirectory(prefix="kubesweep-bench-") as folder:
        queue_url = f"sqlite:///{Path(folder) / 'queue.db'}"
        queue = connect(queue_url)
        try:
            async with _workers(compiled, url, queue_url, workers):
                await queue.enqueue_check(compiled.ref, compiled.version)
                await _until(queue, compiled, lambda stats: bool(stats.findings) and stats.running + stats.ready == 0)
                await asyncio.sleep(idle)
                opened = await queue.open_sweep(compiled.ref, SweepRequest(tick=time.time(), plan=compiled.version))
                if opened.answer is not OpenResult.ENQUEUED:
                    raise RuntimeError(f"the tick was answered {opened.answer}")
                stats = await _until(queue, compiled, _finished)
        finally:
            await queue.close()
    assert stats.sweep is not None
    return stats.sweep


def _finished(stats: Stats) -> bool:
    return stats.sweep is not None and stats.sweep.state.settled


async def _until(queue: QueueService, compiled: Plan, holds: Callable[[Stats], bool]) -> Stats:
    """The first stats for which ``holds`` is true."""
    async with asyncio.timeout(PATIENCE):
        while True:
            (stats,) = await queue.stats([compiled.ref])
            if holds(stats):
                return stats
            await asyncio.sleep(POLL_INTERVAL)


@asynccontextmanager
async def _workers(compiled: Plan, url: str, queue_url: str, count: int) -> AsyncIterator[None]:
    """Start worker processes and wait until they are ready. They are stopped at the end."""
    command = (sys.executable, "-m", "bench.worker", compiled.to_json(), url, queue_url)
    processes = [
        await asyncio.create_subprocess_exec(
            *command, cwd=Path(__file__).parents[1], stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        for _ in range(count)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            if not await process.stdout.readline():
                raise RuntimeError(f"a worker ended with {await process.wait()} before it was ready")
        yield
    finally:
        for process in processes:
            if process.returncode is None:
                process.terminate()
            await process.wait()
