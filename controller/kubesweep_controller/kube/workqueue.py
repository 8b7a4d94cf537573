"""The work queue: which schedules to reconcile, and when. Nothing else starts a reconcile.

A key is in the queue at most once and is never reconciled twice at the same time. Requests that arrive meanwhile cause one more
reconcile afterwards. A failed reconcile is retried with growing, randomized delays, so that an outage is not followed by a stampede.
Nothing else remembers pending work: whatever detects a change adds the key.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import random
from collections.abc import Awaitable, Callable

from kubesweep.errors import KubesweepError, Outage
from kubesweep_controller.children.names import ScheduleKey

FIRST_BACKOFF = 1.0
MAX_BACKOFF = 60.0
AT_ONCE = 16
log = logging.getLogger("kubesweep.controller.workqueue")


def backoff(times: int, jitter: float) -> float:
    """Seconds until the next reconcile after so many consecutive failures. ``jitter``: 0.5 to 1."""
    return min(MAX_BACKOFF, FIRST_BACKOFF * 2.0 ** min(times - 1, 10)) * jitter


class WorkQueue:
    """``reconcile`` handles one key and may return the seconds until it should run again."""

    def __init__(self, reconcile: Callable[[ScheduleKey], Awaitable[float | None]], at_once: int = AT_ONCE) -> None:
        self._reconcile = reconcile
        self._due: dict[ScheduleKey, float] = {}
        self._heap: list[tuple[float, ScheduleKey]] = []
        self._running: dict[ScheduleKey, asyncio.Task[None]] = {}
        self._failures: dict[ScheduleKey, int] = {}
        self._slots = asyncio.Semaphore(at_once)
        self._changed = asyncio.Event()

    def add(self, key: ScheduleKey, after: float = 0.0) -> None:
        """Reconcile ``key`` in ``after`` seconds, or earlier if that was requested before."""
        due = asyncio.get_running_loop().time() + after
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._heap, (due, key))
            self._changed.set()

    def forget(self, key: ScheduleKey) -> None:
        """The key needs no further reconcile. One that is running ends normally."""
        self._due.pop(key, None)
        self._failures.pop(key, None)

    def __len__(self) -> int:
        """The number of keys that are due or being reconciled."""
        now = asyncio.get_running_loop().time()
        return len(self._running) + sum(1 for due in self._due.values() if due <= now)

    async def run(self) -> None:
        """Reconcile until cancelled. Then running reconciles are cancelled too."""
        try:
            while True:
                await self._slots.acquire()
                key = await self._next()
                task = asyncio.create_task(self._one(key))
                self._running[key] = task
        finally:
            for task in self._running.values():
                task.cancel()
            await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _next(self) -> ScheduleKey:
        """The next key that is due and not being reconciled."""
        waiting: list[tuple[float, ScheduleKey]] = []
        try:
            while True:
                self._changed.clear()
                now = asyncio.get_running_loop().time()
                while self._heap and self._heap[0][0] <= now:
                    due, key = heapq.heappop(self._heap)
                    if self._due.get(key) != due:
                        continue  # it was requested earlier, or forgotten
                    if key in self._running:
                        waiting.append((due, key))
                        continue
                    del self._due[key]
                    return key
                left = self._heap[0][0] - now if self._heap else None
                await self._wait(left)
                for entry in waiting:
                    heapq.heappush(self._heap, entry)
                waiting.clear()
        finally:
            for entry in waiting:
                heapq.heappush(self._heap, entry)

    async def _wait(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def _one(self, key: ScheduleKey) -> None:
        try:
            again = await self._reconcile(key)
            self._failures.pop(key, None)
        except Exception as error:  # other keys continue, and this one is retried
            again = self._failed(key, error)
        finally:
            self._running.pop(key, None)
            self._slots.release()
            self._changed.set()
        if again is not None:
            self.add(key, again)

    def _failed(self, key: ScheduleKey, error: Exception) -> float:
        times = self._failures[key] = self._failures.get(key, 0) + 1
        delay = backoff(times, random.uniform(0.5, 1.0))
        about = {"namespace": key[0], "schedule": key[1], "again_in": round(delay, 1)}
        if isinstance(error, Outage):
            log.warning("cannot reconcile the schedule now: %s", error, extra={**about, "reason": error.reason})
        elif isinstance(error, KubesweepError):
            log.warning("cannot reconcile the schedule: %s", error, extra=about)
        else:
            log.error("an unexpected error in the controller; please report it", exc_info=error, extra=about)
        return delay
