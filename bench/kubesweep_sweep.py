"""One complete sweep by worker processes that were started before, are connected, and are idle."""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bench.servers import Server
from kubesweep.api.plan import Assignment, Match, Plan, RowLimits, Source, Write
from kubesweep.queue.connect import connect
from kubesweep.queue.model import OpenResult, ScheduleRef, Stats, Sweep, SweepRequest
from kubesweep.queue.service import QueueService

CONNECTED = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'kubesweep/%' AND state = 'idle'
"""
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


@dataclass(frozen=True, slots=True)
class Measured:
    """``began``: the tick, ``ended``: the last settlement, in seconds since 1970. ``memory``: the most bytes that one worker process
    had in RAM."""

    rows: int
    began: float
    ended: float
    memory: int

    @property
    def seconds(self) -> float:
        return self.ended - self.began


def sweep(server: Server, database: str, size: Size) -> tuple[int, float]:
    """Sweep the conversations of ``database``. Returns rows written and seconds."""
    done = measure(server.url(database), plan(size))
    return done.rows, done.seconds


def measure(url: str, compiled: Plan, idle: float = 0.0) -> Measured:
    """One sweep by ``compiled.max_replicas`` workers, which are ready for ``idle`` seconds before the tick."""
    done, memory = asyncio.run(_sweep(url, compiled, idle))
    if not done.balanced or done.applied != done.planned or done.finished is None:
        raise RuntimeError(f"the sweep does not add up: {done}")
    return Measured(done.applied, done.started, done.finished, memory)


async def _sweep(url: str, compiled: Plan, idle: float) -> tuple[Sweep, int]:
    with tempfile.TemporaryDirectory(prefix="kubesweep-bench-") as folder:
        queue_url = f"sqlite:///{Path(folder) / 'queue.db'}"
        queue = connect(queue_url)
        try:
            async with _workers(compiled, url, queue_url) as processes:
                await queue.enqueue_check(compiled.ref, compiled.version)
                await _until(queue, compiled, lambda stats: bool(stats.findings) and stats.running + stats.ready == 0)
                await _until_connected(url, compiled.max_replicas * compiled.concurrency)
                await asyncio.sleep(idle)
                opened = await queue.open_sweep(compiled.ref, SweepRequest(tick=time.time(), plan=compiled.version))
                if opened.answer is not OpenResult.ENQUEUED:
                    raise RuntimeError(f"the tick was answered {opened.answer}")
                stats = await _until(queue, compiled, _finished)
                memory = max(peak_memory(pid) for pid in processes)
        finally:
            await queue.close()
    assert stats.sweep is not None
    return stats.sweep, memory


def peak_memory(pid: int) -> int:
    """The most bytes that the process had in RAM so far (Linux)."""
    [kilobytes] = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(kilobytes) * 1024


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


async def _until_connected(url: str, connections: int) -> None:
    """Wait until every worker has connected, read the catalog and become idle: a sweep must not measure how a process starts."""
    async with asyncio.timeout(PATIENCE), await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        while True:
            row = await (await connection.execute(CONNECTED)).fetchone()
            if row is not None and row[0] >= connections:
                return
            await asyncio.sleep(POLL_INTERVAL)


@asynccontextmanager
async def _workers(compiled: Plan, url: str, queue_url: str) -> AsyncIterator[list[int]]:
    """Start worker processes and wait until they are ready. They are stopped at the end. Yields their process ids."""
    command = (sys.executable, "-m", "bench.worker", compiled.to_json(), url, queue_url)
    processes = [
        await asyncio.create_subprocess_exec(
            *command, cwd=Path(__file__).parents[1], stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        for _ in range(compiled.max_replicas)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            if not await process.stdout.readline():
                raise RuntimeError(f"a worker ended with {await process.wait()} before it was ready")
        yield [process.pid for process in processes]
    finally:
        for process in processes:
            if process.returncode is None:
                process.terminate()
            await process.wait()
