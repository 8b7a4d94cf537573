"""``kubesweep-worker dead``: the dead letters of the pod's schedule as one JSON document, each with the history of its attempts.

The status of a SweepSchedule has only groups and a few keys, because more people may read it. The letters are read in the namespace, with
the pod's credentials for the queue. This program changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from kubesweep.letter_document import letter_document
from kubesweep.queue.connect import connect
from kubesweep.queue.model import DeadLetter, RowState, ScheduleRef, parse_key
from kubesweep.text import escaped
from kubesweep_worker.pod import environment as pod

__all__ = ["Selection", "dead", "dead_document"]

NOTHING_FOUND = 1  # exit code
MOST_READ = 100_000  # rows that match; ``total`` counts no further


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows. A row must match both ``error`` and ``keys``, if given."""

    error: str | None = None
    keys: tuple[str, ...] = ()  # as people see them: 42, or ["eu","17"]
    retrying: bool = False  # rows in retry instead of dead letters
    most: int = 100  # letters that are printed, the newest


async def dead(environment: Mapping[str, str], selection: Selection) -> int:
    """Print the document and return the exit code. Raises Outage, and SpecError for an unusable environment."""
    ref = pod.plan(environment).ref
    queue = connect(pod.required(environment, "KUBESWEEP_QUEUE"))
    try:
        letters = await queue.dead_letters(
            ref,
            error=selection.error,
            keys=tuple(map(parse_key, selection.keys)) or None,
            most=MOST_READ,
            state=RowState.RETRYING if selection.retrying else RowState.DEAD,
        )
    finally:
        await queue.close()
    document = dead_document(ref, letters, selection)
    print(escaped(msgspec.json.encode(document).decode()), flush=True)
    return 0 if letters else NOTHING_FOUND


def dead_document(ref: ScheduleRef, letters: Sequence[DeadLetter], selection: Selection) -> dict[str, Any]:
    """``letters``: all that match, the newest first."""
    return {
        "schedule": {"namespace": ref.namespace, "name": ref.name, "uid": ref.uid},
        "total": len(letters),
        "letters": [letter_document(each, retrying=selection.retrying) for each in letters[: selection.most]],
    }
