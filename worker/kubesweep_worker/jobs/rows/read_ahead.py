"""How many sub-batches of rows one statement reads for an effect.

A row must be fresh when its effect starts, because the application may have changed it since. So rows that were read more than
``FRESH`` seconds ago are read again, and a slow effect reads one sub-batch at a time. For a fast one the number doubles while all
rows are used in time.
"""

from __future__ import annotations

from collections.abc import Sequence

from kubesweep_worker.flow_control.read_size import width
from kubesweep_worker.sources.base import SourceRow

FRESH = 0.2  # seconds; a sub-batch alone may take much longer
MOST = 8  # sub-batches
MAX_BYTES = 2**20  # of texts and bytes in the rows of one statement
SAMPLE = 10  # one row of this many is measured


class ReadAhead:
    """Learned by a worker from all its jobs."""

    def __init__(self) -> None:
        self.sub_batches = 1

    def record_used(self, rows: Sequence[SourceRow], age: float) -> None:
        """All rows of a statement were handled, ``age`` seconds after it."""
        size = SAMPLE * sum(width(row.values) for row in rows[::SAMPLE])
        if size > MAX_BYTES:
            self.sub_batches = 1
        elif 2 * age <= FRESH and 2 * size <= MAX_BYTES:  # twice as many stay fresh
            self.sub_batches = min(MOST, 2 * self.sub_batches)

    def record_discarded(self, used: int) -> None:
        """Only the rows of this many sub-batches were used in time, or the rows cannot be read together."""
        self.sub_batches = max(1, min(self.sub_batches, used))
