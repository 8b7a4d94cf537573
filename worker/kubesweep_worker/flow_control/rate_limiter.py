"""When a worker may try its next row: ``rowsPerSecond``, shared by all workers, one call after the other.

The queue hands out the time. A claim debits its rows from the budget, so their turns come after those of every row that was
claimed before, in whichever worker: that makes the pace one for all of them without another word. A turn that passes unused
(a slow receiver, a slow database) is lost, or a worker that fell behind would catch up in one burst; the row asks the queue
for a new turn. What is not needed goes back with the next settlement.

A worker that loses turns is slower than the rate. It keeps none for rows that cannot begin yet: the others, who must wait until the
turns of its whole job have passed, get them back at once, and each of its rows asks when it can begin.

Invariant: turns that are ahead are never more than the rows in hand that need one, once something was settled.
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
from kubesweep_worker.flow_control.queue_clock import QueueClock
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.settings import WorkerSettings

LATE_ROWS = 20.0  # a turn is lost when so many others were due after it,
LATE_SECONDS = 1.0  # or after this time
SLOW = 60.0  # seconds after a lost turn in which a worker asks for each row
ASK = 0.5  # seconds between two questions for a turn, where others are far ahead
SLICE = 10.0  # seconds of one sleep: a job that waits for its turn is alive


@dataclass(slots=True)
class _Turns:
    start: float
    first: float  # when the next one is due, but not before ``start``
    count: int


class Pace:
    """``reserve(n)`` debits n rows in the queue and returns the budget before. ``stopping`` ends every wait."""

    def __init__(
        self,
        rate: float,
        settings: WorkerSettings,
        reserve: Callable[[int], Awaitable[Budget]],
        stopping: asyncio.Event,
    ) -> None:
        self._rate, self._settings, self._reserve, self._stopping = rate, settings, reserve, stopping
        self._late = min(LATE_SECONDS, LATE_ROWS / rate)
        self._debt = Limits(rows_per_second=rate).debt
        self._clock = QueueClock(settings.monotonic)
        self._turns: deque[_Turns] = deque()
        self._needed = 0  # rows in hand that still need a turn
        self._asking = asyncio.Lock()
        self._waiting = 0
        self._slow_until = self._ask_at = -math.inf

    def take(self, run: JobRun, budget: Budget, before: int = 0, asked: float = -math.inf) -> None:
        """A claim is in hand; ``budget`` is that of the move that gave it, which was ``asked`` for then. So many rows were
        debited ``before`` it."""
        run.unpaced = run.claim.job.rows
        self._needed += run.unpaced
        self._add(run.unpaced, budget.rows - before, self._clock.here(budget.time, asked))

    def _add(self, rows: int, credit: float, start: float) -> None:
        if rows > 0:
            self._turns.append(_Turns(start, start + (1 - credit) / self._rate, rows))

    async def turn(self, run: JobRun) -> bool:
        """Wait until a row may be tried. False where the worker stops first."""
        self._waiting += 1
        try:
            while not self._stopping.is_set():
                due = self._next()
                await self._give_way()
                if due is None:
                    run.touch()
                    await self._sleep(await self._ask())
                elif await self._until(due, run):
                    return True
            return False
        except Outage:
            return False
        finally:
            self._waiting -= 1

    def _next(self) -> float | None:
        """When the earliest turn is due that is not lost yet; it is the caller's."""
        earliest = self._settings.monotonic() - self._late
        while self._turns:
            turns = self._turns[0]
            if turns.start < earliest and turns.first < earliest:
                lost = min(turns.count, 1 + int((earliest - turns.first) * self._rate))
                self._slow_until = self._settings.monotonic() + SLOW
                turns.first += lost / self._rate
                turns.count -= lost
            if turns.count > 0:
                due = max(turns.start, turns.first)
                turns.first += 1 / self._rate
                turns.count -= 1
                return due
            self._turns.popleft()
        return None

    async def _until(self, due: float, run: JobRun) -> bool:
        """True where the turn came and is not lost. Cut short by a stop it goes back."""
        while (left := due - self._settings.monotonic()) > 0:
            run.touch()
            await self._sleep(min(left, SLICE))
            if self._stopping.is_set():
                self._turns.appendleft(_Turns(due, due, 1))
                return False
        return self._settings.monotonic() - due <= self._late

    async def _sleep(self, seconds: float) -> None:
        both = [asyncio.ensure_future(each) for each in (self._settings.sleep(seconds), self._stopping.wait())]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in both:
                each.cancel()

    async def _give_way(self) -> None:
        """Give back the turns that are ahead, but for those of rows that wait for one now."""
        if self._settings.monotonic() < self._slow_until and (spare := self._take_off(self._ahead() - self._waiting)):
            with contextlib.suppress(Outage):  # then they pass unused
                await self._reserve(-spare)

    async def _ask(self) -> float:
        """One request for all that wait. Seconds until the next one where others are far ahead. Raises Outage where the queue is away
        and the worker stops."""
        async with self._asking:
            now = self._settings.monotonic()
            if not self._turns and now >= self._ask_at:
                waiting = self._waiting
                budget = await self._reserve(waiting)
                start = self._clock.here(budget.time, now)
                if budget.rows >= -self._debt:
                    self._add(waiting, budget.rows, start)
                else:
                    self._ask_at = now + min(ASK, (-budget.rows - self._debt) / self._rate)
            return 0.0 if self._turns else max(0.0, self._ask_at - now)

    def settled(self, run: JobRun, part: Settlement) -> Settlement:
        """The settlement, with what it gives back to the budget."""
        left = part.rest.rows if part.rest is not None else 0
        refund = self._release(run, left)
        return msgspec.structs.replace(part, spent=part.claim.job.rows - left - refund)

    def returned(self, run: JobRun, claim: Claim) -> Claim:
        """The claim as it goes back."""
        refund = self._release(run, 0)
        return msgspec.structs.replace(claim, spent=claim.job.rows - refund)

    def lost(self, run: JobRun) -> None:
        """Nothing can be given back for it."""
        self._release(run, 0)

    def _release(self, run: JobRun, left: int) -> int:
        """Take off the turns that nothing in hand needs any more, from the last; how many they were."""
        self._needed -= run.unpaced - left
        run.unpaced = left
        return self._take_off(self._ahead() - self._needed)

    def _ahead(self) -> int:
        """Turns that are not lost yet."""
        now = self._settings.monotonic()
        return sum(turns.count - self._passed(turns, now) for turns in self._turns)

    def _take_off(self, surplus: int) -> int:
        """Drop so many turns, from the last; how many there were."""
        dropped = 0
        while self._turns and dropped < surplus:
            turns = self._turns[-1]
            taken = min(turns.count, surplus - dropped)
            turns.count -= taken
            dropped += taken
            if turns.count == 0:
                self._turns.pop()
        return dropped

    def _passed(self, turns: _Turns, now: float) -> int:
        if turns.start > now - self._late or turns.first > now:
            return 0
        return min(turns.count, 1 + int((now - turns.first) * self._rate))
