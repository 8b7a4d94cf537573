"""The asyncio tasks that run jobs: one for each job that waits for something, and one for many jobs that do not.

A job that waits has its task and its context variables for itself, so it can be cancelled alone, and what a handler sets in its
context reaches no other job. A task for each job would take a fifth of the worker's time where jobs never wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from kubesweep_worker.in_flight import JobRun


class JobTasks:
    """``work`` runs one job to its end and raises nothing, not even ``CancelledError``."""

    def __init__(self, work: Callable[[JobRun], Awaitable[None]]) -> None:
        self._work = work
        self._unstarted: deque[JobRun] = deque()
        self._scheduled = 0  # tasks that have not begun
        self._turn = 0  # changes whenever tasks are made, so a task whose job waited notices that others took over

    def add(self, run: JobRun) -> None:
        """``run`` starts with the next :meth:`start`. Until then it has no task."""
        self._unstarted.append(run)

    def start(self) -> None:
        """Two tasks for the jobs that have not started. Each makes two more, so all jobs start soon even if each one waits."""
        self._turn += 1
        for _ in range(min(2, len(self._unstarted) - self._scheduled)):
            self._scheduled += 1
            asyncio.create_task(self._run())  # noqa: RUF006  the event loop keeps it until it starts, then its job does

    async def _run(self) -> None:
        self._scheduled -= 1
        turn = None
        while self._unstarted and turn in (None, self._turn):
            run = self._unstarted.popleft()
            run.task = asyncio.current_task()
            if turn is None:
                self.start()
                turn = self._turn
            await self._work(run)
