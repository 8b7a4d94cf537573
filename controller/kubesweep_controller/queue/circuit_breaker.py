"""The queue behind a gate: while it is away, three hundred looks do not each wait for it to answer.

The outage that one met is the answer to all, until a moment has passed or the pulse finds the queue back. The pulse also
notices a queue that was away and came back with nobody asking, because its users and Secrets may be gone then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from kubesweep.errors import Damaged, Outage
from kubesweep.queue.model import ScheduleRef
from kubesweep.queue.service import QueueService

PULSE = 5.0  # seconds
REMEMBER = 2 * PULSE  # how long an outage answers for the queue
_T = TypeVar("_T")
_log = logging.getLogger("kubesweep.controller.queue")


class Gate:
    """``back`` is called when the queue answers for the first time, and whenever it does again after an outage."""

    def __init__(self, queue: QueueService, install: str, back: Callable[[], None]) -> None:
        self.queue = queue
        self._reached = False
        self._ref = ScheduleRef(install, "-", "-", "pulse")
        self._back = back
        self._outage: Outage | None = None
        self._until = self._since = 0.0

    @property
    def outage_seconds(self) -> float:
        """Seconds since the queue was first missed; 0 while it answers."""
        return asyncio.get_running_loop().time() - self._since if self._outage is not None else 0.0

    def check(self) -> None:
        """Raise the outage that is known, if it is a fresh one."""
        if self._outage is not None and asyncio.get_running_loop().time() < self._until:
            raise self._outage.with_traceback(None)

    async def ask(self, call: Awaitable[_T]) -> _T:
        """Await a move of the queue and remember how it went."""
        try:
            answer = await call
        except Damaged:  # the trouble of one schedule: the queue answers
            raise
        except Outage as outage:
            self.met(outage)
            raise
        self._answered()
        return answer

    def met(self, outage: Outage) -> None:
        if isinstance(outage, Damaged):
            return
        now = asyncio.get_running_loop().time()
        if self._outage is None:
            _log.warning("the queue is away: %s", outage, extra={"reason": outage.reason})
            self._since = now
        self._outage = outage
        self._until = now + REMEMBER

    async def beat(self) -> None:
        """One look at the queue; never fails."""
        with contextlib.suppress(Outage):
            await self.ask(self.queue.stats([self._ref]))

    async def run(self) -> None:
        while True:
            await self.beat()
            await asyncio.sleep(PULSE)

    def _answered(self) -> None:
        if self._outage is None and self._reached:
            return
        _log.info("the queue is back" if self._reached else "the queue answers")
        self._outage, self._reached = None, True
        self._back()
