"""How many rows one statement may write: batchRows, or fewer while statements of that size time out.

The size drops at the first timeout and doubles after ``CLEAN_JOBS`` jobs without one. Workers share it through the queue:
a settlement carries a new size, and each answer to a claim carries the latest. A stored size applies to one combination of
plan, batchRows and statementTimeout only.
"""

from __future__ import annotations

CLEAN_JOBS = 8  # jobs in a row without a timeout before a statement takes twice as many rows


class BatchSize:
    def __init__(self, rows: int, plan: str) -> None:
        """``rows``: limits.batchRows; ``plan``: the combination that a size applies to, without blanks."""
        self._limit, self._plan = rows, plan
        self._clean_jobs = 0
        self._shared = ""  # the hint that the queue stores, as far as this worker has seen
        self._unsent = False
        self.most = rows

    def shrink(self, most: int) -> None:
        """A statement for more than ``most`` rows timed out."""
        if most < self.most:
            self._set(most)
        self._clean_jobs = 0

    def record_clean_job(self, rows: int) -> None:
        """A job of ``rows`` rows met no timeout. A job of less than half a statement proves nothing."""
        if self.most >= self._limit or 2 * rows <= self.most:
            return
        self._clean_jobs += 1
        if self._clean_jobs >= CLEAN_JOBS:
            self._set(min(self._limit, 2 * self.most))

    def _set(self, most: int) -> None:
        self.most, self._clean_jobs, self._unsent = most, 0, True

    def take_hint(self) -> str | None:
        """The hint to send with the next settlement, once; None where the size has not changed."""
        if not self._unsent:
            return None
        self._unsent = False
        self._shared = f"{self._plan} {self.most}" if self.most < self._limit else ""
        return self._shared

    def apply_hint(self, batch_hint: str) -> None:
        """Adopt the hint that the queue stores, unless this worker has a newer size that is not sent yet."""
        if batch_hint == self._shared or self._unsent:
            return
        self._shared = batch_hint
        plan, _, rows = batch_hint.partition(" ")
        applies = plan == self._plan and rows.isdecimal()
        self.most, self._clean_jobs = (max(1, min(self._limit, int(rows))) if applies else self._limit), 0
