"""The latest snapshot, shared by all viewers. The provider is read on demand: if nobody watches, nothing is read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from kubesweep.errors import Outage
from kubesweep_console.documents import Schedule, read_schedules
from kubesweep_console.provider import DataProvider, Snapshot
from kubesweep_console.readings import Readings
from kubesweep_console.settings import ConsoleSettings
from kubesweep_console.times import zone_of
from kubesweep_console.views.sweeps import Reading

__all__ = ["Feed", "NextTicks", "View"]

NO_ANSWER = "No answer yet. Still trying."
KEPT_TICKS = 10_000


@dataclass(frozen=True, slots=True)
class View:
    """``version`` changes with the data. ``problem``: why the data may be out of date; empty: they are not."""

    schedules: tuple[Schedule, ...]
    read_at: float
    problem: str
    version: str


class Feed:
    def __init__(self, provider: DataProvider, settings: ConsoleSettings) -> None:
        self._provider, self._settings = provider, settings
        self._reading: asyncio.Task[None] | None = None
        self._read = float("-inf")  # monotonic
        self._changes = 0
        self._began = f"{settings.clock():.0f}"
        self._snapshot = Snapshot((), 0.0)
        self._view = View((), 0.0, "", "")
        self._readings = Readings()

    async def latest(self) -> View:
        """At most ``interval`` seconds old, or as it was when the provider last answered.

        A provider that does not answer in ``patience`` delays no page: its answer is awaited in the background.
        """
        if self._reading is None and time.monotonic() - self._read >= self._settings.interval / 2:
            self._reading = asyncio.create_task(self._renew())
        if (reading := self._reading) is not None:
            await asyncio.wait((reading,), timeout=self._settings.patience)
            if not reading.done():
                late = f"{self._view.version} late"
                return replace(self._view, problem=self._view.problem or NO_ANSWER, version=late)
            reading.result()
        return self._view

    async def close(self) -> None:
        """Give up a reading that is under way."""
        if (reading := self._reading) is not None:
            reading.cancel()
            await asyncio.wait((reading,))

    def readings(self, sweep: str) -> Sequence[Reading]:
        """What was read of a running sweep while somebody watched, the oldest first."""
        return self._readings.of(sweep)

    async def _renew(self) -> None:
        try:
            await self._refresh()
        finally:
            self._reading, self._read = None, time.monotonic()

    async def _refresh(self) -> None:
        try:
            found = await self._provider.snapshot()
        except Outage as error:
            before = self._snapshot
            found = Snapshot(before.documents, before.read_at, f"{error.reason}: {error}", before.version)
        if not self._view.version or (found.documents, found.problem) != (
            self._snapshot.documents,
            self._snapshot.problem,
        ):
            self._changes += 1
        self._snapshot = found
        schedules = read_schedules(found.documents)
        if not found.problem:
            self._readings.observe(schedules, self._settings.clock())
        version = found.version and f"{found.version}{' stale' if found.problem else ''}"
        self._view = View(schedules, found.read_at, found.problem, version or f"{self._began}-{self._changes}")


class NextTicks:
    """The next tick of a schedule, and its zone. Computing one takes longer than the rest of its row, so it is kept until it has
    passed."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self._known: dict[tuple[object, ...], tuple[float | None, str]] = {}

    def __call__(self, schedule: Schedule) -> tuple[float | None, str]:
        spec = schedule.spec
        key = (str(spec.get("schedule")), str(spec.get("every")), str(spec.get("timeZone")))
        kept = self._known.get(key)
        if kept is None or (kept[0] is not None and kept[0] <= self.now):
            ticks = schedule.ticks
            if len(self._known) >= KEPT_TICKS:
                self._known.clear()
            kept = self._known[key] = None if ticks is None else ticks.next(self.now), zone_of(ticks)
        return kept
