"""The workers of one process, one for each schedule."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from kubesweep.api.loading.files import Loaded
from kubesweep_worker.runtime.build import build_worker, freeze_imports
from kubesweep_worker.runtime.worker import Worker
from kubesweep_worker.settings import WorkerSettings

__all__ = ["WorkerCrew", "folder_of"]

SHOW_CURSOR = "\x1b[?25h"


class WorkerCrew:
    """``done`` is set when every worker has ended. What a worker raised is raised when the crew is left; ``failed`` is True
    where one left by itself (its handler's threads leaked) and wants a new process."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self.done = asyncio.Event()
        self.failed = False
        self._workers = tuple(workers)
        self._tasks = [asyncio.create_task(worker.run()) for worker in workers]
        for task in self._tasks:
            task.add_done_callback(self._ended)
        self._idle = not workers

    @classmethod
    @asynccontextmanager
    async def hired(cls, loaded: Sequence[Loaded], queue_url: str) -> AsyncIterator[WorkerCrew]:
        """Workers for all of ``loaded``, running; stopped and awaited at the end."""
        crew = cls([_assemble(one, queue_url) for one in loaded])
        freeze_imports()
        try:
            yield crew
        finally:
            crew.stop()
            results = await asyncio.gather(*crew._tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def hold(self) -> None:
        """Begin no further effect; ``stop`` has to follow. May be called amid anything, as a signal's handler is."""
        for worker in self._workers:
            worker.begin_drain()

    def stop(self, *, now: bool = False) -> None:
        """Drain; ``now`` within about a second."""
        for worker in self._workers:
            worker.stop(now=now)
        if self._idle:
            self.done.set()

    def _ended(self, task: asyncio.Task[int]) -> None:
        failed = task.cancelled() or task.exception() is not None or task.result() != 0
        self.failed = self.failed or failed
        if all(other.done() for other in self._tasks):
            self.done.set()
        elif failed:
            # One that failed takes the others with it: a run that serves half of its schedules looks healthy and is not.
            self.stop()


def _assemble(one: Loaded, queue_url: str) -> Worker:
    settings = dataclasses.replace(WorkerSettings(), concurrency=one.plan.concurrency, die=_die)
    return build_worker(
        one.plan,
        url=lambda: one.url,
        queue_url=queue_url,
        headers=lambda: one.headers,
        settings=settings,
        path=folder_of(one),
        where=one.database.where,
        refreshed=one.database.refreshed,
    )


def folder_of(one: Loaded) -> Path:
    """Where the schedule's file is: its handler may be beside it."""
    return Path(one.origin.rpartition(":")[0]).absolute().parent


def _die(code: int) -> None:
    """A job hangs and holds the process: leave the terminal usable, and say what happened."""
    if sys.stdout.isatty():
        sys.stdout.write(SHOW_CURSOR)
        sys.stdout.flush()
    sys.stderr.write(
        "error: a job made no progress for too long; this process leaves, the queue hands the job out again.\n"
    )
    sys.stderr.flush()
    os._exit(code)
