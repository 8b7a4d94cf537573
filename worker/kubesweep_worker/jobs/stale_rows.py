"""What a plan step finds out about the stale rows beside its window: since when the oldest has been stale, and how many there are.

This never delays or fails a sweep. The search runs while the window is cut, and the jobs of the window enter the queue without
waiting for it. An error only means that the age is unknown.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import msgspec

from kubesweep.errors import KubesweepError, Outage
from kubesweep.queue.model import MESSAGE, StaleRows
from kubesweep.text import clip
from kubesweep.timestamps import clamp_time
from kubesweep_worker.jobs.context import JobContext
from kubesweep_worker.sources.base import Predicate

log = logging.getLogger("kubesweep.worker")
BOUND = 0.1  # seconds that the search may take in the database
PATIENCE = 1.0  # seconds that the plan step waits for it after its jobs are in the queue: the connection may hang


@dataclass
class Counted:
    """``rows``: of the whole sweep, where the plan step counted them itself."""

    rows: int | None = None


@asynccontextmanager
async def oldest_recorded(
    context: JobContext, sweep: str, predicate: Predicate, *, first: bool
) -> AsyncIterator[Counted]:
    """Search beside the body, and record the answer with the sweep after it. Only the ``first`` step records an estimate of the
    rows: that of a later one is no better than its ``Counted``."""
    searching = asyncio.create_task(_search(context, predicate))
    counted = Counted()
    try:
        yield counted
        await asyncio.wait({searching}, timeout=PATIENCE)
    finally:
        late = not searching.done()
        searching.cancel()
    found = StaleRows(unknown="the database does not answer in time") if late else searching.result()
    if counted.rows is not None:
        found = msgspec.structs.replace(found, rows=counted.rows, estimated=False)
    elif not first:
        found = msgspec.structs.replace(found, rows=None, estimated=False)
    if found != StaleRows():
        with suppress(Outage):
            await context.queue.record_stale(context.ref, sweep, found)


async def _search(context: JobContext, predicate: Predicate) -> StaleRows:
    try:
        found = await context.source.oldest(predicate, BOUND)
    except KubesweepError as error:
        return StaleRows(unknown=clip(str(error), MESSAGE))
    except Exception as error:
        log.exception("unexpected exception while the oldest stale row was searched")
        return StaleRows(unknown=type(error).__name__)
    oldest = None if found.oldest is None else clamp_time(found.oldest)  # of -infinity, for example
    return msgspec.structs.replace(found, oldest=oldest, unknown=clip(found.unknown, MESSAGE))
