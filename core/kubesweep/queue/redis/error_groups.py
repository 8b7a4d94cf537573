"""Counts excluded rows by error class and origin, while they are read page by page."""

from __future__ import annotations

from bisect import insort

import msgspec

from kubesweep.queue.model import MESSAGE, DeadLetter, ErrorGroup, Key

SAMPLES = 3  # keys of each group
GROUPS = 1000  # groups that are counted; rows of further ones are ignored


class ErrorGroupCounter:
    """Groups rows that are added in any order.

    Its memory is bounded, whatever another program wrote into the queue. Message and samples of a group are those of its
    newest rows, ordered by key where the time is the same.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], ErrorGroup] = {}
        self._newest: dict[tuple[str, str], list[tuple[float, Key]]] = {}

    def add(self, row: DeadLetter) -> None:
        place = row.error[:MESSAGE], row.origin[:MESSAGE]
        known = self._known.get(place)
        if known is None:
            if len(self._known) == GROUPS:
                return
            known = ErrorGroup(place[0], 0, "", row.at, row.at, (), place[1])
        newest = self._newest.setdefault(place, [])
        mine = -row.at, row.key
        first = not newest or mine < newest[0]
        if sum(map(len, row.key)) <= MESSAGE:
            insort(newest, mine)
            del newest[SAMPLES:]
        self._known[place] = msgspec.structs.replace(
            known,
            count=known.count + 1,
            message=row.message[:MESSAGE] if first else known.message,
            first=min(known.first, row.at),
            last=max(known.last, row.at),
        )

    def largest(self, most: int) -> tuple[ErrorGroup, ...]:
        found = sorted(self._known.items(), key=lambda each: (-each[1].count, each[0]))[:most]
        return tuple(
            msgspec.structs.replace(group, samples=tuple(key for _, key in self._newest[place]))
            for place, group in found
        )
