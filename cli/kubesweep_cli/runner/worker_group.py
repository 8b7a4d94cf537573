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
from kubesweep_worker.recorder import Snapshot
from kubesweep_worker.runtime.build import build_worker, freeze_imports
from kubesweep_worker.runtime.worker import Worker
from kubesweep_worker.settings import WorkerSettings

__all__ = ["WorkerGroup", "file_of", "folder_of"]

SHOW_CURSOR = "\x1b[?25h"


class WorkerGroup:
    """``done`` is set when every worker has ended. ``failed`` is True where one ended by itself, because threads of its
    handler hang: it needs a new process."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self.done = asyncio.Event()
        self.failed = False
        self._workers = tuple(workers)
        self._tasks = [asyncio.create_task(worker.run()) for worker in workers]
        for task in self._tasks:
            task.add_done_callback(self._ended)

    @classmethod
    @asynccontextmanager
    async def started(cls, loaded: Sequence[Loaded], queue_url: str) -> AsyncIterator[WorkerGroup]:
        """Running workers for all of ``loaded``; stopped and awaited at the end. Raises what a worker raised."""
        group = cls([_build(one, queue_url) for one in loaded])
        freeze_imports()
        try:
            yield group
        finally:
            group.stop()
            results = await asyncio.gather(*group._tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def snapshots(self) -> list[Snapshot]:
        """What each worker did so far."""
        return [worker.snapshot() for worker in self._workers]

    def begin_drain(self) -> None:
        """Begin no further effect; ``stop`` must follow. Safe in a signal handler."""
        for worker in self._workers:
            worker.begin_drain()

    def stop(self, *, now: bool = False) -> None:
        """Drain; with ``now`` end within about a second."""
        for worker in self._workers:
            worker.stop(now=now)
        if not self._workers:
            self.done.set()

    def _ended(self, task: asyncio.Task[int]) -> None:
        failed = task.cancelled() or task.exception() is not None or task.result() != 0
        self.failed = self.failed or failed
        if all(other.done() for other in self._tasks):
            self.done.set()
        elif failed:
            # A run that serves only half of its schedules looks healthy and is not: stop the others too.
            self.stop()


def _build(one: Loaded, queue_url: str) -> Worker:
    settings = dataclasses.replace(WorkerSettings(), concurrency=one.plan.concurrency, exit_process=_die)
    return build_worker(
        one.plan,
        url=lambda: one.url,
        queue_url=queue_url,
        headers=lambda: one.headers,
        signing=lambda: one.signing,
        settings=settings,
        path=folder_of(one),
        where=one.database.where,
        refreshed=one.database.refreshed,
    )


def folder_of(one: Loaded) -> Path:
    """The folder of the schedule's file, where its handler may be."""
    return file_of(one).absolute().parent


def file_of(one: Loaded) -> Path:
    """The schedule's file."""
    return one.file


def _die(code: int) -> None:
    """A job hangs and blocks the process: restore the terminal's cursor, say why, and exit."""
    if sys.stdout.isatty():
        sys.stdout.write(SHOW_CURSOR)
        sys.stdout.flush()
    sys.stderr.write(
        "error: a job made no progress for too long; this process exits, and the queue gives the job to another worker.\n"
    )
    sys.stderr.flush()
    os._exit(code)
