"""What the latest sweep that planned rows was made of: the conditions, the kind of work, and the database.

A schedule's next sweep is compared with it. The queue keeps it beside the schedule, and the controller keeps a copy in the
status, which outlives the queue.
"""

from __future__ import annotations

import hashlib

import msgspec

from kubesweep.queue.model.identity import reader

LONGEST_DATABASE = 400  # bytes of a name


class Database(msgspec.Struct, frozen=True):
    """A database as its server identifies it. The ``name`` is the same on a standby that was promoted, and another one for a
    restored dump or another server. Only the ``timeline`` changes with a promotion; None: it cannot be read, or there is none."""

    name: str
    timeline: int | None = None

    @classmethod
    def of(cls, name: str, timeline: int | None = None) -> Database:
        """A name that is too long is replaced by its beginning and a hash."""
        whole = name.encode("utf-8", "surrogateescape")
        if len(whole) > LONGEST_DATABASE:
            name = f"{name[:80]}... #{hashlib.sha256(whole).hexdigest()[:16]}"
        return cls(name, timeline)


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """``kubesweep.api.baseline.baseline_of`` makes it from a plan. ``table`` and ``match`` are hashes, ``write`` and ``effect``
    are words for what happens to a row."""

    table: str
    match: str
    write: str
    effect: str
    database: Database
    since: float = 0.0  # when the first sweep of all this started; the rows of earlier sweeps say nothing about it

    def changes(self, earlier: Baseline) -> tuple[str, ...]:
        """The fields of the spec that make this another predicate than ``earlier``, with both words where they are readable."""
        found = []
        if self.table != earlier.table:
            found.append("source.table")
        if self.match != earlier.match:
            found.append("match")
        for name in ("write", "effect"):
            before, now = getattr(earlier, name), getattr(self, name)
            if before != now:
                found.append(f"{name} ({before} -> {now})")
        return tuple(found)

    def continues(self, earlier: Baseline) -> bool:
        """Whether this is the same predicate in the same database."""
        return not self.changes(earlier) and self.database.name == earlier.database.name

    def follows(self, earlier: Baseline) -> bool:
        """Whether the database is the same and on another timeline: a standby was promoted, or a backup was replayed."""
        before, now = earlier.database, self.database
        return before.name == now.name and None not in (before.timeline, now.timeline) and before != now


parse_baseline = reader(Baseline)
