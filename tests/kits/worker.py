"""A Source in memory, and a workbench that runs real workers on a real SQLite queue."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from kubesweep.api.plan import Assignment, Effect, Match, Plan, RetryPolicy, RowLimits, Source, Write
from kubesweep.errors import RowError, ScopeOutage, Skip
from kubesweep.queue.model import (
    Database,
    DeadLetter,
    Key,
    Sample,
    ScheduleRef,
    StaleRows,
    Stats,
    SweepRequest,
    SweepState,
)
from kubesweep.queue.sqlite.queue import SqliteQueue
from kubesweep_worker.effects.base import Delivery
from kubesweep_worker.runtime.worker import Worker
from kubesweep_worker.settings import WorkerSettings
from kubesweep_worker.sources.base import (
    Column,
    Cut,
    Cuts,
    Keys,
    Measured,
    Predicate,
    Range,
    Scope,
    SourceRow,
    Table,
    Written,
)
from kubesweep_worker.sources.stale_search import StaleSearch
from tests.kits.deadlines import scaled
from tests.kits.overheard import Overheard
from tests.kits.scripted_effect import ScriptedEffect as ScriptedEffect

TIMEOUT = Source(table="").statement_timeout  # what a cost of 1 takes, in seconds


def key(number: int) -> Key:
    return (f"{number:05d}",)


def a_plan(**changes: Any) -> Plan:
    ref = ScheduleRef.local("default", "test")
    fields: dict[str, Any] = {
        "namespace": "default",
        "name": "test",
        "uid": ref.uid,
        "source": Source(table="rows"),
        "match": (Match("in", "status", ("old",)),),
        "write": Write(update=(Assignment("status", "new"),)),
        "limits": RowLimits(batch_rows=100),
        "retry": RetryPolicy(max_attempts=3, backoff=0.2, max_backoff=0.4),
    }
    return Plan(**{**fields, **changes})


class MemorySource:
    """Rows 0..n-1, all stale.

    ``poison``: keys whose write is refused. ``locked``: keys that the application has locked. ``child_locked``: keys with a
    referencing row that the application has locked. ``cursed``: keys that provoke an unexpected exception, by the call's
    name. ``down``: called at the start of each call, to raise an error. A statement whose rows cost more than 1 times out:
    ``write_cost`` and ``read_cost`` apply to each row, ``slow`` has the cost of single rows.
    """

    def __init__(self, rows: int) -> None:
        self.stale_keys = {key(i) for i in range(rows)}
        self.poison: set[Key] = set()
        self.cursed: dict[str, set[Key]] = {}
        self.locked: set[Key] = set()
        self.refused: set[Key] = set()  # left unchanged without an error
        self.child_locked: set[Key] = set()
        self.slow: dict[Key, float] = {}
        self.write_cost = self.read_cost = 0.0
        self.timeouts: list[int] = []  # the number of rows of each statement that timed out
        self.elapsed = 0.0  # seconds that all statements took: add them to a clock, where they matter
        self.lock_waits = 0
        self.signals: dict[str, float | None] = {}  # what ``measure`` finds
        self.oldest_row: Callable[[], StaleRows] = lambda: StaleRows(len(self.stale_keys))
        self.warnings: tuple[tuple[str, str], ...] = ()
        self.stamp = "t0"
        self.down: Callable[[str], None] = lambda call: None
        self.unchanged: set[Key] = set()  # rows that match after their write
        self.where = "rows(id) #here"
        self.identity = Database("7291/shop/16384", 1)
        self.size: int | None = rows  # of the whole table, as the database knows it
        self.note: object = None  # a value of each row
        self.reads: list[int] = []  # the number of rows of each read
        self.windows: list[int] = []  # the limit of rows of each cut
        self.writes: list[tuple[Key, ...]] = []
        self.writes_allowed = asyncio.Event()  # cleared where a test blocks writes
        self.writes_allowed.set()
        self.writing = asyncio.Event()

    def _in(self, scope: Scope, excluded: Collection[Key]) -> list[Key]:
        if isinstance(scope, Keys):
            found = [k for k in scope.keys if k in self.stale_keys]
        else:
            low, high = scope.low or ("",), scope.high or ("~",)
            found = [k for k in self.stale_keys if low < k <= high]
        return sorted(k for k in found if k not in excluded)

    def _curse(self, call: str, keys: Collection[Key]) -> None:
        if self.cursed.get(call, set()) & set(keys):
            raise ZeroDivisionError

    def _spend(self, rows: list[Key], cost: float, own: dict[Key, float]) -> None:
        took = sum(own.get(k, cost) for k in rows)
        self.elapsed += min(1.0, took) * TIMEOUT
        if took > 1:
            self.timeouts.append(len(rows))
            raise ScopeOutage("StatementTimeout", "canceling statement due to statement timeout")

    def _wait_for_locks(self, rows: list[Key]) -> None:
        if any(k in self.child_locked for k in rows):
            self.lock_waits += 1
            raise ScopeOutage("Locked", "canceling statement due to lock timeout")

    async def close(self) -> None:
        return None

    async def warm(self) -> None:
        return None

    async def probe(self) -> None:
        self.down("probe")

    async def inspect(self) -> Table:
        self.down("inspect")
        return Table("rows", {"id": Column("id", "text", False)}, ("id",), len(self.stale_keys), self.warnings)

    async def origin(self) -> str:
        return self.where

    async def database(self) -> Database:
        self.down("database")
        return self.identity

    async def table_rows(self) -> int | None:
        self.down("table_rows")
        return self.size

    async def measured(self) -> Measured:
        return Measured("7291/shop", 16384)

    async def measure(self, query: str) -> Sample:
        self.down("measure")
        return Sample(dict(self.signals))

    async def now(self) -> str:
        self.down("now")
        return "2026-01-01 00:00:00+00"

    async def bounds(self) -> tuple[str, Key | None]:
        return await self.now(), max(self.stale_keys, default=None)

    async def count(self, predicate: Predicate, most: int) -> int:
        self.down("count")
        return min(most, len(self._in(Range(), predicate.excluded)))

    async def oldest(self, predicate: Predicate, search: StaleSearch) -> StaleRows:
        self.down("oldest")
        return self.oldest_row()

    async def cut(
        self,
        predicate: Predicate,
        after: Key | None,
        batch: int,
        most: int,
        until: Key | None = None,
    ) -> Cuts:
        self.down("cut")
        self.windows.append(most)
        found = self._in(Range(after, until), predicate.excluded)
        taken = found[:most]
        edges = [taken[i : i + batch] for i in range(0, len(taken), batch)]
        lows = [after, *(part[-1] for part in edges)]
        cuts = tuple(Cut(Range(low, part[-1]), len(part)) for low, part in zip(lows, edges, strict=False))
        return Cuts(cuts, len(taken), taken[-1] if len(found) > len(taken) else None)

    async def stale(self, scope: Scope, predicate: Predicate, most: int) -> list[SourceRow]:
        self.down("stale")
        found = self._in(scope, predicate.excluded)[:most]
        self._curse("stale", found)
        self._spend(found, self.read_cost, {})
        self.reads.append(len(found))
        return [SourceRow(k, {"id": k[0], "note": self.note}, (self.stamp,)) for k in found]

    async def keys(self, scope: Scope, predicate: Predicate) -> tuple[Key, ...]:
        self.down("keys")
        found = self._in(scope, predicate.excluded)
        self._spend(found, self.read_cost, {})
        return tuple(found)

    async def write(self, scope: Scope, predicate: Predicate, *, skip_locked: bool = False) -> Written:
        self.writing.set()
        await self.writes_allowed.wait()
        self.down("write")
        found = self._in(scope, predicate.excluded)
        taken = [k for k in found if k not in self.locked]
        if len(taken) < len(found) and not skip_locked:
            raise ScopeOutage("Locked", "lock timeout")
        self._curse("write", taken)
        self._wait_for_locks(taken)
        self._spend(taken, self.write_cost, self.slow)
        if any(k in self.poison for k in taken):
            raise RowError("23505", "duplicate")
        if taken and self.unchanged.issuperset(taken):
            self.writes.append(tuple(taken))
            return Written(0, still_stale=len(taken), refused=tuple(taken))
        left = self.refused | self.unchanged
        refused, taken = [k for k in taken if k in left], [k for k in taken if k not in left]
        self.writes.append(tuple(taken))
        self.stale_keys -= set(taken)
        locked = tuple(k for k in found if k in self.locked)
        return Written(len(taken), locked=locked, refused=tuple(refused), why="a trigger keeps it")


@dataclass
class Workbench:
    """One schedule and one queue file, for any number of workers."""

    folder: Path
    source: Any
    plan: Plan = field(default_factory=a_plan)
    effect: Any = None
    settings: WorkerSettings = field(
        default_factory=lambda: WorkerSettings(backoff=0.01, max_backoff=0.05, old_plan_pause=0.05)
    )
    clock: Callable[[], float] | None = None
    ticks: Any = field(default_factory=lambda: itertools.count(1000))
    said: list[tuple[str, bool, str]] = field(default_factory=list)  # every reported finding

    def __post_init__(self) -> None:
        self.queue = self.connect()

    def connect(self) -> SqliteQueue:
        path = str(self.folder / "queue.db")
        queue = Overheard(path, clock=self.clock) if self.clock else Overheard(path)
        queue.said = self.said
        return queue

    async def open(self, **changes: Any) -> str:
        sweep_request = SweepRequest(tick=float(next(self.ticks)), plan=self.plan.version, mode=self.plan.mode)
        return (await self.queue.open_sweep(self.plan.ref, msgspec.structs.replace(sweep_request, **changes))).sweep

    def worker(self, **changes: Any) -> Worker:
        settings = dataclasses.replace(self.settings, **changes)
        return Worker(self.plan, self.connect(), self.source, self.effect, settings, self.connect)

    async def sweep(self, *, retries: bool = False) -> Stats:
        """One tick, run to its end by one worker."""
        await self.open()
        return await self.run(retries=retries)

    async def run(self, *, retries: bool = False) -> Stats:
        async with asyncio.timeout(scaled(60)):
            await self.worker().run(until_settled=True, await_retries=retries)
        return await self.stats()

    async def stats(self) -> Stats:
        (stats,) = await self.queue.stats([self.plan.ref])
        assert stats.sweep is not None
        if stats.sweep.state is SweepState.COMPLETED and stats.sweep.mode == "Enforce":
            assert stats.sweep.balanced
        return stats

    async def dead(self) -> tuple[DeadLetter, ...]:
        return await self.queue.dead_letters(self.plan.ref, most=10_000)


def with_effect(plan: Plan, **changes: Any) -> Plan:
    return msgspec.structs.replace(plan, effect=Effect(handler="tests:nothing", **changes))


def skip_first(delivery: Delivery) -> None:
    """A script after which the first sub-batch of a job is settled on its own: a skipped row would be delivered again."""
    if delivery.key == key(0):
        raise Skip
