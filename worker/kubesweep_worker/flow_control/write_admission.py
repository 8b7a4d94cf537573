"""Every write asks here whether it may start, and waits while the health of the database is bad or unknown.

Without a rate to multiply, a factor is kept as the share of time in which this worker writes: after a write that took 0.2 s it waits for
another 0.2 s at factor 0.5. A sweep that yields to the application does so with a rate too, and does one write at a time, in small
transactions: the application is late by as long as the longest of them takes (bench/RESULTS.md, "An application beside a sweep").
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from kubesweep.errors import KubesweepError, Outage
from kubesweep.queue.model import HealthLimits, Pace
from kubesweep_worker.flow_control.first_of import first_of
from kubesweep_worker.flow_control.health_level import UNKNOWN, Decision
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.phases import THROTTLED
from kubesweep_worker.settings import WorkerSettings

SLEEP = 5.0  # longest single wait in seconds, after which the job restarts its deadline
LONGEST_PAUSE = 30.0  # seconds after one write, unless the sweep is paused
SMALL = 200  # rows of a transaction while the sweep yields
IDLE = 30.0  # seconds without a write, after which nothing is measured


class Database(Protocol):
    """The part of the source that is needed here."""

    async def probe(self) -> None: ...

    async def origin(self) -> str: ...


class TooLarge(KubesweepError):
    """The sweep began to yield while this write waited: divide it into writes of at most ``most`` rows."""

    most = SMALL


class Admitted:
    """One write. A class instead of a generator, because each job without an effect enters it: that takes 1 us less."""

    __slots__ = ("_admission", "_began", "_rows", "_run")

    def __init__(self, admission: WriteAdmission, run: JobRun, rows: int) -> None:
        self._admission, self._run, self._rows, self._began = admission, run, rows, 0.0

    async def __aenter__(self) -> None:
        self._began = await self._admission.begin(self._run, self._rows)

    async def __aexit__(self, *_: object) -> None:
        self._admission.end(self._began)


class WriteAdmission:
    """``database``: where it cannot be used, its error releases the job as for any outage."""

    def __init__(self, pace: Pace, settings: WorkerSettings, database: Database) -> None:
        self._settings, self._database = settings, database
        self.pace = pace
        self.decision: Decision | None = None  # None: nothing was measured since the last write
        self.wanted = asyncio.Event()  # a write waits, or the limits changed
        self._changed = asyncio.Event()
        self._writing = 0  # writes that were admitted and have not ended
        self._busy = 0.0  # seconds that the latest write took
        self._ended = self._used = settings.monotonic()

    @property
    def limits(self) -> HealthLimits | None:
        return self.pace.enforced_health

    @property
    def factor(self) -> float:
        return 1.0 if self.limits is None or self.decision is None else self.decision.factor

    @property
    def yields(self) -> bool:
        return self.limits is not None and self.decision is not None and self.decision.yields

    @property
    def waits(self) -> bool:
        """Whether the next write may have to wait."""
        return self._closed or self.factor < 1

    @property
    def idle(self) -> bool:
        return not self._writing and self._settings.monotonic() - self._used > IDLE

    def use(self, pace: Pace) -> None:
        """A job that waited for the health does not start after it while a person has paused the sweep."""
        before, self.pace = self.pace, pace
        if pace.enforced_health != before.enforced_health:
            self.decision = None
            self.wanted.set()
            self._notify()
        elif pace.paused != before.paused:
            self._notify()

    def decide(self, decision: Decision | None) -> None:
        before, self.decision = self.decision, decision
        if before is None or decision is None or (before.factor, before.yields) != (decision.factor, decision.yields):
            self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def admitted(self, run: JobRun, rows: int = 1) -> Admitted:
        """``async with`` waits until a write of this many rows may start. Raises TooLarge, and what the database raises. A stop
        cancels the wait."""
        return Admitted(self, run, rows)

    async def begin(self, run: JobRun, rows: int) -> float:
        """Wait until a write may start. Returns when it does."""
        if self.limits is not None:
            phase = run.enter(THROTTLED)
            await self._admit(run)
            run.enter(phase)
            if rows > SMALL and self.yields:
                raise TooLarge(f"{rows} rows are too many for one transaction of a sweep that yields")
        self._writing += 1
        return self._settings.monotonic()

    def end(self, began: float) -> None:
        self._writing -= 1
        self._ended = self._used = self._settings.monotonic()
        self._busy = self._ended - began
        if self.yields:
            self._notify()  # the next one waits for the end of this one

    async def _admit(self, run: JobRun) -> None:
        while True:
            await self._open(run)
            if (left := self._left()) <= 0:
                return
            await self._wait(run, left)

    def _left(self) -> float:
        """Seconds until the next write may start, or until it is asked again. A rate is multiplied by the factor instead, and a sweep
        that yields also pauses then: its rate may be more than it writes anyway."""
        if self.pace.rate is not None and not self.yields:
            return 0.0
        if self._writing and self.yields:
            return SLEEP
        pause = min(LONGEST_PAUSE, self._busy * (1 / self.factor - 1))
        return self._ended + pause - self._settings.monotonic()

    @property
    def _closed(self) -> bool:
        return self.limits is not None and (self.pace.paused or self.decision is None or not self.decision.factor)

    async def _open(self, run: JobRun) -> None:
        while self._closed:
            while self._closed:
                self._used = self._settings.monotonic()
                self.wanted.set()
                if not await self._wait(run, SLEEP) and (self.decision is None or self.decision.reason == UNKNOWN):
                    await self._database.probe()
            origin = run.claim.job.origin
            # Another pause may begin while the origin is read. The job that is claimed again ends its sweep.
            if origin and origin != await self._database.origin():
                raise Outage("TableChanged", "the URL leads to another database since the sweep was paused")

    async def _wait(self, run: JobRun, seconds: float) -> bool:
        """True where another decision ended the wait."""
        until, changed = self._settings.monotonic() + seconds, self._changed
        while (left := until - self._settings.monotonic()) > 0:
            run.checkpoint()
            await first_of(self._settings.sleep(min(left, SLEEP)), changed.wait())
            if changed.is_set():
                return True
        run.checkpoint()
        return False
