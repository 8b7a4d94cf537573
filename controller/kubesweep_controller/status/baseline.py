"""``status.baseline``: what the latest sweep that planned rows was made of.

The queue has it first. The copy in the status outlives the queue, so a database that was restored while the queue was lost is still
noticed. Only this module reads and writes the copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubesweep.queue.model import LONGEST_DATABASE, Baseline, Database
from kubesweep.text import clip
from kubesweep.timestamps import clamp_time
from kubesweep_controller.status.formatting import parse_time, time_text
from kubesweep_controller.status.history import previous
from kubesweep_controller.status.observation import Observation

__all__ = ["baseline_status", "lost_baseline", "read_baseline"]

_WORDS = ("table", "match", "write", "effect")
_LARGEST = 2**32 - 1  # a timeline


def baseline_status(observation: Observation) -> dict[str, Any] | None:
    """The queue's; where it has none, or does not answer, the one that was written last."""
    found = observation.stats.baseline if observation.stats is not None else None
    if found is None:
        return previous(observation).get("baseline")
    entry: dict[str, Any] = {name: clip(getattr(found, name), 128) for name in _WORDS}
    entry["database"] = clip(found.database.name, LONGEST_DATABASE)
    if found.database.timeline is not None:
        entry["timeline"] = min(max(found.database.timeline, 0), _LARGEST)
    if since := clamp_time(found.since):
        entry["since"] = time_text(since)
    return entry


def read_baseline(entry: object) -> Baseline | None:
    """The inverse; None for an entry that this version cannot read."""
    if not isinstance(entry, Mapping):
        return None
    words, database, timeline = {name: entry.get(name) for name in _WORDS}, entry.get("database"), entry.get("timeline")
    if not isinstance(database, str) or not all(isinstance(word, str) for word in words.values()):
        return None
    known = Database(database, timeline if isinstance(timeline, int) else None)
    texts = {name: str(word) for name, word in words.items()}
    return Baseline(**texts, database=known, since=parse_time(entry.get("since")) or 0.0)


def lost_baseline(observation: Observation) -> Baseline | None:
    """What the queue must get back, because it lost its data; None: it lacks nothing, or nothing is known."""
    stats = observation.stats
    if stats is None or not stats.known or stats.baseline is not None:
        return None
    return read_baseline(previous(observation).get("baseline"))
