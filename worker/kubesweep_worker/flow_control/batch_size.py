"""How many rows one statement may write: batchRows, or fewer where a statement of so many timed out.

The size falls at once and doubles after a number of jobs that met no timeout. Workers share it through the queue: news
travel with a settlement, and each answer to a claim has the latest. It belongs to one plan, batchRows and statementTimeout, and is forgotten with them.
"""

from __future__ import annotations

CLEAN = 8  # jobs in a row without a timeout, before a statement takes twice as many rows


class Batch:
    def __init__(self, rows: int, plan: str) -> None:
        """``rows``: limits.batchRows; ``plan``: what the size belongs to, as one word."""
        self._top, self._plan = rows, plan
        self._clean = 0
        self._heard = ""
        self._news = False
        self.most = rows

    def shrink(self, most: int) -> None:
        """A statement for more than ``most`` rows times out."""
        if most < self.most:
            self._set(most)
        self._clean = 0

    def clean(self, rows: int) -> None:
        """A job of ``rows`` rows met no timeout. One that is much smaller than a statement says nothing."""
        if self.most >= self._top or 2 * rows <= self.most:
            return
        self._clean += 1
        if self._clean >= CLEAN:
            self._set(min(self._top, 2 * self.most))

    def _set(self, most: int) -> None:
        self.most, self._clean, self._news = most, 0, True

    def news(self) -> str | None:
        """What the queue does not know yet; said once."""
        if not self._news:
            return None
        self._news = False
        self._heard = f"{self._plan} {self.most}" if self.most < self._top else ""
        return self._heard

    def hear(self, batch_hint: str) -> None:
        """What the queue knows. News of ours that it does not know yet are newer."""
        if batch_hint == self._heard or self._news:
            return
        self._heard = batch_hint
        plan, _, rows = batch_hint.partition(" ")
        known = plan == self._plan and rows.isdecimal()
        self.most, self._clean = (max(1, min(self._top, int(rows))) if known else self._top), 0
