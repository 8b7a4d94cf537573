"""What wakes the worker's loop: an event, set by a timer or by a task that ends."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from kubesweep_worker.settings import WorkerSettings


class Wakeup:
    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._event = asyncio.Event()
        self._timer: asyncio.Task[None] | None = None
        self._due = 0.0  # monotonic

    def set(self) -> None:
        self._event.set()

    def clear(self) -> None:
        self._event.clear()

    async def wait(self) -> None:
        await self._event.wait()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task whose end wakes the loop."""
        task = asyncio.create_task(work)
        task.add_done_callback(lambda _: self.set())
        return task

    def wake_in(self, seconds: float) -> None:
        """Wake the loop after ``seconds``, or earlier where an earlier timer is set."""
        due = self._settings.monotonic() + seconds
        if self._timer is not None and not self._timer.done():
            if self._due <= due:
                return
            self._timer.cancel()
        self._due = due
        self._timer = self.spawn(self._sleep(seconds))

    async def _sleep(self, seconds: float) -> None:
        await self._settings.sleep(max(0.0, seconds))

    async def close(self) -> None:
        await cancel(self._timer)


async def cancel(task: asyncio.Task[None] | None) -> None:
    """Cancel a task, and wait until it ended."""
    if task is not None and not task.done():
        task.cancel()
        await asyncio.wait({task})
