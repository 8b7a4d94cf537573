"""Cut a window page by page along the key, where one statement for it exceeds spec.source.statementTimeout.

That happens for a large table without an index for the match. A page is a bounded number of rows of the table, stale or
not. The number adapts, so that a page takes at most a quarter of the timeout and the write of its rows fits too. The window
may end early: the next plan step continues at its cursor.
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
    keys: tuple[Key, ...]  # of stale rows, in order
    scanned: int  # rows of the table that were read, at most
    end: Key | None  # where the next page starts; None: the table ends here


ReadPage = Callable[[Key | None, int, int], Awaitable[Page]]  # after, most stale rows, rows of the page


class PageSize:
    """Adapts the number of rows of a page to the statement timeout (seconds)."""

    def __init__(self, timeout: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.rows = FIRST
        self.monotonic = monotonic
        self._aim = timeout / 4

    def took(self, seconds: float, scanned: int) -> None:
        if seconds > self._aim:
            self.rows = max(1, int(self.rows * max(0.25, self._aim / seconds)))
        elif seconds < self._aim / 2 and scanned >= self.rows:
            self.rows = min(MOST, self.rows * 2)

    def timed_out(self) -> bool:
        """Shrink the page. False where a page of a single row timed out."""
        smaller, self.rows = self.rows > 1, max(1, self.rows // 8)
        return smaller


def timed_out(error: Exception) -> bool:
    return isinstance(error, Outage) and error.reason == STATEMENT_TIMEOUT


async def cut_pages(read: ReadPage, page_size: PageSize, after: Key | None, batch: int, most: int) -> Cuts:
    """The next window of at most ``most`` rows. Raises what ``read`` does, a timeout only for a page of one row."""
    cuts: list[Cut] = []
    sparse: list[Key] = []
    rows, began = 0, page_size.monotonic()
    while True:
        start = page_size.monotonic()
        try:
            page = await read(after, most - rows, page_size.rows)
        except Outage as outage:
            if timed_out(outage) and page_size.timed_out():
                continue
            raise
        now = page_size.monotonic()
        page_size.took(now - start, page.scanned)
        rows += len(page.keys)
        if len(page.keys) * SPAN >= page.scanned:
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
