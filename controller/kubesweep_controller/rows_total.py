"""Rows by outcome over all sweeps, as counters that survive workers scaled to zero.

The queue counts the rows of each sweep that it remembers. This adds up the differences from one observation to the next, so that:

- A count never decreases, also where the queue lost data or serves an older copy of it.
- A row counts once for its sweep, however often the sweep is observed. A dead letter that dies again after a retry is not added.
- What was counted before the first observation of this process is left out: a new leader starts at zero.
"""

from __future__ import annotations

from collections.abc import Iterable

from kubesweep.queue.model import HISTORY, Sweep

__all__ = ["OUTCOMES", "RowsTotal"]

OUTCOMES = ("applied", "skipped", "unconfirmed", "dead")  # rows that are retrying get one of these later
REMEMBERED = 2 * (HISTORY + 1)  # sweeps of a schedule; twice as many as the queue has
Key = tuple[str, str]  # namespace and name
Counts = tuple[int, ...]


class RowsTotal:
    def __init__(self) -> None:
        self._counted: dict[Key, dict[str, Counts]] = {}  # of each sweep, the highest
        self._totals: dict[Key, Counts] = {}

    def add(self, key: Key, sweeps: Iterable[Sweep]) -> dict[str, int]:
        """The totals of a schedule, after its sweeps, newest first, were observed."""
        is_new = key not in self._counted
        counted = self._counted.setdefault(key, {})
        totals = self._totals.get(key, (0,) * len(OUTCOMES))
        for sweep in reversed(tuple(sweeps)):
            before = counted.pop(sweep.id, (0,) * len(OUTCOMES))
            after = tuple(max(old, getattr(sweep, name)) for old, name in zip(before, OUTCOMES, strict=True))
            counted[sweep.id] = after  # at the end of the dict
            if not is_new:
                totals = tuple(sum(three) for three in zip(totals, after, (-old for old in before), strict=True))
        while len(counted) > REMEMBERED:
            del counted[next(iter(counted))]
        self._totals[key] = totals
        return dict(zip(OUTCOMES, totals, strict=True))

    def forget(self, key: Key) -> None:
        self._counted.pop(key, None)
        self._totals.pop(key, None)
