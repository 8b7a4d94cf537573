"""Convert times of the queue's clock to this process's monotonic clock.

An answer of the queue has the time of its operation, and arrives later. The fastest recent answer shows the offset between
the two clocks; a slower answer was delayed on its way. So slots that the queue assigns to several workers stay apart by the
queue's clock, whatever the latency of each answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable

MEMORY = 30.0  # seconds for which the fastest answer counts, and for as long again: clocks drift


class QueueClock:
    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        # Seconds that this clock is ahead: the minimum of the current period and of the one before.
        self._current = self._previous = math.inf
        self._since = -math.inf

    def to_local(self, theirs: float | None, asked: float = -math.inf) -> float:
        """``theirs``, from an answer that just arrived, by this process's clock.

        ``asked``: when the request was sent. A result before that means that the queue's clock was set back.
        """
        now = self._monotonic()
        if theirs is None:
            return now
        if now - self._since > MEMORY:
            self._previous = self._current if now - self._since <= 2 * MEMORY else math.inf
            self._current, self._since = math.inf, now
        self._current = min(self._current, now - theirs)
        moment = theirs + min(self._current, self._previous)
        if moment >= max(asked, now - MEMORY):  # no answer takes longer
            return moment
        self._current, self._previous = now - theirs, math.inf
        return now
