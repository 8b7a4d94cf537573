"""How many rows are read at once for the effect: a whole sub-batch, or fewer where rows are wide.

This bounds a worker's memory: each job holds the values of one sub-batch, which are about ``READ_BYTES`` at most once their width is
known. Only the first sub-batch of a worker, and one with a row far wider than those before, may have more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

READ_BYTES = 8 * 2**20
STEP = 1.2
_WIDE = (str, bytes, bytearray, memoryview, msgspec.Raw)  # values of any other type have a few bytes


class ReadSize:
    """``most``: rows that the next sub-batch reads, from 1 to ``rows``. It drops at once and grows by a fifth."""

    def __init__(self, rows: int) -> None:
        self._limit = self.most = rows

    def record(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """``rows``: the values of those that were read together."""
        if not rows:
            return
        size = sum(len(value) for row in rows for value in row.values() if isinstance(value, _WIDE))
        fitting = READ_BYTES * len(rows) // max(1, size)
        self.most = max(1, min(self._limit, fitting, math.ceil(self.most * STEP)))
