"""What the sweep asks of a database. Two implementations: postgres and sqlite.

No method keeps a transaction open after it returns, none compares keys outside the database, and each takes the cutoff
as text that the same database produced. Errors arrive classified: ``SweepFailure`` (only an edit cures it), ``Outage``
(trying again cures it; ``maybe_applied`` where a commit was sent and not answered), ``ScopeOutage`` (an Outage that a
smaller scope may avoid), ``RowError`` (a row of this scope is to blame: halve the scope to find it).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from kubesweep.queue.model import Key


@dataclass(frozen=True, slots=True)
class Range:
    """Keys in ``(low, high]`` in the database's order; None is open."""

    low: Key | None = None
    high: Key | None = None
    expected: int = field(default=0, compare=False)  # stale rows that the plan counted in it; 0: nobody counted


class Keys(msgspec.Struct, frozen=True):
    keys: tuple[Key, ...]

    @property
    def expected(self) -> int:
        return len(self.keys)


Scope = Range | Keys
DAY = 86_400.0
WRITE_REFUSED = "WriteRefused"
# Warnings for which a first sweep that deletes waits.
EPOCH_UNIT = "epoch-unit"
NAIVE_ZONE = "naive-time-zone"


def unkept(archive: str, causes: Sequence[str]) -> str:
    """The message of a row of which the archive kept no copy."""
    cause = f"; what can cause it: {', '.join(causes)}" if causes else ""
    return f"nothing failed, but the archive {archive} did not take the row{cause}. Correct that, or leave such rows out with a condition in spec.match"


def date_of_today(name: str) -> tuple[str, str]:
    return (
        "date-of-today",
        f'column "{name}" has dates, and a date counts as its midnight, so a row of today is stale already: write before: now-1d to keep it through its day',
    )


def refusal(table: str, causes: Sequence[str]) -> str:
    """The message of a row that a write left as it was. ``causes`` are what the catalogue names."""
    if not causes:
        return (
            f"nothing failed, but after the write the row of {table} still matches: "
            "look for what changes it at the same time, or leave such rows out with a condition in spec.match"
        )
    return (
        f"nothing failed, but after the write the row of {table} still matches; what can cause it: {', '.join(causes)}. "
        "Correct that, or leave such rows out with a condition in spec.match"
    )


LOCKS = frozenset({"Locked", "Deadlock", "Conflict"})  # reasons of a ScopeOutage that another transaction causes


@dataclass(frozen=True, slots=True)
class Cut:
    """A scope with ``rows`` stale rows, as many as one job should hold."""

    scope: Scope
    rows: int


@dataclass(frozen=True, slots=True)
class Cuts:
    cuts: tuple[Cut, ...]
    rows: int  # stale rows in all cuts
    cursor: Key | None  # where the next window starts; None: nothing stale lies behind


class SourceRow(msgspec.Struct, frozen=True):
    key: Key
    values: Mapping[str, Any]  # the effect's columns as Python values
    stamp: tuple[str | None, ...]  # what makes its staleness new, as the database's text: part of the Idempotency-Key


class Written(msgspec.Struct, frozen=True):
    applied: int
    still_stale: int = 0  # all rows of the write match again after it, and no trigger explains it: rolled back
    locked: tuple[Key, ...] = ()  # only with skip_locked: stale rows that somebody else holds
    refused: tuple[Key, ...] = ()  # rows that still match, though nothing failed: nothing of them was written
    why: str = ""  # what may have refused them


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: str  # as the database writes it: "timestamp with time zone"
    nullable: bool


@dataclass(frozen=True, slots=True)
class Table:
    """What ``inspect`` found; ``warnings`` are (code, sentence) pairs for people (see docs/errors.md)."""

    name: str  # quoted and qualified, as the SQL has it
    columns: Mapping[str, Column]
    key: tuple[str, ...]
    rows_estimate: int
    warnings: tuple[tuple[str, str], ...] = field(default=())
    children: tuple[str, ...] = ()  # what a delete does to rows of other tables, in sentences
    session: Mapping[str, str] = field(default_factory=dict)  # PostgreSQL's settings under which the user's sql runs


@dataclass(frozen=True, slots=True)
class Explanation:
    """What would run, word for word, and how the database would go about it."""

    plan_sql: str  # finds the next window
    stale_sql: str  # reads the rows of a job
    write_sql: str | None  # applies to the rows of a job; None: the handler writes
    plan_text: str  # the database's own plan of finding all stale rows
    rows_estimate: int  # stale rows, as the planner guesses
    index_advice: str | None  # a CREATE INDEX statement, where finding them reads a whole big table


@dataclass(frozen=True, slots=True)
class Tried:
    """A write that was rolled back."""

    tried: int  # stale rows that it was tried on
    would_apply: int
    still_stale: int  # rows that match again after it: the sweep would never end
    refused: int = 0  # rows that it left as they were
    why: str = ""  # what may have refused them


class Inspector(Protocol):
    """What a person's ``check`` asks, on top of Source. Both sources implement it."""

    async def explain(self, cutoff: str) -> Explanation: ...

    async def try_write(self, cutoff: str, most: int = 10) -> Tried:
        """Apply the write to at most ``most`` stale rows with a lock timeout of a second, and roll back.

        Raises what ``write`` raises; RowError where a row is refused."""
        ...


class Source(Protocol):
    """One database and one plan. Safe for ``concurrency`` calls at once; a handle, opened lazily, healed by itself."""

    async def close(self) -> None: ...

    async def warm(self) -> None:
        """Connect and read the catalogue ahead of the first job, which would else wait for it. Raises what that would."""
        ...

    async def probe(self) -> None:
        """A round trip that touches nothing. Raises Outage or SweepFailure (wrong password) while it cannot work."""
        ...

    async def inspect(self) -> Table:
        """Check the plan against the table: it exists, key unique and NOT NULL, columns and types fit, rights suffice,
        the ``sql`` conditions parse. Raises SweepFailure with a sentence that says what to do."""
        ...

    async def origin(self) -> str:
        """To which database, schema, table and key columns the keys belong (see origin.py). Asked once a connection."""
        ...

    async def now(self) -> str:
        """The database's clock as text: a cutoff."""
        ...

    async def bounds(self) -> tuple[str, Key | None]:
        """The database's clock as text, and the greatest key of the table: where a sweep that starts now ends."""
        ...

    async def count(self, cutoff: str, excluded: Collection[Key], most: int) -> int:
        """Stale rows, counted up to ``most``."""
        ...

    async def cut(
        self,
        cutoff: str,
        after: Key | None,
        excluded: Collection[Key],
        batch: int,
        most: int,
        until: Key | None = None,
    ) -> Cuts:
        """The next window: up to ``most`` stale rows behind ``after`` in key order, ``until`` included, in cuts of ``batch``."""
        ...

    async def stale(self, scope: Scope, cutoff: str, excluded: Collection[Key], most: int) -> list[SourceRow]:
        """Up to ``most`` rows of the scope that match now, in key order."""
        ...

    async def keys(self, scope: Scope, cutoff: str, excluded: Collection[Key]) -> tuple[Key, ...]:
        """The keys of all rows of the scope that match now, in key order."""
        ...

    async def write(
        self, scope: Scope, cutoff: str, excluded: Collection[Key], *, skip_locked: bool = False
    ) -> Written:
        """Apply the plan's write, in one transaction, to the rows of the scope that match now.

        Rows that still match after it (a trigger, a rule or a policy kept them) are ``refused``, the others applied.
        Raises SweepFailure ``WriteRefused`` where the catalogue proves that no row can be written."""
        ...


class InspectableSource(Source, Inspector, Protocol):
    """What ``open_source`` returns."""


__all__ = [
    "LOCKS",
    "WRITE_REFUSED",
    "Column",
    "Cut",
    "Cuts",
    "Explanation",
    "InspectableSource",
    "Inspector",
    "Keys",
    "Range",
    "Scope",
    "Source",
    "SourceRow",
    "Table",
    "Tried",
    "Written",
    "refusal",
]
