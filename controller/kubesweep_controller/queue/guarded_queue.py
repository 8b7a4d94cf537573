"""The controller's only way to the queue: every call passes one circuit breaker.

While the queue is down, three hundred reconciles must not each wait for a timeout. The first outage opens the breaker: for
``OPEN_SECONDS`` every call raises that outage at once. A probe each ``PROBE_SECONDS`` closes it again, also while nothing else calls.

The timeout of a single call is the client's own (``socket_timeout`` in the queue's URL). What concerns a server and no schedule
(users, memory, stuck scripts) does not pass here: it must reach a server that is too busy for the queue, see
:mod:`kubesweep_controller.queue.servers`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from kubesweep.errors import Damaged, Outage
from kubesweep.queue.model import (
    Baseline,
    DeadLetter,
    ErrorGroup,
    Key,
    Pace,
    PlanVersion,
    RowState,
    ScheduleRef,
    Stats,
    SweepRequest,
)
from kubesweep.queue.service import Opened, QueueService

__all__ = ["OPEN_SECONDS", "PROBE_SECONDS", "GuardedQueue"]

PROBE_SECONDS = 5.0
OPEN_SECONDS = 2 * PROBE_SECONDS  # how long an outage answers for the queue
_T = TypeVar("_T")
log = logging.getLogger("kubesweep.controller.queue")


class GuardedQueue:
    """The operations that the controller uses. Each raises ``Outage``, and ``Damaged`` where the keys of one schedule are unusable.

    ``on_available`` is called at the first answer of the queue and at the first one after an outage: its users and Secrets may be
    gone by then. ``on_probe`` is called after each probe with whether the queue responds. ``install`` is part of the key that the
    probe reads.
    """

    def __init__(
        self,
        queue: QueueService,
        install: str,
        on_available: Callable[[], None],
        on_probe: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._queue = queue
        self._on_available, self._on_probe = on_available, on_probe
        self._probe_ref = ScheduleRef(install, "-", "-", "probe")
        self._was_reached = False
        self._outage: Outage | None = None
        self._open_until = self._down_since = 0.0

    @property
    def outage_seconds(self) -> float:
        """Seconds since the first failed call; 0 while the queue responds."""
        return _now() - self._down_since if self._outage is not None else 0.0

    async def run(self) -> None:
        """Probe until cancelled."""
        while True:
            await self.probe()
            await asyncio.sleep(PROBE_SECONDS)

    async def probe(self) -> None:
        """Ask the queue even while the breaker is open. Never raises ``Outage``."""
        with contextlib.suppress(Outage):
            await self._recorded(self._queue.stats([self._probe_ref]))
        self._on_probe(self._outage is None)

    async def close(self) -> None:
        await self._queue.close()

    async def stats(self, ref: ScheduleRef) -> Stats:
        [stats] = await self._guarded(lambda: self._queue.stats([ref]))
        return stats

    async def error_groups(
        self, ref: ScheduleRef, most: int = 20, *, state: RowState | None = RowState.DEAD
    ) -> tuple[ErrorGroup, ...]:
        return await self._guarded(lambda: self._queue.error_groups(ref, most, state=state))

    async def dead_letters(
        self, ref: ScheduleRef, *, error: str | None, keys: Sequence[Key] | None, most: int, state: RowState | None
    ) -> tuple[DeadLetter, ...]:
        return await self._guarded(
            lambda: self._queue.dead_letters(ref, error=error, keys=keys, most=most, state=state)
        )

    async def open_sweep(self, ref: ScheduleRef, request: SweepRequest) -> Opened:
        return await self._guarded(lambda: self._queue.open_sweep(ref, request))

    async def enqueue_check(self, ref: ScheduleRef, plan: PlanVersion) -> bool:
        return await self._guarded(lambda: self._queue.enqueue_check(ref, plan))

    async def approve(self, ref: ScheduleRef, sweep: str | None = None) -> str | None:
        return await self._guarded(lambda: self._queue.approve(ref, sweep))

    async def pause(self, ref: ScheduleRef, paused: bool) -> None:
        await self._guarded(lambda: self._queue.pause(ref, paused))

    async def set_pace(self, ref: ScheduleRef, pace: Pace) -> None:
        await self._guarded(lambda: self._queue.set_pace(ref, pace))

    async def restore_baseline(self, ref: ScheduleRef, baseline: Baseline) -> None:
        await self._guarded(lambda: self._queue.restore_baseline(ref, baseline))

    async def replay(self, ref: ScheduleRef, *, error: str | None, keys: Sequence[Key] | None) -> int:
        return await self._guarded(lambda: self._queue.replay(ref, error=error, keys=keys))

    async def purge(self, ref: ScheduleRef, *, error: str | None, keys: Sequence[Key] | None) -> int:
        return await self._guarded(lambda: self._queue.purge(ref, error=error, keys=keys))

    async def forget(self, ref: ScheduleRef) -> None:
        await self._guarded(lambda: self._queue.forget(ref))

    async def schedules(self) -> tuple[ScheduleRef, ...]:
        """The only call that the breaker ignores: a search that times out on a server with many keys is not an outage."""
        return await self._queue.schedules()

    async def _guarded(self, call: Callable[[], Awaitable[_T]]) -> _T:
        if self._outage is not None and _now() < self._open_until:
            raise self._outage.with_traceback(None)
        return await self._recorded(call())

    async def _recorded(self, call: Awaitable[_T]) -> _T:
        try:
            answer = await call
        except Damaged:  # one schedule's keys are unusable; the queue itself responds
            raise
        except Outage as outage:
            self._failed(outage)
            raise
        self._answered()
        return answer

    def _failed(self, outage: Outage) -> None:
        now = _now()
        if self._outage is None:
            log.warning("the queue is unavailable: %s", outage, extra={"reason": outage.reason})
            self._down_since = now
        self._outage = outage
        self._open_until = now + OPEN_SECONDS

    def _answered(self) -> None:
        if self._outage is None and self._was_reached:
            return
        log.info("the queue is available again" if self._was_reached else "the queue responds")
        self._outage, self._was_reached = None, True
        self._on_available()


def _now() -> float:
    return asyncio.get_running_loop().time()
