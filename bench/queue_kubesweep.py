"""Kubesweep as a contestant of bench/queue.py: the roles of bench/peers/probe.py.

The worker is the complete real one: loop, heartbeat, leases, fences, plan versions, retrying rows, totals. Only the
database is missing: the source does nothing, or sleeps for 10 ms.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time

import uvloop

from bench.peers.probe import BATCH, NAP, Probe, Settings, say
from kubesweep.api.plan import Assignment, Match, Plan, Source, Write
from kubesweep.queue.model import (
    Database,
    Job,
    JobKind,
    Key,
    OpenResult,
    Sample,
    ScheduleRef,
    StaleRows,
    SweepRequest,
    Window,
)
from kubesweep.queue.redis.queue import RedisQueue
from kubesweep_worker.runtime.build import freeze_imports
from kubesweep_worker.runtime.worker import Worker
from kubesweep_worker.settings import WorkerSettings
from kubesweep_worker.sources.base import Cuts, Measured, Predicate, Scope, SourceRow, Table, Written
from kubesweep_worker.sources.stale_search import StaleSearch

CUTOFF = "2026-11-23 08:00:00+00"


class NoDatabase:
    """A source in which every job writes one row, at once or after a nap. Planning finds no row, which ends its sweep."""

    def __init__(self, settings: Settings, probe: Probe) -> None:
        self._nap = NAP if settings.kind == "nap" else 0.0
        self._probe = probe
        self._plans = itertools.count()

    async def close(self) -> None:
        return None

    async def warm(self) -> None:
        return None

    async def probe(self) -> None:
        return None

    async def inspect(self) -> Table:
        return Table("t", {}, ("id",), 0)

    async def origin(self) -> str:
        return "t(id)"

    async def now(self) -> str:
        """A plan job calls this first, so it records the pick-up."""
        self._probe.picked(next(self._plans))
        return CUTOFF

    async def bounds(self) -> tuple[str, Key | None]:
        return await self.now(), None

    async def count(self, predicate: Predicate, most: int) -> int:
        return 0

    async def oldest(self, predicate: Predicate, search: StaleSearch) -> StaleRows:
        return StaleRows()

    async def database(self) -> Database:
        return Database("bench")

    async def table_rows(self) -> int | None:
        return None

    async def measured(self) -> Measured:
        return Measured("bench", 0)

    async def measure(self, query: str) -> Sample:
        return Sample({})

    async def cut(
        self,
        predicate: Predicate,
        after: Key | None,
        batch: int,
        most: int,
        until: Key | None = None,
    ) -> Cuts:
        return Cuts((), 0, None)

    async def stale(self, scope: Scope, predicate: Predicate, most: int) -> list[SourceRow]:
        return []

    async def keys(self, scope: Scope, predicate: Predicate) -> tuple[Key, ...]:
        return ()

    async def write(self, scope: Scope, predicate: Predicate, *, skip_locked: bool = False) -> Written:
        if self._nap:
            await asyncio.sleep(self._nap)
        self._probe.done()
        return Written(1)


def plan(concurrency: int) -> Plan:
    return Plan(
        namespace="default",
        name="bench",
        uid=ScheduleRef.local("default", "bench").uid,
        source=Source(table="t"),
        match=(Match("in", "status", ("old",)),),
        write=Write(update=(Assignment("status", "new"),)),
        concurrency=concurrency,
    )


async def work(settings: Settings) -> None:
    compiled = plan(settings.concurrency)
    worker = Worker(
        compiled,
        RedisQueue(settings.url),
        NoDatabase(settings, Probe(settings)),
        None,
        WorkerSettings(concurrency=settings.concurrency),
        lambda: RedisQueue(settings.url),
    )
    freeze_imports()
    await worker.run()


async def fill(settings: Settings) -> None:
    """Enqueue one sweep of ``jobs`` jobs as planning does: each window replaces the job that planned it.

    The next planning job is queued after the waiting jobs. So that nothing else is claimed, the first job takes its place here.
    """
    if settings.kind == "pick":  # the worker plans
        return await trickle(Settings(settings.port, "pick", 1, 0, 1, pause=0.0))
    compiled, queue = plan(settings.concurrency), RedisQueue(settings.url)
    ref, version, limits = compiled.ref, compiled.version, compiled.queue_limits
    opened = await queue.open_sweep(ref, SweepRequest(tick=time.time(), plan=version))
    began = time.monotonic()
    for first in range(0, settings.jobs, BATCH):
        (claim,) = (await queue.claim(ref, "planner", 1, limits)).jobs
        jobs = tuple(
            Job(JobKind.RANGE, version, opened.sweep, CUTOFF, (str(i),), (str(i + 1),), rows=1)
            for i in range(first, first + BATCH)
        )
        rows = len(jobs) - (first > 0)
        if not await queue.advance(ref, claim, Window(CUTOFF, jobs, planned=rows)):
            raise RuntimeError("the sweep is gone")
    say(jobs=settings.jobs, seconds=time.monotonic() - began)
    return await queue.close()


async def trickle(settings: Settings) -> None:
    """Send ticks: each opens a sweep, whose plan job finds nothing and ends it.

    A tick that arrives before the previous sweep has ended is sent again and not counted.
    """
    compiled, queue = plan(settings.concurrency), RedisQueue(settings.url)
    sent: list[float] = []
    due = time.monotonic()
    while len(sent) < settings.warm + settings.jobs:
        due += settings.pause
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        now = time.monotonic()
        opened = await queue.open_sweep(compiled.ref, SweepRequest(tick=time.time(), plan=compiled.version))
        if opened.answer is OpenResult.ENQUEUED:
            sent.append(now)
    say(sent=sent)
    await queue.close()


if __name__ == "__main__":
    uvloop.run({"work": work, "fill": fill, "trickle": trickle}[sys.argv[1]](Settings.parse(sys.argv[2])))
