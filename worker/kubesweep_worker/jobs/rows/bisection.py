"""Find the rows that make a write fail, by bisection: a failing write is divided until it succeeds or is a single row.

Each piece is its own transaction, so what was applied stays applied whatever happens to the rest. A single row ends the
search in one of three ways:

- refused: it fails, and spends an attempt;
- locked by another transaction: it is retried and spends no attempt;
- timed out: it fails, but only where something shows that the database works (another write succeeded since, or the row
  failed before).

An outage or a shutdown raises ``Interrupted``, which has the results so far and the keys that were not reached.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable

from kubesweep.errors import KubesweepError, Outage, RowError, ScopeOutage
from kubesweep.queue.model import Key
from kubesweep_worker.flow_control.batch_size import PIECES
from kubesweep_worker.flow_control.write_admission import TooLarge
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.jobs.context import JobContext
from kubesweep_worker.jobs.rows.settlement import RowFailure, RowResults, defect, failed_before
from kubesweep_worker.phases import WRITE
from kubesweep_worker.sources.base import LOCKS, Keys, Predicate, Scope

TIMEOUT = "StatementTimeout"
MAX_LOCKED_PIECES = (4, 2)  # locked pieces in a row that end the search, among up to SMALL keys and among more
SMALL = 64
MAX_LOCKED_BATCHES = 4  # the same for batches, where a job has several
MAX_TIMEOUTS = 3  # single rows in a row that may time out while nothing shows that the database works
MAX_RELEASES = 2  # a job that was released this often because all of it failed is not released again


class Interrupted(KubesweepError):
    """A write stopped half-way: ``results`` are committed, ``remaining`` may not be."""

    def __init__(self, results: RowResults, remaining: tuple[Key, ...], cause: BaseException) -> None:
        super().__init__(str(cause))
        self.results, self.remaining, self.cause = results, remaining, cause


async def write_once(
    context: JobContext,
    run: JobRun,
    scope: Scope,
    predicate: Predicate,
    results: RowResults,
    *,
    skip_locked: bool = False,
) -> None:
    """One write, with a second try that skips locked rows. Raises RowError, Outage, SweepFailure, LeaseLost, TooLarge.

    An unexpected exception counts as a refusal, so that bisection finds the row that provokes it and the others are written.
    """
    # With an effect, those of these rows have succeeded, so their write must not wait for the health of the database.
    health = context.health
    admitted = contextlib.nullcontext() if context.effect is not None else health.admitted(run, scope.expected)
    clock = context.settings.monotonic
    try:
        async with admitted:
            began = clock()
            run.enter(WRITE, began)
            try:
                written = await context.source.write(scope, predicate, skip_locked=skip_locked)
            except Outage as outage:
                if skip_locked or outage.reason not in LOCKS:
                    raise
                began = clock()  # a wait for locks does not depend on the number of rows
                written = await context.source.write(scope, predicate, skip_locked=True)
    except (KubesweepError, MemoryError):
        raise
    except Exception as error:
        raise defect(error) from error
    seconds = clock() - began
    context.batch_size.record(scope.expected, written.applied, seconds)
    results.add(written)


async def write_keys(
    context: JobContext,
    run: JobRun,
    keys: tuple[Key, ...],
    cutoff: str,
    results: RowResults,
    *,
    failed: RowError | ScopeOutage | None = None,
) -> None:
    """Write exactly ``keys``. Refused rows are added to ``results.failed``, locked ones to ``results.locked``.

    ``failed``: the error of a write of all of them that was just tried. Raises Interrupted, SweepFailure, LeaseLost.
    """
    predicate = await context.predicate(run.claim.job, cutoff)
    await _Bisection(context, run, predicate, results).write_all(keys, failed)


class _Bisection:
    def __init__(self, context: JobContext, run: JobRun, predicate: Predicate, results: RowResults) -> None:
        self.context, self.run, self.predicate, self.results = context, run, predicate, results
        self.began = context.settings.monotonic()
        self.skip_locked = False  # a lock was met: the try that waits for locks is left out
        self.timed_out: list[tuple[Key, ScopeOutage]] = []  # single rows
        self.timeouts_in_a_row = 0  # single rows that timed out since something was written
        self.latest_lock: ScopeOutage | None = None
        self.gave_up: ScopeOutage | None = None

    async def write_all(self, keys: tuple[Key, ...], failed: RowError | ScopeOutage | None) -> None:
        locked = len(self.results.locked)
        try:
            if failed is not None and len(keys) > 1:
                await self._divide(keys, failed)
            elif keys:
                await self._write(keys)
            if self.timed_out:
                await self._fail_timed_out_rows()
        except Interrupted as stop:
            slow = tuple(key for key, _ in self.timed_out)
            raise Interrupted(self.results, slow + stop.remaining, stop.cause) from stop.cause
        if self.gave_up is not None and not self._database_works() and not self.run.claim.job.is_retry:
            remaining = tuple(self.results.locked[locked:])
            del self.results.locked[locked:]
            raise Interrupted(self.results, remaining, self.gave_up)

    async def _write(self, part: tuple[Key, ...]) -> None:
        if len(part) > self.context.batch_size.most:
            return await self._write_each(part, lambda: self.context.batch_size.most, MAX_LOCKED_BATCHES)
        self.run.checkpoint()
        applied = self.results.applied
        try:
            await write_once(
                self.context, self.run, Keys(part), self.predicate, self.results, skip_locked=self.skip_locked
            )
        except TooLarge:
            await self._write_each(part, lambda: min(TooLarge.most, self.context.batch_size.most), MAX_LOCKED_BATCHES)
        except (RowError, ScopeOutage) as error:
            if len(part) > 1:
                await self._divide(part, error)
            else:
                await self._record_single(part[0], error)
        except (Outage, asyncio.CancelledError) as cause:
            raise Interrupted(self.results, part, cause) from cause
        else:
            if self.results.applied > applied:
                self.timeouts_in_a_row = 0
                self.context.record_write()
        return None

    async def _divide(self, part: tuple[Key, ...], error: RowError | ScopeOutage) -> None:
        """``part`` failed as a whole with ``error``."""
        if isinstance(error, RowError):
            return await self._write_each(part, lambda: (len(part) + 1) // 2)
        size = math.ceil(len(part) / PIECES)
        if error.reason in LOCKS:
            self.skip_locked, self.latest_lock = True, error
            return await self._write_each(part, lambda: size, MAX_LOCKED_PIECES[len(part) > SMALL])
        found = len(self.timed_out)
        shrink = self.context.batch_size.record_timeout(len(part))
        await self._write_each(part, lambda: size)
        if len(self.timed_out) > found:  # a single row explains the timeout
            self.context.batch_size.withdraw(shrink)
        return None

    async def _write_each(self, rest: tuple[Key, ...], size: Callable[[], int], max_locked: int | None = None) -> None:
        """Write in pieces of ``size``, which each piece may change. ``max_locked``: after this many locked pieces in a row, the
        other pieces count as locked too."""
        locked_in_a_row = 0
        while rest:
            most = size()
            part, rest = rest[:most], rest[most:]
            applied, locked = self.results.applied, len(self.results.locked)
            try:
                await self._write(part)
            except Interrupted as stop:
                raise Interrupted(self.results, stop.remaining + rest, stop.cause) from stop.cause
            all_locked = self.results.applied == applied and len(self.results.locked) - locked == len(part)
            locked_in_a_row = locked_in_a_row + 1 if all_locked else 0
            if rest and max_locked is not None and locked_in_a_row >= max_locked:
                self.results.locked.extend(rest)
                self.gave_up = self.latest_lock
                return

    async def _record_single(self, key: Key, error: RowError | ScopeOutage) -> None:
        if isinstance(error, RowError):
            self.results.fail(key, error)
        elif error.reason in LOCKS:
            self.skip_locked, self.latest_lock = True, error
            self.results.locked.append(key)
        elif error.reason == TIMEOUT:
            self.timed_out.append((key, error))
            self.timeouts_in_a_row += 1
            if self.timeouts_in_a_row >= MAX_TIMEOUTS and not self._database_works():
                raise Interrupted(self.results, (), error)
        else:
            raise Interrupted(self.results, (key,), error)

    async def _fail_timed_out_rows(self) -> None:
        """Single rows that timed out fail, where the database works for others."""
        if not self._database_works():
            if len(self.timed_out) > 1 or self.run.claim.job.rows > 1:
                raise Interrupted(self.results, (), self.timed_out[-1][1])
            try:
                await self.context.source.probe()
            except Outage as outage:
                raise Interrupted(self.results, (), outage) from outage
        timeout = self.context.plan.source.statement_timeout
        message = (
            f"writing this row alone takes longer than source.statementTimeout ({timeout:g} s), so "
            "a smaller limits.batchRows does not help: raise the timeout, or make its triggers and foreign keys cheaper"
        )
        self.results.failed.extend(RowFailure(key, TIMEOUT, message) for key, _ in self.timed_out)

    def _database_works(self) -> bool:
        """Something shows that the database works, or the job was released often enough that waiting will not show it."""
        job = self.run.claim.job
        return failed_before(job) or job.whole_failures >= MAX_RELEASES or self.context.wrote_since(self.began)
