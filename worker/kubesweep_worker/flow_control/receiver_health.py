"""Whether the effect's receiver responds, judged by the latest calls of this worker.

``attribute_failures`` (jobs/rows/delivery.py) uses it to tell a bad row from an outage of the receiver.
"""

from __future__ import annotations

from collections import deque

MAX_FAILURES_IN_A_ROW = 10
WINDOW = 50  # calls


class ReceiverHealth:
    """Failing after ``MAX_FAILURES_IN_A_ROW`` infrastructure failures in a row, or when they are half of the last ``WINDOW`` calls."""

    def __init__(self) -> None:
        self._latest: deque[bool] = deque(maxlen=WINDOW)
        self._failures_in_a_row = 0

    def record(self, ok: bool) -> None:
        self._latest.append(ok)
        self._failures_in_a_row = 0 if ok else self._failures_in_a_row + 1

    @property
    def failing(self) -> bool:
        failed = sum(not ok for ok in self._latest)
        half_failed = len(self._latest) == WINDOW and 2 * failed >= WINDOW
        return self._failures_in_a_row >= MAX_FAILURES_IN_A_ROW or half_failed

    @property
    def serves_others(self) -> bool:
        """True where other calls succeed: a failure is then more likely caused by its row."""
        return not self.failing and any(self._latest)

    def reset(self) -> None:
        self._latest.clear()
        self._failures_in_a_row = 0
