"""SqliteQueue: the queue in one SQLite file, for one host and any number of its processes.

Every move is one transaction that holds SQLite's write lock from its start, so moves of all processes happen one after
the other. The clock is the host's. All calls to SQLite run on one thread of this object: a lock that somebody else
holds stalls neither the event loop nor other users of the default executor. A move that was started is carried through
even where the task that awaits it is cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from kubesweep.errors import Outage
from kubesweep.queue.model import (
    Budget,
    Claim,
    Claims,
    DeadLetter,
    ErrorGroup,
    ExcludedRows,
    Finding,
    Key,
    Limits,
    PlanVersion,
    RowState,
    ScheduleRef,
    Settlement,
    Stats,
    SweepRequest,
    SweepState,
    Window,
)
from kubesweep.queue.service import Opened, Settled
from kubesweep.queue.sqlite import excluded, operations, settlement, stats
from kubesweep.queue.sqlite.notifier import Bell
from kubesweep.queue.sqlite.store import BUSY_SECONDS, SqliteStore

T = TypeVar("T")

POLL_FIRST = 0.02  # where no bell can be heard: how soon a change made by another process is noticed ...
POLL_LAST = 0.1  # ... and how late, after a long quiet time
POLL_BESIDE_BELL = 0.5


class SqliteQueue:
    """A :class:`~kubesweep.queue.service.QueueService` in the file ``path``, made at the first move if it is missing.

    ``clock`` gives seconds since the epoch; ``busy`` is how long a move waits for another process's lock before it
    raises ``Outage`` (QueueBusy). Every ``Outage`` names the file, what is wrong with it and the next step: QueueFull,
    QueueReadOnly, QueueBusy, QueueCorrupt, QueueMissing, QueueGone, QueueForeign, QueueNewer, QueueClosed, QueueError.
    """

    def __init__(self, path: str, *, clock: Callable[[], float] = time.time, busy: float = BUSY_SECONDS) -> None:
        self.path = path
        self._clock = clock
        self._store = SqliteStore(path, busy=busy)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kubesweep-queue")
        self._waiters: set[asyncio.Event] = set()
        self._bell: Bell | None = None
        self._closed = False

    async def close(self) -> None:
        """Close the file. Claims stay with their consumer until their leases end; closing twice is harmless."""
        if self._closed:
            return
        closing = self._on_thread(self._store.close)
        self._closed = True
        await closing
        self._hang_up()
        self._thread.shutdown(wait=True)
        self._wake()

    async def open_sweep(self, ref: ScheduleRef, request: SweepRequest) -> Opened:
        return await self._move(lambda con: operations.open_sweep(con, self._clock(), ref, request))

    async def claim(self, ref: ScheduleRef, consumer: str, want: int, limits: Limits) -> Claims:
        return await self._move(
            lambda con: operations.claim(con, self._clock(), ref, consumer, want, limits), ring=False
        )

    async def extend(self, ref: ScheduleRef, claims: Sequence[Claim], lease: float) -> tuple[str, ...]:
        return await self._move(lambda con: operations.extend(con, self._clock(), ref, claims, lease), ring=False)

    async def settle(
        self, ref: ScheduleRef, consumer: str, settlements: Sequence[Settlement], want: int, limits: Limits
    ) -> Settled:
        return await self._move(
            lambda con: settlement.settle(con, self._clock(), ref, consumer, settlements, want, limits),
            ring=any(s.jobs or s.retry for s in settlements),
        )

    async def advance(self, ref: ScheduleRef, claim: Claim, window: Window) -> bool:
        return await self._move(lambda con: operations.advance(con, self._clock(), ref, claim, window))

    async def end_sweep(self, ref: ScheduleRef, claim: Claim, state: SweepState, reason: str, message: str) -> bool:
        return await self._move(
            lambda con: operations.end_sweep(con, self._clock(), ref, claim, state, reason, message)
        )

    async def release(self, ref: ScheduleRef, claims: Sequence[Claim]) -> tuple[str, ...]:
        return await self._move(lambda con: operations.release(con, self._clock(), ref, claims))

    async def reserve(self, ref: ScheduleRef, rows: int, limits: Limits) -> Budget:
        return await self._move(lambda con: operations.reserve(con, self._clock(), ref, rows, limits), ring=rows < 0)

    async def wait(self, ref: ScheduleRef, timeout: float) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        changed = asyncio.Event()
        self._waiters.add(changed)
        try:
            seen, due, pause = -1, None, POLL_FIRST
            while not self._closed:
                version = await self._on_thread(self._store.version)
                slowest = POLL_BESIDE_BELL if self._listen() else POLL_LAST
                if version != seen:
                    due = await self._look(lambda con: stats.next_claim(con, ref))
                    seen, pause = version, POLL_FIRST
                left = until - loop.time()
                if left <= 0 or (due is not None and due <= self._clock()):
                    return
                await _either(changed, min(pause, left))
                pause = min(pause * 1.5, slowest)
        finally:
            self._waiters.discard(changed)

    async def claim_next(self, ref: ScheduleRef, consumer: str, want: int, limits: Limits, timeout: float) -> Claims:
        await self.wait(ref, timeout)
        claiming = asyncio.ensure_future(self.claim(ref, consumer, want, limits))
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            with contextlib.suppress(Outage):
                await self.release(ref, (await claiming).jobs)
            raise

    async def enqueue_check(self, ref: ScheduleRef, plan: PlanVersion, *, again: bool = False) -> bool:
        return await self._move(lambda con: operations.enqueue_check(con, self._clock(), ref, plan, again))

    async def approve(self, ref: ScheduleRef, sweep: str | None = None) -> str | None:
        return await self._move(lambda con: operations.approve(con, self._clock(), ref, sweep))

    async def approved(self, ref: ScheduleRef) -> str | None:
        return await self._look(lambda con: stats.approved(con, ref))

    async def pause(self, ref: ScheduleRef, paused: bool) -> None:
        await self._move(lambda con: operations.pause(con, ref, paused))

    async def report(self, ref: ScheduleRef, finding: Finding) -> None:
        await self._move(lambda con: operations.report(con, self._clock(), ref, finding), ring=False)

    async def excluded(self, ref: ScheduleRef, origin: str = "") -> ExcludedRows:
        return await self._look(lambda con: excluded.excluded(con, ref, origin))

    async def stats(self, refs: Sequence[ScheduleRef]) -> tuple[Stats, ...]:
        return await self._look(lambda con: stats.stats(con, self._clock, refs))

    async def schedules(self) -> tuple[ScheduleRef, ...]:
        return await self._look(stats.schedules)

    async def error_groups(
        self, ref: ScheduleRef, most: int = 20, *, state: RowState | None = RowState.DEAD
    ) -> tuple[ErrorGroup, ...]:
        return await self._look(lambda con: excluded.error_groups(con, ref, most, state))

    async def dead_letters(
        self,
        ref: ScheduleRef,
        *,
        error: str | None = None,
        keys: Sequence[Key] | None = None,
        most: int = 100,
        state: RowState | None = RowState.DEAD,
    ) -> tuple[DeadLetter, ...]:
        return await self._look(lambda con: excluded.dead_letters(con, ref, error, keys, most, state))

    async def replay(self, ref: ScheduleRef, *, error: str | None = None, keys: Sequence[Key] | None = None) -> int:
        return await self._move(lambda con: excluded.replay(con, self._clock(), ref, error, keys))

    async def purge(self, ref: ScheduleRef, *, error: str | None = None, keys: Sequence[Key] | None = None) -> int:
        return await self._move(lambda con: excluded.purge(con, ref, error, keys))

    async def forget(self, ref: ScheduleRef) -> None:
        await self._move(lambda con: operations.forget(con, ref))

    async def _move(self, move: Callable[[sqlite3.Connection], T], *, ring: bool = True) -> T:
        """``ring``: the move may give a waiting process something to claim."""
        answer = await self._on_thread(partial(self._store.write, move))
        self._wake()
        bell = self._bell_of_file() if ring else None
        if bell is not None:
            bell.ring()
        return answer

    def _bell_of_file(self) -> Bell | None:
        """The bell of the file that is open now: another one may have taken its place."""
        if self._bell is not None and self._bell.inode != self._store.inode:
            self._hang_up()
        if self._bell is None and self._store.inode is not None and not self._closed:
            self._bell = Bell(self._store.inode)
        return self._bell

    def _listen(self) -> bool:
        """True where a change by another process will be heard."""
        bell = self._bell_of_file()
        if bell is None:
            return False
        if bell.ear is None:
            bell.listen()
            if bell.ear is not None:
                asyncio.get_running_loop().add_reader(bell.ear, self._heard)
        return bell.ear is not None

    def _heard(self) -> None:
        if self._bell is not None:
            self._bell.heard()
        self._wake()

    def _hang_up(self) -> None:
        if self._bell is not None:
            if self._bell.ear is not None:
                asyncio.get_running_loop().remove_reader(self._bell.ear)
            self._bell.close()
            self._bell = None

    async def _look(self, look: Callable[[sqlite3.Connection], T]) -> T:
        return await self._on_thread(partial(self._store.read, look))

    def _on_thread(self, call: Callable[[], T]) -> asyncio.Future[T]:
        if self._closed:
            raise Outage("QueueClosed", f"queue {self.path}: this process closed it. Open it again")
        return asyncio.get_running_loop().run_in_executor(self._thread, call)

    def _wake(self) -> None:
        for waiter in self._waiters:
            waiter.set()


async def _either(changed: asyncio.Event, timeout: float) -> None:
    try:
        async with asyncio.timeout(timeout):
            await changed.wait()
    except TimeoutError:
        return
    changed.clear()
