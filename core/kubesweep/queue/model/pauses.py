"""When a schedule was paused: nothing was claimed in these times, so they say nothing about how fast its sweeps are.

The queue keeps the latest ``MAX_PAUSES`` as one text of times, each begin followed by its end. The last pause may have no end yet. Only an operator
pauses a schedule: spec.suspend, or a rate of 0. Workers that the health of a database stops are not paused.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import NamedTuple

from kubesweep.queue.model.constants import AHEAD
from kubesweep.timestamps import clamp_time

MAX_PAUSES = 64
LONGEST_PAUSES = 4096  # characters of the text; a longer one is not ours


class Pause(NamedTuple):
    """Seconds since the epoch. ``end`` None: it lasts."""

    start: float
    end: float | None = None


def parse_pauses(text: str, now: float) -> tuple[Pause, ...]:
    """Oldest first. Empty for a text that is not of this form: other programs may write to the queue.

    A time that is ahead of ``now`` is of a clock that was set back since. A pause that ended then is left out, because all time until
    then would be part of it. One that lasts began now at the latest."""
    if len(text) > LONGEST_PAUSES:
        return ()
    try:
        times = [clamp_time(float(each)) for each in text.split()]
    except ValueError:
        return ()
    known = [each for each in times if each is not None]
    if len(known) < len(times):
        return ()
    pauses = itertools.starmap(Pause, itertools.zip_longest(known[::2], known[1::2]))
    began = ((each if each.end is not None else Pause(min(each.start, now))) for each in pauses)
    return tuple(each for each in began if each.end is None or each.end <= now + AHEAD)


def pauses_text(pauses: Iterable[Pause]) -> str:
    return " ".join(repr(time) for pause in pauses for time in pause if time is not None)


def changed_pauses(pauses: tuple[Pause, ...], was_paused: bool, paused: bool, now: float) -> tuple[Pause, ...]:
    """The pauses after an operator set ``paused``. An open one of a schedule that was not paused was ended by an older version, which
    recorded no end: it is dropped."""
    known = list(pauses)
    if known and known[-1].end is None and not was_paused:
        known.pop()
    is_open = bool(known) and known[-1].end is None
    if paused and not is_open:
        known.append(Pause(now))
    elif is_open and not paused:
        known[-1] = Pause(known[-1].start, now)
    closed = sum(each.end is not None for each in known)
    return tuple(known[max(0, closed - MAX_PAUSES) :])
