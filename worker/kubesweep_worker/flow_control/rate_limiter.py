"""The rate limit of effects: ``rowsPerSecond``, shared by all workers of a schedule.

The queue assigns time slots. A claim debits its rows from a shared budget, so their slots come after those of every row
that any worker claimed before: the rate holds for all workers together without further calls. A slot that passes unused (a
slow receiver, a slow database) is lost; otherwise a worker that fell behind would catch up in one burst. Its row requests a
new slot. Slots that a job does not need are returned with its settlement.

A worker that loses slots is slower than the rate. For ``SLOW`` seconds it keeps none for rows that cannot start yet: it
returns them at once, because other workers have to wait for them to pass, and requests a slot for each row when it can start.

A new rate invalidates all slots: they are returned, and each row requests one when it can start.

Invariant: after each settlement, the future slots are no more than the in-flight rows that need one.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec

from kubesweep.errors import Outage
from kubesweep.queue.model import Budget, Claim, Limits, Settlement
from kubesweep_worker.flow_control.first_of import first_of
from kubesweep_worker.flow_control.queue_clock import QueueClock
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.settings import WorkerSettings

LATE_ROWS = 20.0  # a slot is lost when this many rows were due after it,
LATE_SECONDS = 1.0  # or after this time
SLOW = 60.0  # seconds after a lost slot in which a worker requests a slot for each row
REQUEST_INTERVAL = 0.5  # seconds between two requests for slots while other workers are far ahead
SLEEP = 10.0  # longest single sleep in seconds, after which the waiting job restarts its deadline


@dataclass(slots=True)
class _Slots:
    start: float
    first: float  # when the next one is due, but not before ``start``
    count: int


class RateLimiter:
    """``rate`` in rows per second; None: no limit; 0: no row may start. ``reserve(n)`` debits n rows in the queue and returns the
    budget before. ``stop_requested`` ends every wait."""

    def __init__(
        self,
        rate: float | None,
        settings: WorkerSettings,
        reserve: Callable[[int], Awaitable[Budget]],
        stop_requested: asyncio.Event,
    ) -> None:
        self._settings, self._reserve, self._stop_requested = settings, reserve, stop_requested
        self._use(rate)
        self._wait = True  # at rate 0, until another one applies
        self._changed = asyncio.Event()  # of this rate: set once another one applies
        self._reserved = 0  # slots that rows took and whose time has not come
        self._returned = 0  # slots of an earlier rate, which the budget has not got back
        self._clock = QueueClock(settings.monotonic)
        self._slots: deque[_Slots] = deque()
        self._needed = 0  # in-flight rows that still need a slot
        self._request_lock = asyncio.Lock()
        self._waiting = 0
        self._slow_until = self._next_request = -math.inf

    def _use(self, rate: float | None) -> None:
        self._limit = rate
        self._rate = rate or math.inf  # 0 and None need no slots
        self._late = min(LATE_SECONDS, LATE_ROWS / self._rate)
        self._debt = Limits(rows_per_second=rate).debt

    def set_rate(self, rate: float | None, *, wait: bool = True) -> None:
        """Apply a new rate to all rows that have not started. ``wait``: whether they wait at rate 0, or ``acquire`` returns False."""
        if (rate, wait) == (self._limit, self._wait):
            return
        self._wait = wait
        self._returned += self._ahead() + self._reserved
        self._slots.clear()
        self._use(rate)
        self._slow_until = self._next_request = -math.inf
        self._changed.set()
        self._changed = asyncio.Event()

    def add_job(self, run: JobRun, budget: Budget, before: int = 0, asked: float = -math.inf) -> None:
        """Take the slots of a claimed job. ``budget``: that of the claim, whose request was sent at ``asked``. ``before``: rows
        of the same claim that were debited before this job's."""
        run.unscheduled = run.claim.job.rows
        self._needed += run.unscheduled
        self._add(run.unscheduled, budget.rows - before, self._clock.to_local(budget.time, asked))

    def _add(self, rows: int, credit: float, start: float) -> None:
        if rows > 0 and self._limit:
            self._slots.append(_Slots(start, start + (1 - credit) / self._rate, rows))

    async def acquire(self, run: JobRun) -> bool:
        """Wait until one row may start. False where the worker stops first, or the row may not wait."""
        if self._limit is None and not self._returned:
            return not self._stop_requested.is_set()
        self._waiting += 1
        run.wait_begins()
        try:
            while not self._stop_requested.is_set():
                changed, due = self._changed, self._next()
                await self._return_spare_slots()
                if changed.is_set():
                    self._returned += due is not None
                elif self._limit is None:
                    return True
                elif self._limit == 0:
                    if not self._wait:
                        return False
                    run.touch()
                    await self._sleep(SLEEP)
                elif due is None:
                    run.touch()
                    await self._sleep(await self._request())
                elif await self._wait_until(due, run):
                    return True
            return False
        except Outage:
            return False
        finally:
            self._waiting -= 1
            run.wait_ends()

    def _next(self) -> float | None:
        """Take the earliest slot that is not lost yet; returns when it is due."""
        earliest = self._settings.monotonic() - self._late
        while self._slots:
            slots = self._slots[0]
            if slots.start < earliest and slots.first < earliest:
                lost = min(slots.count, 1 + int((earliest - slots.first) * self._rate))
                self._slow_until = self._settings.monotonic() + SLOW
                slots.first += lost / self._rate
                slots.count -= lost
            if slots.count > 0:
                due = max(slots.start, slots.first)
                slots.first += 1 / self._rate
                slots.count -= 1
                return due
            self._slots.popleft()
        return None

    async def _wait_until(self, due: float, run: JobRun) -> bool:
        """True where the slot is due and not lost. A stop ends the wait and returns the slot, a new rate has returned it."""
        changed = self._changed
        self._reserved += 1
        try:
            while (left := due - self._settings.monotonic()) > 0:
                run.touch()
                await self._sleep(min(left, SLEEP))
                if changed.is_set():
                    return False
                if self._stop_requested.is_set():
                    self._slots.appendleft(_Slots(due, due, 1))
                    return False
        finally:
            self._reserved -= 1
        return self._settings.monotonic() - due <= self._late

    async def _sleep(self, seconds: float) -> None:
        await first_of(self._settings.sleep(seconds), self._stop_requested.wait(), self._changed.wait())

    async def _return_spare_slots(self) -> None:
        """Return slots of an earlier rate. A slow worker returns its future slots too, except for rows that wait for one now."""
        if returned := self._returned:
            self._returned = 0
            with contextlib.suppress(Outage):
                await self._reserve(-returned)
        if self._settings.monotonic() < self._slow_until and (spare := self._drop(self._ahead() - self._waiting)):
            with contextlib.suppress(Outage):  # the slots then pass unused
                await self._reserve(-spare)

    async def _request(self) -> float:
        """One request for all waiting rows. Returns the seconds until the next request, where other workers are far ahead.
        Raises Outage where the queue is unavailable and the worker stops."""
        async with self._request_lock:
            now = self._settings.monotonic()
            if not self._slots and now >= self._next_request and self._limit:
                waiting, rate = self._waiting, self._limit
                budget = await self._reserve(waiting)
                if rate != self._limit:
                    self._returned += waiting
                    return 0.0
                start = self._clock.to_local(budget.time, now)
                if budget.rows >= -self._debt:
                    self._add(waiting, budget.rows, start)
                else:
                    self._next_request = now + min(REQUEST_INTERVAL, (-budget.rows - self._debt) / self._rate)
            return 0.0 if self._slots else max(0.0, self._next_request - now)

    def settled(self, run: JobRun, part: Settlement) -> Settlement:
        """The settlement, with the rows that it spent; it returns the unused slots to the budget."""
        left = part.rest.rows if part.rest is not None else 0
        refund = self._release(run, left)
        return msgspec.structs.replace(part, spent=part.claim.job.rows - left - refund)

    def released(self, run: JobRun, claim: Claim) -> Claim:
        """The claim to release, with the rows that it spent; it returns the unused slots to the budget."""
        refund = self._release(run, 0)
        return msgspec.structs.replace(claim, spent=claim.job.rows - refund)

    def lost(self, run: JobRun) -> None:
        """The job is lost: its slots cannot be returned to the budget."""
        self._release(run, 0)

    def _release(self, run: JobRun, left: int) -> int:
        """Drop the latest slots that no in-flight row needs; returns how many."""
        self._needed -= run.unscheduled - left
        run.unscheduled = left
        return self._drop(self._ahead() - self._needed)

    def _ahead(self) -> int:
        """Slots that are not lost yet."""
        now = self._settings.monotonic()
        return sum(slots.count - self._passed(slots, now) for slots in self._slots)

    def _drop(self, surplus: int) -> int:
        """Drop up to ``surplus`` slots, the latest first; returns how many."""
        dropped = 0
        while self._slots and dropped < surplus:
            slots = self._slots[-1]
            taken = min(slots.count, surplus - dropped)
            slots.count -= taken
            dropped += taken
            if slots.count == 0:
                self._slots.pop()
        return dropped

    def _passed(self, slots: _Slots, now: float) -> int:
        if slots.start > now - self._late or slots.first > now:
            return 0
        return min(slots.count, 1 + int((now - slots.first) * self._rate))
