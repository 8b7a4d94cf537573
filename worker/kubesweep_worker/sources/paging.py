"""Cutting a window where one look at the table outlasts spec.source.statementTimeout: page by page along the key.

No index serves the match and the table is large, so a whole window costs more than one statement may. A page is a bounded
number of rows of the table, stale or not; the number adapts, so that a page takes a quarter of the timeout at most and
the write of its rows fits too. The window ends early rather than late: its cursor is where the next plan step goes on.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from kubesweep.errors import Outage
from kubesweep.queue.model import Key
from kubesweep_worker.sources.base import Cut, Cuts, Keys, Range
from kubesweep_worker.sources.postgres.sqlstates import STATEMENT_TIMEOUT

FIRST = 10_000  # rows of the first page
MOST = 1_000_000
WINDOW = 30.0  # seconds after which a window ends, however few rows it has
SPAN = 10  # a range job reads at most this many rows for each stale one


@dataclass(frozen=True, slots=True)
class Page:
    keys: tuple[Key, ...]  # stale ones, in order
    walked: int  # rows of the table, at most
    end: Key | None  # where the next page starts; None: the table ends here


AskPage = Callable[[Key | None, int, int], Awaitable[Page]]  # after, most stale rows, rows of the page


class PageSize:
    """The number of rows of a page, as it fits the statement timeout (seconds)."""

    def __init__(self, timeout: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.rows = FIRST
        self.monotonic = monotonic
        self._aim = timeout / 4

    def took(self, seconds: float, walked: int) -> None:
        if seconds > self._aim:
            self.rows = max(1, int(self.rows * max(0.25, self._aim / seconds)))
        elif seconds < self._aim / 2 and walked >= self.rows:
            self.rows = min(MOST, self.rows * 2)

    def timed_out(self) -> bool:
        """False where a page of a single row timed out: it cannot get smaller."""
        smaller, self.rows = self.rows > 1, max(1, self.rows // 8)
        return smaller


def timed_out(error: Exception) -> bool:
    return isinstance(error, Outage) and error.reason == STATEMENT_TIMEOUT


async def cut_pages(ask: AskPage, stride: PageSize, after: Key | None, batch: int, most: int) -> Cuts:
    """The next window of at most ``most`` rows. Raises what ``ask`` does, a timeout only for a page of one row."""
    cuts: list[Cut] = []
    sparse: list[Key] = []
    rows, began = 0, stride.monotonic()
    while True:
        start = stride.monotonic()
        try:
            page = await ask(after, most - rows, stride.rows)
        except Outage as outage:
            if timed_out(outage) and stride.timed_out():
                continue
            raise
        now = stride.monotonic()
        stride.took(now - start, page.walked)
        rows += len(page.keys)
        if len(page.keys) * SPAN >= page.walked:
            cuts += _ranges(after, page.keys, batch)
        else:
            sparse += page.keys
        after = page.end
        if after is None or rows >= most or now - began > WINDOW:
            cuts += (Cut(Keys(tuple(part)), len(part)) for part in _parts(sparse, batch))
            return Cuts(tuple(cuts), rows, after)


def _parts(keys: list[Key], batch: int) -> list[list[Key]]:
    return [keys[n : n + batch] for n in range(0, len(keys), batch)]


def _ranges(after: Key | None, keys: tuple[Key, ...], batch: int) -> list[Cut]:
    cuts = []
    for part in _parts(list(keys), batch):
        cuts.append(Cut(Range(after, part[-1]), len(part)))
        after = part[-1]
    return cuts
