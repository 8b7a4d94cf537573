"""How many rows one transaction may write: as many as take about ``limits.batchTime``, and at most ``limits.batchRows``.

The size starts at ``limits.batchRows``. Each batch that was written then changes it:

- A batch that took ``SLOW`` times the aim makes the next ones smaller at once, and so does one that timed out.
- Otherwise the size follows an average of the seconds for each row that was changed. Rows that were skipped do not count,
  because they are read and not written.
- The size grows by at most ``STEP`` after each full batch. A smaller batch shows that the size is too large, but never that it
  is too small.

This is the rule of GitLab's batched background migrations: an exponential average of time by aim, and steps of at most 20 %
(https://github.com/gitlabhq/gitlabhq/blob/master/lib/gitlab/database/background_migration/batch_optimizer.rb). Its jobs are minutes
apart, so it has no rule for a batch that is far too slow.

Workers share the size through the queue: a settlement carries a new one, and each answer to a claim carries the latest. A stored
size applies to one combination of plan, batchRows and statementTimeout only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

SLOW = 5  # times the aim
PIECES = 8  # a batch that timed out is divided into this many: each level of the search for a slow row costs one more timeout
STEP = 1.2
WEIGHT = 0.4  # of the latest batch in the average
NEWS = 1.2  # other workers get a size that differs by this factor from what they have


@dataclass(frozen=True, slots=True)
class Shrink:
    """What a timeout changed, so that it can be withdrawn."""

    before: int
    cost: float | None
    after: int


class BatchSize:
    """``most`` is the size: rows of one transaction, from 1 to ``rows``.

    Batches of a size that only the ceiling limits do not show whether larger ones are too slow: what was learnt stays.
    """

    def __init__(self, rows: int, plan: str, batch_time: float, statement_timeout: float = math.inf) -> None:
        """``rows``: limits.batchRows; ``plan``: the combination that a size applies to, without blanks; times in seconds."""
        self._limit, self._plan, self._timeout = rows, plan, statement_timeout
        self._cost: float | None = None  # average seconds for each row that was changed; None: not measured
        self._shared = rows  # the size that the other workers have
        self._hint = ""  # the hint that the queue stores, as far as this worker has seen
        self._replaced: str | None = None  # the hint before, which an answer may have until the queue has this worker's
        self._size = rows
        self.set_aim(batch_time)

    @property
    def most(self) -> int:
        return min(self._size, self._ceiling)

    def set_aim(self, batch_time: float, ceiling: int | None = None) -> None:
        """Batches that follow should take this many seconds, and less where they would come near the statement timeout. They
        have at most ``ceiling`` rows; None: as many as ``rows``."""
        self._ceiling = self._limit if ceiling is None else ceiling
        self._aim = min(batch_time, self._timeout / SLOW)
        if self._cost is not None:
            self._size = min(self._size, self._target(self._cost))

    def record(self, rows: int, changed: int, seconds: float) -> None:
        """A batch of ``rows`` rows was written in ``seconds``, and ``changed`` of them met the conditions."""
        if seconds >= SLOW * self._aim:
            # One slow row may be the cause, so the average does not keep it, and the size drops no further than for a timeout.
            self._shrink(max(int(rows * self._aim / seconds), math.ceil(rows / PIECES)))
            return
        full = rows >= self._size and 2 * changed >= rows
        if not changed or not (full or seconds > self._aim):
            return
        cost = seconds / changed
        self._cost = cost if self._cost is None else self._cost + WEIGHT * (cost - self._cost)
        most = math.ceil(self._size * STEP) if full else self._size
        self._size = min(self._limit, most, self._target(self._cost))

    def record_timeout(self, rows: int) -> Shrink:
        """A batch of ``rows`` rows timed out, and wrote nothing."""
        before, cost = self._size, self._cost
        self._shrink(math.ceil(rows / PIECES))
        return Shrink(before, cost, self._size)

    def withdraw(self, shrink: Shrink) -> None:
        """A single row explains the timeout: return to the size before, unless batches since then were slow too."""
        if self._size >= shrink.after:
            self._size, self._cost = max(self._size, shrink.before), shrink.cost

    def _shrink(self, most: int) -> None:
        self._size, self._cost = min(self._size, max(1, most)), None

    def _target(self, cost: float) -> int:
        """The rows that take as long as the aim."""
        return max(1, int(min(self._limit, self._aim / cost))) if cost > 0 else self._limit

    @property
    def _has_news(self) -> bool:
        low, high = sorted((self._size, self._shared))
        return low < high and (self._size == self._limit or high >= NEWS * low)

    def take_hint(self) -> str | None:
        """The hint to send with the next settlement, once; None where the size has not changed by much."""
        if not self._has_news:
            return None
        self._shared, self._replaced = self._size, self._hint
        self._hint = f"{self._plan} {self._size}" if self._size < self._limit else ""
        return self._hint

    def apply_hint(self, batch_hint: str) -> None:
        """Adopt the hint that the queue stores, unless this worker has a newer size that is not sent yet."""
        if batch_hint == self._hint:
            self._replaced = None
        if self._has_news or batch_hint in (self._hint, self._replaced):
            return
        self._hint, self._replaced = batch_hint, None
        plan, _, rows = batch_hint.partition(" ")
        applies = plan == self._plan and rows.isdecimal()
        self._size = self._shared = max(1, min(self._limit, int(rows))) if applies else self._limit
