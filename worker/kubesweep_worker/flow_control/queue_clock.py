"""Moments of the queue's clock as moments of this process's own.

An answer tells when its move was made, and arrives later. The fastest answer of late tells how far the two clocks are apart;
what a slower one took longer is its way. So what the moves of several workers shared out by the queue's clock stays shared
out, however long each answer travels.
"""

from __future__ import annotations

import math
from collections.abc import Callable

MEMORY = 30.0  # seconds in which the fastest answer counts, and as many again: clocks drift


class QueueClock:
    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._latest = self._before = (
            math.inf
        )  # seconds that this clock is ahead: the least of now, and of the time before
        self._since = -math.inf

    def here(self, theirs: float | None, asked: float = -math.inf) -> float:
        """``theirs``, from an answer that arrived just now, by this process's clock. ``asked``: the move was made no earlier; if
        it seems to be, the queue's clock was set back."""
        now = self._monotonic()
        if theirs is None:
            return now
        if now - self._since > MEMORY:
            self._before = self._latest if now - self._since <= 2 * MEMORY else math.inf
            self._latest, self._since = math.inf, now
        self._latest = min(self._latest, now - theirs)
        moment = theirs + min(self._latest, self._before)
        if moment >= max(asked, now - MEMORY):  # no answer travels longer
            return moment
        self._latest, self._before = now - theirs, math.inf
        return now
