"""The work queue: which schedules need a look, and when. The only place where reconciling is started.

A key is in it at most once, and is never looked at twice at the same moment; what is asked for meanwhile happens once
afterwards. A look that fails comes again later and later, at times that differ, so that an outage is not answered by a
crowd. Nothing else remembers that something has to be done: whoever notices a change adds the key.
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
_log = logging.getLogger("kubesweep.controller.work")


def backoff(times: int, jitter: float) -> float:
    """Seconds until the next look after so many failures in a row; ``jitter`` from 0.5 to 1."""
    return min(MAX_BACKOFF, FIRST_BACKOFF * 2.0 ** min(times - 1, 10)) * jitter


class WorkQueue:
    """``look`` does the work of one key and may say in how many seconds it wants to look again."""

    def __init__(self, reconcile: Callable[[ScheduleKey], Awaitable[float | None]], at_once: int = AT_ONCE) -> None:
        self._reconcile = reconcile
        self._due: dict[ScheduleKey, float] = {}
        self._heap: list[tuple[float, ScheduleKey]] = []
        self._running: dict[ScheduleKey, asyncio.Task[None]] = {}
        self._failures: dict[ScheduleKey, int] = {}
        self._slots = asyncio.Semaphore(at_once)
        self._changed = asyncio.Event()

    def add(self, key: ScheduleKey, after: float = 0.0) -> None:
        """Look at ``key`` in ``after`` seconds, or sooner if that was asked for before."""
        due = asyncio.get_running_loop().time() + after
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._heap, (due, key))
            self._changed.set()

    def forget(self, key: ScheduleKey) -> None:
        """The key needs no look any more (one that has begun ends)."""
        self._due.pop(key, None)
        self._failures.pop(key, None)

    def __len__(self) -> int:
        """How many keys wait for a look that is due, or are being looked at."""
        now = asyncio.get_running_loop().time()
        return len(self._running) + sum(1 for due in self._due.values() if due <= now)

    async def run(self) -> None:
        """Work until cancelled; then what is under way is cancelled too."""
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
        """The next key that is due and that nobody is looking at."""
        waiting: list[tuple[float, ScheduleKey]] = []
        try:
            while True:
                self._changed.clear()
                now = asyncio.get_running_loop().time()
                while self._heap and self._heap[0][0] <= now:
                    due, key = heapq.heappop(self._heap)
                    if self._due.get(key) != due:
                        continue  # it was asked for sooner, or forgotten
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
        except Exception as error:  # whatever it is, the others go on, and this one comes again
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
            _log.warning("cannot look at the schedule now: %s", error, extra={**about, "reason": error.reason})
        elif isinstance(error, KubesweepError):
            _log.warning("could not serve the schedule: %s", error, extra=about)
        else:
            _log.error("an error in the controller itself; please report it", exc_info=error, extra=about)
        return delay
