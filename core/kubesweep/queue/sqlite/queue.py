"""SqliteQueue: the queue in one SQLite file, for one host and any number of its processes.

Every operation is one transaction that holds SQLite's write lock from its start, so the operations of all processes happen one
after the other. The clock is the host's.

All calls to SQLite run on one thread of this object. A lock of another process therefore blocks neither the event loop nor
other users of the default executor. An operation that was started is completed even if the awaiting task is cancelled.
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
    END_STATES,
    Baseline,
    Budget,
    Claim,
    Claims,
    DeadLetter,
    ErrorGroup,
    ExcludedRows,
    Finding,
    Key,
    Limits,
    Pace,
    PlanVersion,
    RowState,
    Sample,
    ScheduleRef,
    Settlement,
    SharedSample,
    StaleRows,
    Stats,
    SweepRequest,
    SweepState,
    Window,
)
from kubesweep.queue.service import Opened, Settled
from kubesweep.queue.sqlite import claiming, excluded, health, schedules, settlement, stats, sweeps
from kubesweep.queue.sqlite.notifier import Notifier
from kubesweep.queue.sqlite.store import BUSY_SECONDS, SqliteStore

T = TypeVar("T")

POLL_FIRST = 0.02  # seconds between polls without a notifier, right after a change
POLL_LAST = 0.1  # the same after a long time without a change
POLL_WITH_NOTIFIER = 0.5  # the same with a notifier


class SqliteQueue:
    """A :class:`~kubesweep.queue.service.QueueService` in the file ``path``, which is created at the first operation.

    ``clock`` gives seconds since the epoch; ``busy`` is how many seconds an operation waits for another process's lock
    before it raises ``Outage`` (QueueBusy). Every ``Outage`` names the file, the problem and the next step: QueueFull,
    QueueReadOnly, QueueBusy, QueueCorrupt, QueueMissing, QueueGone, QueueForeign, QueueNewer, QueueClosed, QueueError.
    """

    def __init__(self, path: str, *, clock: Callable[[], float] = time.time, busy: float = BUSY_SECONDS) -> None:
        self.path = path
        self._clock = clock
        self._store = SqliteStore(path, busy=busy)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kubesweep-queue")
        self._waiters: set[asyncio.Event] = set()
        self._notifier: Notifier | None = None
        self._closed = False

    async def close(self) -> None:
        """Close the file. Claims stay with their consumer until their leases end; closing twice is harmless."""
        if self._closed:
            return
        closing = self._on_thread(self._store.close)
        self._closed = True
        await closing
        self._close_notifier()
        self._thread.shutdown(wait=True)
        self._wake()

    async def open_sweep(self, ref: ScheduleRef, request: SweepRequest) -> Opened:
        return await self._write(lambda con: sweeps.open_sweep(con, self._clock(), ref, request))

    async def claim(self, ref: ScheduleRef, consumer: str, want: int, limits: Limits) -> Claims:
        return await self._write(
            lambda con: claiming.claim(con, self._clock(), ref, consumer, want, limits), notify=False
        )

    async def extend(self, ref: ScheduleRef, claims: Sequence[Claim], lease: float) -> tuple[str, ...]:
        return await self._write(lambda con: claiming.extend(con, self._clock(), ref, claims, lease), notify=False)

    async def settle(
        self, ref: ScheduleRef, consumer: str, settlements: Sequence[Settlement], want: int, limits: Limits
    ) -> Settled:
        return await self._write(
            lambda con: settlement.settle(con, self._clock(), ref, consumer, settlements, want, limits),
            notify=any(s.jobs or s.retry for s in settlements),
        )

    async def advance(self, ref: ScheduleRef, claim: Claim, window: Window) -> bool:
        return await self._write(lambda con: sweeps.advance(con, self._clock(), ref, claim, window))

    async def record_stale(self, ref: ScheduleRef, sweep: str, found: StaleRows) -> None:
        await self._write(lambda con: sweeps.record_stale(con, ref, sweep, found), notify=False)

    async def end_sweep(self, ref: ScheduleRef, claim: Claim, state: SweepState, reason: str, message: str) -> bool:
        if state not in END_STATES:
            raise ValueError(f"end_sweep takes one of {', '.join(sorted(END_STATES))}, not {state}")
        return await self._write(lambda con: sweeps.end_sweep(con, self._clock(), ref, claim, state, reason, message))

    async def release(self, ref: ScheduleRef, claims: Sequence[Claim]) -> tuple[str, ...]:
        return await self._write(lambda con: claiming.release(con, self._clock(), ref, claims))

    async def reserve(self, ref: ScheduleRef, rows: int, limits: Limits) -> Budget:
        return await self._write(lambda con: claiming.reserve(con, self._clock(), ref, rows, limits), notify=rows < 0)

    async def wait(self, ref: ScheduleRef, timeout: float) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        changed = asyncio.Event()
        self._waiters.add(changed)
        try:
            seen, due, pause = -1, None, POLL_FIRST
            while not self._closed:
                version = await self._on_thread(self._store.version)
                slowest = POLL_WITH_NOTIFIER if self._listen() else POLL_LAST
                if version != seen:
                    due = await self._read(lambda con: stats.next_claim(con, ref))
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

    async def enqueue_check(self, ref: ScheduleRef, plan: PlanVersion) -> bool:
        return await self._write(lambda con: schedules.enqueue_check(con, self._clock(), ref, plan))

    async def approve(self, ref: ScheduleRef, sweep: str | None = None) -> str | None:
        return await self._write(lambda con: sweeps.approve(con, self._clock(), ref, sweep))

    async def approved(self, ref: ScheduleRef) -> str | None:
        return await self._read(lambda con: stats.approved(con, ref))

    async def pause(self, ref: ScheduleRef, paused: bool) -> None:
        await self._write(lambda con: schedules.pause(con, self._clock(), ref, paused))

    async def set_pace(self, ref: ScheduleRef, pace: Pace) -> None:
        await self._write(lambda con: schedules.set_pace(con, ref, pace))

    async def restore_baseline(self, ref: ScheduleRef, baseline: Baseline) -> None:
        await self._write(lambda con: sweeps.restore_baseline(con, ref, baseline), notify=False)

    async def pace(self, ref: ScheduleRef) -> Pace | None:
        return await self._read(lambda con: stats.pace(con, ref))

    async def share_sample(
        self, ref: ScheduleRef, database: str, consumer: str, sample: Sample | None = None
    ) -> SharedSample:
        where = ref.database(database)
        return await self._write(
            lambda con: health.share_sample(con, self._clock(), where, consumer, sample), notify=False
        )

    async def report(self, ref: ScheduleRef, finding: Finding) -> None:
        await self._write(lambda con: schedules.report(con, self._clock(), ref, finding), notify=False)

    async def excluded(self, ref: ScheduleRef, origin: str = "") -> ExcludedRows:
        return await self._read(lambda con: excluded.excluded(con, ref, origin))

    async def stats(self, refs: Sequence[ScheduleRef]) -> tuple[Stats, ...]:
        return await self._read(lambda con: stats.stats(con, self._clock, refs))

    async def schedules(self) -> tuple[ScheduleRef, ...]:
        return await self._read(stats.schedules)

    async def error_groups(
        self, ref: ScheduleRef, most: int = 20, *, state: RowState | None = RowState.DEAD
    ) -> tuple[ErrorGroup, ...]:
        return await self._read(lambda con: excluded.error_groups(con, ref, most, state))

    async def dead_letters(
        self,
        ref: ScheduleRef,
        *,
        error: str | None = None,
        keys: Sequence[Key] | None = None,
        most: int = 100,
        state: RowState | None = RowState.DEAD,
    ) -> tuple[DeadLetter, ...]:
        return await self._read(lambda con: excluded.dead_letters(con, ref, error, keys, most, state))

    async def replay(self, ref: ScheduleRef, *, error: str | None = None, keys: Sequence[Key] | None = None) -> int:
        return await self._write(lambda con: excluded.replay(con, self._clock(), ref, error, keys))

    async def purge(self, ref: ScheduleRef, *, error: str | None = None, keys: Sequence[Key] | None = None) -> int:
        return await self._write(lambda con: excluded.purge(con, ref, error, keys))

    async def forget(self, ref: ScheduleRef) -> None:
        await self._write(lambda con: schedules.forget(con, ref))

    async def _write(self, operation: Callable[[sqlite3.Connection], T], *, notify: bool = True) -> T:
        """``notify``: a waiting process may find something to claim after this operation."""
        answer = await self._on_thread(partial(self._store.write, operation))
        self._wake()
        notifier = self._current_notifier() if notify else None
        if notifier is not None:
            notifier.notify()
        return answer

    def _current_notifier(self) -> Notifier | None:
        """The notifier of the file that is open now, which may have replaced another one."""
        if self._notifier is not None and self._notifier.inode != self._store.inode:
            self._close_notifier()
        if self._notifier is None and self._store.inode is not None and not self._closed:
            self._notifier = Notifier(self._store.inode)
        return self._notifier

    def _listen(self) -> bool:
        """True where this process is notified of changes by other processes."""
        notifier = self._current_notifier()
        if notifier is None:
            return False
        if notifier.receiver is None:
            notifier.listen()
            if notifier.receiver is not None:
                asyncio.get_running_loop().add_reader(notifier.receiver, self._on_notification)
        return notifier.receiver is not None

    def _on_notification(self) -> None:
        if self._notifier is not None:
            self._notifier.drain()
        self._wake()

    def _close_notifier(self) -> None:
        if self._notifier is not None:
            if self._notifier.receiver is not None:
                asyncio.get_running_loop().remove_reader(self._notifier.receiver)
            self._notifier.close()
            self._notifier = None

    async def _read(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        return await self._on_thread(partial(self._store.read, operation))

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
