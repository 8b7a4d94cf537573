"""How many calls of the effect a worker makes at once: ``effect.concurrency``, or fewer where the receiver is congested.

Two signs of congestion reduce the limit, and each window of calls without one raises it by a fifth:

- The receiver rejects a call because there are too many (429, or 503 with Retry-After). The limit is halved at once.
- Calls take longer the more of them run. A slow receiver alone is no sign, so this is tried: for one window the limit is half. If
  those calls were much quicker, the receiver only queues the others, and the limit drops to what keeps latency near theirs. If not,
  the limit returns. A trial runs when latency has risen, and otherwise rarely.

Multiplicative decrease is that of TCP. To compare an average of latency with one that stands for low load is the idea of Netflix's
Gradient2Limit (https://github.com/Netflix/concurrency-limits). There it is the long-term average, which a receiver that is congested
from the beginning would pass, and one that becomes slow for another reason would not.

Invariant: at most ``limit`` calls begin to run at once, from 1 to the ceiling. Calls that run when it drops end as usual.
"""

from __future__ import annotations

import asyncio
import logging
import math
from bisect import bisect_right
from collections import deque
from collections.abc import Awaitable, Callable
from statistics import median
from typing import TypeVar

from kubesweep.errors import Outage

log = logging.getLogger("kubesweep.worker")
T = TypeVar("T")
WINDOW = 20  # calls, or as many as run at once
SLOWER, SHARE = 1.4, 0.7  # calls are slower than others where this share of all pairs has at least this ratio
QUICK = 0.05  # seconds; what slows shorter calls down is rather this worker
STEP = 1.2
HOLD = 8  # windows for which a limit that a trial found is kept
TRIAL_AFTER, RARELY = 16, 256  # windows between two trials: the first number doubles up to the second


class _Window:
    """The calls that begin one after the other, until there are ``calls``."""

    __slots__ = ("calls", "latencies", "left")

    def __init__(self, calls: int) -> None:
        self.calls = self.left = calls
        self.latencies: list[float] = []


class ConcurrencyLimit:
    """``async with`` takes one of ``limit`` slots. ``ceiling``: effect.concurrency."""

    def __init__(self, ceiling: int, monotonic: Callable[[], float]) -> None:
        self._ceiling, self._monotonic = ceiling, monotonic
        self.limit, self.running = ceiling, 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._reduced_at = -math.inf  # calls that began before say nothing about the smaller limit
        self._window = _Window(max(WINDOW, ceiling))
        self._usual: list[float] = []  # latencies of the quickest window since the latest trial
        self._trial: tuple[int, list[float]] | None = None  # the limit before, and its latencies
        self._searching = False  # the latest trial found congestion, so half of the new limit is tried next
        self._windows = self._hold = 0
        self._spacing = TRIAL_AFTER

    @property
    def share(self) -> float:
        """The limit as a share of the ceiling."""
        return self.limit / self._ceiling

    async def __aenter__(self) -> None:
        if self.running < self.limit and not self._waiting:
            self.running += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn  # ``_wake`` counts the slot as taken
        except asyncio.CancelledError:
            if not turn.cancelled():
                self._free()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._free()

    def _free(self) -> None:
        self.running -= 1
        self._wake()

    def _wake(self) -> None:
        while self._waiting and self.running < self.limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self.running += 1
                turn.set_result(None)

    async def measure(self, call: Awaitable[T]) -> T:
        """Await a call that has a slot, and draw conclusions from how long it takes and from its Outage."""
        window, began = self._join(), self._monotonic()
        try:
            return await call
        except Outage as outage:
            if _too_many(outage) and began > self._reduced_at:
                self._reject(outage)
            raise
        finally:
            if window is self._window:
                window.latencies.append(self._monotonic() - began)
                if len(window.latencies) >= 0.9 * window.calls:  # the slowest rows may take far longer
                    self._end_window(sorted(window.latencies))

    def _join(self) -> _Window | None:
        """The window of a call that begins now. It is not the one in which the call ends, because quick calls end first."""
        if self.running < self.limit or self._window.left == 0:  # fewer calls than the limit say nothing about it
            return None
        self._window.left -= 1
        return self._window

    def _reject(self, outage: Outage) -> None:
        self._trial, self._searching, self._windows, self._hold = None, False, 0, 0
        self._reduced_at = self._monotonic()
        self._set(max(1, min(self.limit, self.running) // 2))
        log.info("the receiver rejects calls, so fewer are made at once: %s", outage, extra={"limit": self.limit})

    def _end_window(self, latencies: list[float]) -> None:
        self._windows += 1
        if self._trial is not None:
            self._end_trial(*self._trial, latencies)
        elif self._trial_due(latencies):
            self._trial = self.limit, latencies
            self._set(self.limit // 2)
        else:
            if not self._usual or slower(self._usual, latencies):
                self._usual = latencies
            self._set(math.ceil(self.limit * STEP) if self._windows > self._hold else self.limit)

    def _trial_due(self, latencies: list[float]) -> bool:
        if median(latencies) <= QUICK or self.limit == 1:
            return False
        return self._searching or self._windows >= self._spacing or slower(latencies, self._usual)

    def _end_trial(self, limit: int, latencies: list[float], of_half: list[float]) -> None:
        """``latencies``: of ``limit`` calls at once."""
        self._trial, self._windows, self._hold = None, 0, HOLD
        self._searching = slower(latencies, of_half)
        if self._searching:
            self._usual, self._spacing = of_half, TRIAL_AFTER
            self._set(max(self.limit, int(limit * SLOWER * median(of_half) / median(latencies))))
            log.info(
                "the receiver is slower the more calls run, so fewer are made at once", extra={"limit": self.limit}
            )
        else:
            self._usual, self._spacing = latencies, min(RARELY, 2 * self._spacing)
            self._set(limit)

    def _set(self, limit: int) -> None:
        """Begin a window with this limit."""
        self.limit = min(limit, self._ceiling)
        self._window = _Window(max(WINDOW, self.limit))
        self._wake()


def slower(latencies: list[float], others: list[float]) -> bool:
    """Both in order. Pairs are compared instead of averages, because a few rows may take a hundred times as long as the others."""
    pairs = sum(bisect_right(others, each / SLOWER) for each in latencies)
    return bool(others) and pairs >= SHARE * len(latencies) * len(others)


def _too_many(outage: Outage) -> bool:
    return outage.reason == "Http429" or (outage.reason == "Http503" and bool(outage.retry_after))
