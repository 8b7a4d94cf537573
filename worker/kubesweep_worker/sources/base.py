"""The Source protocol: what a sweep needs from a database. Implementations: sources/postgres and sources/sqlite.

sources/__init__.py lists what another database needs.

No method leaves a transaction open, none compares keys outside the database, and every cutoff is text that the same
database produced. Errors are classified:

- ``SweepFailure``: only an edit helps.
- ``Outage``: a later retry helps. ``maybe_applied``: a COMMIT was sent and not answered.
- ``ScopeOutage``: an Outage that a smaller scope may avoid.
- ``RowError``: a row of this scope is the cause; bisection finds it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from kubesweep.queue.model import Database, Key, Sample, StaleRows
from kubesweep_worker.sources.stale_search import StaleSearch


@dataclass(frozen=True, slots=True)
class Range:
    """Keys in ``(low, high]`` in the database's order; None is unbounded."""

    low: Key | None = None
    high: Key | None = None
    expected: int = field(default=0, compare=False)  # stale rows that planning counted in it; 0: not counted


class Keys(msgspec.Struct, frozen=True):
    keys: tuple[Key, ...]

    @property
    def expected(self) -> int:
        return len(self.keys)


Scope = Range | Keys


@dataclass(frozen=True, slots=True)
class Predicate:
    """Which rows of a scope a sweep works on: those that match the plan at ``cutoff`` and are not ``excluded``.

    ``cutoff`` is text that the database produced. ``excluded`` are keys of rows in retry or dead.
    """

    cutoff: str
    excluded: frozenset[Key] = frozenset()

    def without(self, keys: Collection[Key]) -> Predicate:
        """The same, with further excluded keys."""
        return Predicate(self.cutoff, self.excluded.union(keys)) if keys else self


DAY = 86_400.0
WRITE_REFUSED = "WriteRefused"
# Warnings for which a first sweep that deletes awaits approval.
EPOCH_UNIT = "epoch-unit"
NAIVE_ZONE = "naive-time-zone"


def unkept(archive: str, causes: Sequence[str]) -> str:
    """The message for a row that the archive did not store."""
    cause = f"; what can cause it: {', '.join(causes)}" if causes else ""
    return f"nothing failed, but the archive {archive} did not take the row{cause}. Correct that, or leave such rows out with a condition in spec.match"


def date_of_today(name: str) -> tuple[str, str]:
    return (
        "date-of-today",
        f'column "{name}" has dates, and a date counts as its midnight, so a row of today is stale already: write before: now-1d to keep it through its day',
    )


def refusal(table: str, causes: Sequence[str]) -> str:
    """The message for a row that a write left unchanged. ``causes``: possible ones, from the database's catalog."""
    if not causes:
        return (
            f"nothing failed, but after the write the row of {table} still matches: "
            "look for what changes it at the same time, or leave such rows out with a condition in spec.match"
        )
    return (
        f"nothing failed, but after the write the row of {table} still matches; what can cause it: {', '.join(causes)}. "
        "Correct that, or leave such rows out with a condition in spec.match"
    )


FEW_ROWS = (
    100_000  # a table that is estimated to have fewer is counted: statistics of small tables are often out of date
)
MOST_ROWS_COUNTED = 10_000_000  # a table without statistics is counted up to here
LOCKS = frozenset({"Locked", "Deadlock", "Conflict"})  # reasons of a ScopeOutage caused by another transaction


@dataclass(frozen=True, slots=True)
class Cut:
    """A scope with ``rows`` stale rows, the size of one job."""

    scope: Scope
    rows: int


@dataclass(frozen=True, slots=True)
class Cuts:
    cuts: tuple[Cut, ...]
    rows: int  # stale rows in all cuts
    cursor: Key | None  # where the next window starts; None: no stale rows remain


class SourceRow(msgspec.Struct, frozen=True):
    key: Key
    values: Mapping[str, Any]  # the effect's columns as Python values
    stamp: tuple[
        str | None, ...
    ]  # the values that tell this staleness from the next one, as the database's text: part of the Idempotency-Key


class Written(msgspec.Struct, frozen=True):
    applied: int
    still_stale: int = 0  # rows that match again after the write, where no trigger explains it: rolled back
    locked: tuple[Key, ...] = ()  # only with skip_locked: stale rows that another transaction has locked
    refused: tuple[Key, ...] = ()  # rows that still match although nothing failed: they were not written
    why: str = ""  # the possible causes


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: str  # as the database writes it: "timestamp with time zone"
    nullable: bool


@dataclass(frozen=True, slots=True)
class Table:
    """The result of ``inspect``; ``warnings`` are pairs of a code and a sentence, see docs/errors.md."""

    name: str  # quoted and qualified
    columns: Mapping[str, Column]
    key: tuple[str, ...]
    rows_estimate: int
    warnings: tuple[tuple[str, str], ...] = field(default=())
    children: tuple[str, ...] = ()  # effects of a delete on rows of other tables, as sentences
    session: Mapping[str, str] = field(default_factory=dict)  # PostgreSQL's settings that apply to the user's sql


@dataclass(frozen=True, slots=True)
class Explanation:
    """The exact statements of a sweep, and the database's plan for them."""

    plan_sql: str  # finds the next window
    stale_sql: str  # reads the rows of a job
    write_sql: str | None  # applies to the rows of a job; None: the handler writes
    plan_text: str  # the database's query plan for finding all stale rows
    rows_estimate: int  # stale rows, as the query planner estimates
    index_advice: str | None  # a CREATE INDEX statement, where the search reads a whole large table


@dataclass(frozen=True, slots=True)
class Tried:
    """A write that was rolled back."""

    tried: int  # stale rows that it was applied to
    would_apply: int
    still_stale: int  # rows that match again after it: the sweep would never end
    refused: int = 0  # rows that it left unchanged
    why: str = ""  # the possible causes


class Inspector(Protocol):
    """What ``kubesweep check`` needs in addition to Source. Both sources implement it."""

    async def explain(self, cutoff: str) -> Explanation: ...

    async def try_write(self, cutoff: str, most: int = 10) -> Tried:
        """Apply the write to at most ``most`` stale rows with a lock timeout of a second, and roll back.

        Raises what ``write`` raises; RowError where a row is refused."""
        ...


@dataclass(frozen=True, slots=True)
class Measured:
    """What the health of a database is measured of."""

    database: str  # the server and the database, as the server identifies them
    table: int  # the oid of the swept table
    user: str = ""  # who measures: users may read different signals
    session: str = ""  # the settings of the user's query, on which its value may depend


class Source(Protocol):
    """One database and one plan. Safe for ``concurrency`` concurrent calls; connects lazily and reconnects after errors."""

    async def close(self) -> None: ...

    async def warm(self) -> None:
        """Connect and read the catalog before the first job needs it. Raises what that job would."""
        ...

    async def probe(self) -> None:
        """One round trip that changes nothing. Raises Outage or SweepFailure (wrong password) while the database cannot be used."""
        ...

    async def inspect(self) -> Table:
        """Validate the plan against the table: it exists, its key is unique and NOT NULL, columns and types fit, the role has
        the rights, and the ``sql`` conditions parse. Raises SweepFailure with the fix in its message."""
        ...

    async def origin(self) -> str:
        """The database, schema, table and key columns to which the keys belong, see origin.py. Read once for each connection."""
        ...

    async def database(self) -> Database:
        """Which database this is; read again at each call. See ``Database``."""
        ...

    async def table_rows(self) -> int | None:
        """The number of rows of the table: counted, or of a large one estimated. None where neither is possible."""
        ...

    async def now(self) -> str:
        """The database's clock as text: a cutoff."""
        ...

    async def measured(self) -> Measured:
        """Raises what ``measure`` raises."""
        ...

    async def measure(self, query: str) -> Sample:
        """The health of the database: the value of the user's ``query``, or where that is empty all other signals.

        Raises SweepFailure HealthUnsupported for a database other than PostgreSQL."""
        ...

    async def bounds(self) -> tuple[str, Key | None]:
        """The database's clock as text, and the greatest key of the table, where a sweep that starts now ends."""
        ...

    async def count(self, predicate: Predicate, most: int) -> int:
        """Stale rows, counted up to ``most``."""
        ...

    async def oldest(self, predicate: Predicate, search: StaleSearch) -> StaleRows:
        """Since when the oldest stale row has been stale, by the first ``before`` condition, and about how many rows are stale.

        What is not known in time, or only by reading a large table, is left out of the answer.
        """
        ...

    async def cut(
        self,
        predicate: Predicate,
        after: Key | None,
        batch: int,
        most: int,
        until: Key | None = None,
    ) -> Cuts:
        """The next window: up to ``most`` stale rows after ``after`` in key order, up to and including ``until``, in cuts of
        ``batch`` rows."""
        ...

    async def stale(self, scope: Scope, predicate: Predicate, most: int) -> list[SourceRow]:
        """Up to ``most`` rows of the scope that match now, in key order."""
        ...

    async def keys(self, scope: Scope, predicate: Predicate) -> tuple[Key, ...]:
        """The keys of all rows of the scope that match now, in key order."""
        ...

    async def write(self, scope: Scope, predicate: Predicate, *, skip_locked: bool = False) -> Written:
        """Apply the plan's write, in one transaction, to the rows of the scope that match now.

        Rows that still match after it (because of a trigger, a rule or a policy) are ``refused``, the others applied.
        Raises SweepFailure ``WriteRefused`` where the catalog proves that no row can be written."""
        ...


class InspectableSource(Source, Inspector, Protocol):
    """What ``open_source`` returns."""


__all__ = [
    "FEW_ROWS",
    "LOCKS",
    "MOST_ROWS_COUNTED",
    "WRITE_REFUSED",
    "Column",
    "Cut",
    "Cuts",
    "Explanation",
    "InspectableSource",
    "Inspector",
    "Keys",
    "Measured",
    "Predicate",
    "Range",
    "Scope",
    "Source",
    "SourceRow",
    "Table",
    "Tried",
    "Written",
    "refusal",
]
