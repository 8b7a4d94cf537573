"""What a plan step finds out about the stale rows beside its window: since when the oldest has been stale, and how many there are.

This never fails a sweep, and hardly delays it. The search runs while the window is cut, and the jobs of the window enter the queue
without waiting for its end. Only a sweep with a cap, which is never planned to the end, waits until its jobs can no longer change the number
of rows: that is the first answer of the database, and ``BOUND`` at most. An error only means that the age is unknown.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import msgspec

from kubesweep.errors import KubesweepError, Outage
from kubesweep.queue.model import MESSAGE, Key, StaleRows
from kubesweep.text import clip
from kubesweep.timestamps import clamp_time
from kubesweep_worker.jobs.context import JobContext
from kubesweep_worker.sources.base import Predicate
from kubesweep_worker.sources.stale_search import StaleSearch

log = logging.getLogger("kubesweep.worker")
BOUND = 0.1  # seconds that the search may take in the database
PATIENCE = 1.0  # seconds that the plan step waits for it after its jobs are in the queue: the connection may hang


class Recording:
    """The search, and what the plan step itself finds out: ``rows`` of the whole sweep where it counted them, and ``samples``.

    Only the ``first`` step records an estimate of the rows: that of a later one is no better than ``rows``."""

    def __init__(self, context: JobContext, sweep: str, predicate: Predicate, *, first: bool) -> None:
        self.rows: int | None = None
        self.samples: tuple[Key, ...] = ()
        self._context, self._sweep, self._first = context, sweep, first
        self._fixed = asyncio.Event()
        self._searching = asyncio.create_task(_search(context, predicate, StaleSearch(BOUND, first, self._fixed.set)))
        self._searching.add_done_callback(lambda _: self._fixed.set())
        self._inexact = False  # jobs of the sweep may have written rows before the others were counted
        self._recorded = False

    async def fix_rows(self) -> None:
        """Before the first jobs enter the queue: wait until they cannot change the number of rows. If that takes too long, it is not recorded."""
        if not self._first or self._context.plan.limits.max_rows_per_sweep is None:
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._fixed.wait(), BOUND)
        self._inexact = not self._fixed.is_set()

    async def record(self) -> None:
        """Wait for the search, and record the answer with the sweep."""
        await asyncio.wait({self._searching}, timeout=PATIENCE)
        await self.record_now()

    async def record_now(self) -> None:
        """Without waiting. What is recorded already stays as it is."""
        late = not self._searching.done()
        self._searching.cancel()
        if self._recorded:
            return
        self._recorded = True
        found = StaleRows(unknown="the database does not answer in time") if late else self._searching.result()
        if self.rows is not None:
            found = msgspec.structs.replace(found, rows=self.rows, estimated=False)
        elif not self._first or (self._inexact and not found.estimated):
            found = msgspec.structs.replace(found, rows=None, estimated=False)
        found = msgspec.structs.replace(found, samples=self.samples)
        if found != StaleRows():
            with suppress(Outage):
                await self._context.queue.record_stale(self._context.ref, self._sweep, found)


@asynccontextmanager
async def stale_rows_recorded(
    context: JobContext, sweep: str, predicate: Predicate, *, first: bool
) -> AsyncIterator[Recording]:
    """Search beside the body, and record the answer after it, unless the body did."""
    recording = Recording(context, sweep, predicate, first=first)
    try:
        yield recording
        await recording.record()
    finally:
        await recording.record_now()


async def _search(context: JobContext, predicate: Predicate, search: StaleSearch) -> StaleRows:
    try:
        found = await context.source.oldest(predicate, search)
    except KubesweepError as error:
        return StaleRows(unknown=clip(str(error), MESSAGE))
    except Exception as error:
        log.exception("unexpected exception while the oldest stale row was searched")
        return StaleRows(unknown=type(error).__name__)
    # -infinity, for example, has no date.
    oldest, latest = (None if time is None else clamp_time(time) for time in (found.oldest, found.newest))
    return msgspec.structs.replace(found, oldest=oldest, newest=latest, unknown=clip(found.unknown, MESSAGE))
