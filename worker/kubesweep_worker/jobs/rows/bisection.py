"""Find the rows that are to blame: a write that fails is divided until it succeeds or is a single row.

Each piece is a transaction of its own, so what was applied stays applied whatever happens to the rest. Three things end a
division. A row that is refused alone fails. A row that is locked alone leaves as a retry that spends no attempt. A row
that times out alone spends an attempt, but only where something shows that the database works: another write succeeded
since, or the row failed before. An outage or a shutdown in the middle is an ``Interrupted`` that says what was achieved
and which keys were not reached.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Sequence

from kubesweep.errors import KubesweepError, Outage, RowError, ScopeOutage
from kubesweep.queue.model import Key
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.jobs.context import Desk
from kubesweep_worker.jobs.rows.settlement import Failure, Tally, defect
from kubesweep_worker.sources.base import LOCKS, Keys, Scope, Source

TIMEOUT = "StatementTimeout"
PIECES = 8  # of a scope that timed out or was locked: every level of the division waits for one more timeout
FRUITLESS = (4, 2)  # pieces in a row, all of them locked, that end the search in up to SMALL keys, and in more
SMALL = 64
SILENCE = 3  # single rows in a row that time out while nothing shows that the database works
SETBACKS = 2  # a job that was given back so often because all of it failed is not given back once more


class Interrupted(KubesweepError):
    """A write stopped half-way: ``tally`` is settled already in the database, ``remaining`` was not (surely) reached."""

    def __init__(self, tally: Tally, remaining: tuple[Key, ...], cause: BaseException) -> None:
        super().__init__(str(cause))
        self.tally, self.remaining, self.cause = tally, remaining, cause


async def write_once(
    source: Source, scope: Scope, cutoff: str, excluded: Collection[Key], tally: Tally, *, skip_locked: bool = False
) -> None:
    """One write, with a second try that skips rows locked by others. Raises RowError, Outage, SweepFailure.

    A defect of ours counts as a refusal: halving finds the row that provokes it, and the others are written.
    """
    try:
        try:
            written = await source.write(scope, cutoff, excluded, skip_locked=skip_locked)
        except Outage as outage:
            if skip_locked or outage.reason not in LOCKS:
                raise
            written = await source.write(scope, cutoff, excluded, skip_locked=True)
    except (KubesweepError, MemoryError):
        raise
    except Exception as error:
        raise defect(error) from error
    tally.add(written)


async def write_keys(
    desk: Desk,
    run: JobRun,
    keys: tuple[Key, ...],
    cutoff: str,
    tally: Tally,
    *,
    failed: RowError | ScopeOutage | None = None,
) -> None:
    """Write exactly ``keys``. Refused rows are added to ``tally.failed``, locked ones to ``tally.locked``.

    ``failed``: what a write of all of them raised just now. Raises Interrupted, SweepFailure, LeaseLost.
    """
    await _Division(desk, run, cutoff, await desk.excluded(run.claim.job), tally).write_all(keys, failed)


def pieces(keys: tuple[Key, ...], most: int) -> list[tuple[Key, ...]]:
    return [keys[at : at + most] for at in range(0, len(keys), most)]


class _Division:
    def __init__(self, desk: Desk, run: JobRun, cutoff: str, excluded: Collection[Key], tally: Tally) -> None:
        self.desk, self.run, self.cutoff, self.excluded, self.tally = desk, run, cutoff, excluded, tally
        self.began = desk.settings.monotonic()
        self.most = desk.batch.most  # keys in one statement
        self.batch_hint: int | None = (
            None  # keys in one statement that follow from a timeout which no single row explains
        )
        self.skip_locked = False  # a lock was met: the try that waits for it is left out
        self.slow: list[tuple[Key, ScopeOutage]] = []
        self.silent = 0  # single rows that timed out since something was written
        self.gave_up: ScopeOutage | None = None

    async def write_all(self, keys: tuple[Key, ...], failed: RowError | ScopeOutage | None) -> None:
        locked = len(self.tally.locked)
        try:
            if failed is not None and len(keys) > 1:
                await self._divide(keys, failed)
            elif keys:
                await self._write(keys)
            if self.slow:
                await self._convict()
        except Interrupted as stop:
            slow = tuple(key for key, _ in self.slow)
            raise Interrupted(self.tally, slow + stop.remaining, stop.cause) from stop.cause
        finally:
            if self.batch_hint is not None:
                self.desk.batch.shrink(self.batch_hint)
        if self.gave_up is not None and not self._vouched() and not self.run.claim.job.is_retry:
            remaining = tuple(self.tally.locked[locked:])
            del self.tally.locked[locked:]
            raise Interrupted(self.tally, remaining, self.gave_up)
        if self.batch_hint is None:
            self.desk.batch.clean(len(keys))

    async def _write(self, part: tuple[Key, ...]) -> None:
        if len(part) > self.most:
            return await self._each(pieces(part, self.most))
        self.run.checkpoint()
        applied = self.tally.applied
        try:
            source = self.desk.source
            await write_once(source, Keys(part), self.cutoff, self.excluded, self.tally, skip_locked=self.skip_locked)
        except (RowError, ScopeOutage) as error:
            if len(part) > 1:
                await self._divide(part, error)
            else:
                await self._alone(part[0], error)
        except (Outage, asyncio.CancelledError) as cause:
            raise Interrupted(self.tally, part, cause) from cause
        else:
            if self.tally.applied > applied:
                self.silent = 0
                self.desk.wrote()
        return None

    async def _divide(self, part: tuple[Key, ...], error: RowError | ScopeOutage) -> None:
        """``part`` failed as a whole."""
        if isinstance(error, RowError):
            return await self._each(pieces(part, (len(part) + 1) // 2))
        size = math.ceil(len(part) / PIECES)
        if error.reason in LOCKS:
            self.skip_locked = True
            return await self._each(pieces(part, size), error, FRUITLESS[len(part) > SMALL])
        before, found = self.most, len(self.slow)
        self.most = min(self.most, size)
        await self._each(pieces(part, size))
        if len(self.slow) == found:
            self.batch_hint = min(size, self.batch_hint or size)
        else:  # a single row explains it
            self.most = min(before, self.batch_hint or before)
        return None

    async def _each(
        self, parts: Sequence[tuple[Key, ...]], locked: ScopeOutage | None = None, patience: int | None = None
    ) -> None:
        """``patience``: pieces in a row without a row applied after which the others count as ``locked`` too."""
        fruitless = 0
        for at, part in enumerate(parts):
            rest = tuple(key for other in parts[at + 1 :] for key in other)
            applied, known = self.tally.applied, len(self.tally.locked)
            try:
                await self._write(part)
            except Interrupted as stop:
                raise Interrupted(self.tally, stop.remaining + rest, stop.cause) from stop.cause
            barren = self.tally.applied == applied and len(self.tally.locked) - known == len(part)
            fruitless = fruitless + 1 if barren else 0
            if rest and patience is not None and fruitless >= patience:
                self.tally.locked.extend(rest)
                self.gave_up = locked
                return

    async def _alone(self, key: Key, error: RowError | ScopeOutage) -> None:
        if isinstance(error, RowError):
            self.tally.fail(key, error)
        elif error.reason in LOCKS:
            self.skip_locked = True
            self.tally.locked.append(key)
        elif error.reason == TIMEOUT:
            self.slow.append((key, error))
            self.silent += 1
            if self.silent >= SILENCE and not self._vouched():
                raise Interrupted(self.tally, (), error)
        else:
            raise Interrupted(self.tally, (key,), error)

    async def _convict(self) -> None:
        """Rows that timed out alone fail, where the database works for others."""
        if not self._vouched():
            if len(self.slow) > 1 or self.run.claim.job.rows > 1:
                raise Interrupted(self.tally, (), self.slow[-1][1])
            try:
                await self.desk.source.probe()
            except Outage as outage:
                raise Interrupted(self.tally, (), outage) from outage
        plan = self.desk.plan
        message = (
            f"writing this row alone takes longer than source.statementTimeout ({plan.source.statement_timeout:g} s), so "
            "a smaller limits.batchRows does not help: raise the timeout, or make its triggers and foreign keys cheaper"
        )
        self.tally.failed.extend(Failure(key, TIMEOUT, message) for key, _ in self.slow)

    def _vouched(self) -> bool:
        """Something shows that the database works, or nothing will: this job came back several times."""
        job = self.run.claim.job
        convicted = job.is_retry and job.attempt > 1
        return convicted or job.whole_failures >= SETBACKS or self.desk.wrote_since(self.began)
