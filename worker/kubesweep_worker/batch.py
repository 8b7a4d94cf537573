"""How many rows one statement may write: batchRows, or fewer where a statement of so many timed out.

The size falls at once and grows by doubling, after a number of jobs that met no timeout.
"""

from __future__ import annotations

CLEAN = 8  # jobs in a row without a timeout, before a statement takes twice as many rows


class Batch:
    def __init__(self, rows: int) -> None:
        self._top = rows
        self._clean = 0
        self.most = rows

    def shrink(self, most: int) -> None:
        """A statement for more than ``most`` rows times out."""
        self.most, self._clean = min(self.most, most), 0

    def clean(self, rows: int) -> None:
        """A job of ``rows`` rows met no timeout. One that is much smaller than a statement says nothing."""
        if self.most >= self._top or 2 * rows <= self.most:
            return
        self._clean += 1
        if self._clean >= CLEAN:
            self.most, self._clean = min(self._top, 2 * self.most), 0
