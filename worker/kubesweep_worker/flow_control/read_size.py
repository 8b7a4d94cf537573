"""How many rows are read at once for the effect: a whole sub-batch, or fewer where rows are wide.

This bounds a worker's memory: each job holds the values of one sub-batch, which are about ``READ_BYTES`` at most once their width is
known. Only the first sub-batch of a worker, and one with a row far wider than those before, may have more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

READ_BYTES = 8 * 2**20
STEP = 1.2


class ReadSize:
    """``most``: rows that the next sub-batch reads, from 1 to ``rows``. It drops at once and grows by a fifth."""

    def __init__(self, rows: int) -> None:
        self._limit = self.most = rows

    def record(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """``rows``: the values of those that were read together."""
        if not rows:
            return
        size = sum(map(width, rows))
        fitting = READ_BYTES * len(rows) // max(1, size)
        self.most = max(1, min(self._limit, fitting, math.ceil(self.most * STEP)))


def width(values: Mapping[str, Any]) -> int:
    """About the bytes of one row: of its texts and bytes. Values without a length have a few."""
    return sum(len(value) for value in values.values() if hasattr(value, "__len__"))
