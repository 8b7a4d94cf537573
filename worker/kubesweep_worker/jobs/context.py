"""What every job needs at hand: the plan, the source, the effect, and a queue that is asked again until it answers.

Invariant: a result that was achieved is never dropped because the queue is away; it waits here, with its lease extended
by the heartbeat, until the queue takes it or the worker is told to stop now.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from kubesweep.api.plan import Plan
from kubesweep.errors import LeaseLost, Outage
from kubesweep.queue.model import (
    MESSAGE,
    Budget,
    Claim,
    ExcludedRows,
    Finding,
    Job,
    Key,
    Settlement,
    SweepState,
    Window,
)
from kubesweep.queue.service import Opened, QueueService, Settled
from kubesweep.scheduling import sweep_request
from kubesweep.text import clip
from kubesweep_worker.effects.base import Effect
from kubesweep_worker.flow_control.backoff import outage_delay
from kubesweep_worker.flow_control.batch_size import Batch
from kubesweep_worker.flow_control.circuit_breaker import Breaker, Gate
from kubesweep_worker.flow_control.rate_limiter import Pace
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.jobs.rows.refused_writes import Refusals
from kubesweep_worker.jobs.rows.settlement import Tally, settlement
from kubesweep_worker.phrases import sentence
from kubesweep_worker.settings import WorkerSettings
from kubesweep_worker.sources.base import Source

log = logging.getLogger("kubesweep.worker")
T = TypeVar("T")
LOGGED = 1000  # sweeps and error classes that are remembered as logged


class Done(msgspec.Struct, frozen=True):
    """Settle this; it may wait for company. ``worked``: database and receiver responded."""

    settlement: Settlement
    worked: bool = True


class Return(msgspec.Struct, frozen=True):
    """Give this back as it is."""

    claim: Claim


class Gone(msgspec.Struct, frozen=True):
    """The claim is settled or lost already. ``worked``: something was achieved, so the world is well."""

    worked: bool = False


Result = Done | Return | Gone

REPEAT = 60.0  # seconds after which a success is reported again: another worker may have reported otherwise since


class EffectOutage(Outage):
    """An Outage of the effect's receiver, not of the database, which fails in the same words."""

    def __init__(self, outage: Outage) -> None:
        super().__init__(outage.reason, str(outage), retry_after=outage.retry_after)


class Desk:
    def __init__(
        self, plan: Plan, queue: QueueService, source: Source, effect: Effect | None, settings: WorkerSettings
    ) -> None:
        self.plan, self.queue, self.source, self.effect, self.settings = plan, queue, source, effect, settings
        self.ref, self.mine, self.limits = plan.ref, plan.version, plan.queue_limits
        self.limits = msgspec.structs.replace(self.limits, lease=settings.lease)
        self.gate = Gate(settings.backoff, settings.max_backoff, settings.random)
        self.breaker = Breaker()
        # An edit of these two makes the learnt size worthless, and is no other plan.
        pace = f"{plan.limits.batch_rows}/{plan.source.statement_timeout:g}"
        self.batch = Batch(plan.limits.batch_rows, f"{plan.version.hash}/{pace}")
        self.calls = asyncio.Semaphore(plan.effect.concurrency if plan.effect else 1)
        self.refusals = Refusals(self._applied)
        self.consumer = ""
        self.draining = False
        self.stopping = asyncio.Event()  # ends the waits of those who draining concerns
        rate = self.limits.rows_per_second
        self.pace = Pace(rate, settings, self._reserve, self.stopping) if effect is not None and rate else None
        self.touch: Callable[[], None] = lambda: None  # waiting for the queue is no hang: all deadlines start anew
        self.strangers: set[str] = set()  # origins whose sweep this process replaced
        self.quiet_until = 0.0  # met a newer plan: claim nothing before this (monotonic)
        self._excluded: tuple[str, ExcludedRows] | None = None
        self._wrote = -math.inf
        self._held_version = 0
        self._asking = asyncio.Lock()  # many jobs start at once and want the same answer
        self._logged: set[tuple[str, str]] = set()  # sweep and error class
        self._said: dict[str, tuple[bool, str]] = {}
        self._said_at: dict[str, float] = {}

    async def insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Ask the queue until it answers, with growing pauses; once the worker drains, no longer than its patience."""
        strikes, began = 0, self.settings.monotonic()
        while True:
            try:
                return await call()
            except Outage as error:
                strikes += 1
                if self.draining and self.settings.monotonic() - began > self.settings.patience:
                    raise
                if strikes == 1:
                    log.warning("the queue is away, results are kept in hand", extra={"reason": error.reason})
                self.touch()
                await self.settings.sleep(self.pause(strikes, error))
                self.touch()

    async def _applied(self) -> int:
        """Rows that all workers together applied in the latest sweep."""
        (stats,) = await self.insist(lambda: self.queue.stats([self.ref]))
        return stats.sweep.applied if stats.sweep is not None else 0

    async def _reserve(self, rows: int) -> Budget:
        return await self.insist(lambda: self.queue.reserve(self.ref, rows, self.limits))

    def pause(self, strikes: int, error: Outage | None = None) -> float:
        s = self.settings
        return outage_delay(strikes, s.backoff, s.max_backoff, s.random, error.retry_after if error else None)

    def wrote(self) -> None:
        """A write applied rows: the database works."""
        self._wrote = self.settings.monotonic()

    def wrote_since(self, moment: float) -> bool:
        return self._wrote >= moment

    def saw_held_version(self, version: int) -> None:
        self._held_version = version

    async def excluded(self, job: Job) -> frozenset[Key]:
        """Rows that this job must leave alone. A held job works on held rows: nothing is kept from it."""
        if job.is_retry:
            return frozenset()
        return (await self.excluded_rows(await self.source.origin())).keys

    async def excluded_rows(self, origin: str) -> ExcludedRows:
        """The held set as a job of this origin sees it; asked again only after it changed."""
        if (known := self._fresh(origin)) is not None:
            return known
        async with self._asking:
            if (known := self._fresh(origin)) is None:
                known = await self.insist(lambda: self.queue.excluded(self.ref, origin))
                self._excluded, self._held_version = (origin, known), known.version
        return known

    def _fresh(self, origin: str) -> ExcludedRows | None:
        if self._excluded is None or self._excluded[0] != origin or self._excluded[1].version != self._held_version:
            return None
        return self._excluded[1]

    def settlement(
        self, run: JobRun, tally: Tally, *, jobs: tuple[Job, ...] = (), rest: Job | None = None
    ) -> Settlement:
        if tally.failed:
            self._log_first(run.claim.job.sweep, tally)
        made = settlement(run.claim, tally, self.plan.retry, self.settings.random, jobs=jobs, rest=rest)
        news = self.batch.news()
        return made if news is None else msgspec.structs.replace(made, batch_hint=news)

    def _log_first(self, sweep: str, tally: Tally) -> None:
        """The traceback of the first failure of each error class and sweep; the others are told by the dead letters."""
        for failure in tally.failed:
            if failure.cause is None or (sweep, failure.error) in self._logged:
                continue
            if len(self._logged) >= LOGGED:
                self._logged.clear()
            self._logged.add((sweep, failure.error))
            log.warning(
                "the first row of this sweep that fails with %s: %s",
                failure.error,
                clip(failure.message, 300),
                exc_info=failure.cause,
                extra={"sweep": sweep, "key": list(failure.key)},
            )

    async def progress(self, run: JobRun, part: Settlement) -> None:
        """Settle a part and go on with its ``rest``. Raises LeaseLost."""
        run.checkpoint()
        if self.pace is not None:
            part = self.pace.settled(run, part)
        assert part.rest is not None
        settling = asyncio.ensure_future(
            self.insist(lambda: self.queue.settle(self.ref, self.consumer, (part,), 0, self.limits))
        )
        try:
            await asyncio.shield(settling)
        except BaseException:
            # A stop. Nearly always the answer is on its way: with it the job is given back as what is left of it.
            try:
                await asyncio.wait({settling}, timeout=self.settings.grace)
            finally:
                if settling.done() and not settling.cancelled() and settling.exception() is None:
                    self._settled(run, part, settling.result())
                else:  # Counted or not, nobody knows: given back as it was, its rows might count twice. The queue's own copy counts.
                    run.lost = True
                    settling.cancel()
            raise
        self._settled(run, part, settling.result())

    def _settled(self, run: JobRun, part: Settlement, answer: Settled) -> None:
        """``run.claim`` is what is left of the job. Raises LeaseLost."""
        if run.claim.id in answer.lost:
            raise LeaseLost(f"job {run.claim.id} was lost before its part was settled")
        if part.retry or part.dead:
            self._excluded = None  # a row that just failed must not be met again in the same job
        assert part.rest is not None
        run.claim = msgspec.structs.replace(run.claim, job=part.rest)
        run.touch()

    async def advance(self, run: JobRun, window: Window) -> bool:
        run.checkpoint()
        return await self.insist(lambda: self.queue.advance(self.ref, run.claim, window))

    async def end_sweep(self, run: JobRun, state: SweepState, reason: str, message: str) -> bool:
        return await self.insist(
            lambda: self.queue.end_sweep(self.ref, run.claim, state, reason, clip(message, MESSAGE))
        )

    async def open_instead_of(self, sweep: str) -> Opened:
        """A sweep by this worker's plan after one that it ended. By name and the queue's clock: this one may be wrong."""
        plan, once = self.plan, f"instead of {sweep}"
        request = sweep_request(plan, None, dedup_key=once)
        return await self.insist(lambda: self.queue.open_sweep(self.ref, request))

    async def report(self, kind: str, ok: bool, reason: str, message: str, *, again: bool = False) -> None:
        """Tell the queue what changed; the same finding twice is said once. Never fails. ``again``: say it however
        often."""
        if self._said.get(kind) == (ok, reason) and not again:
            return
        self._said[kind] = said = (ok, reason)  # before it is: many jobs learn the same at once
        self._said_at[kind] = self.settings.monotonic()
        finding = Finding(kind, ok, reason, clip(message, MESSAGE), self.mine)
        arrived = False
        try:
            await self.queue.report(self.ref, finding)
            arrived = True
        except Outage:
            return
        finally:
            if not arrived and self._said.get(kind) is said:
                self._said.pop(kind)

    async def well(self, kind: str, *, cured: str | None = None) -> None:
        """Work of this kind succeeded: say so if this process said otherwise, or nothing, before, or long ago. ``cured``:
        only the trouble with this reason is known to be over."""
        ok, reason = self._said.get(kind, (False, ""))
        if ok:
            again = self.settings.monotonic() - self._said_at.get(kind, 0.0) > REPEAT
            if again and cured is None:
                await self.report(kind, True, "Works", "work succeeded", again=True)
        elif cured is None or reason in ("", cured):
            await self.report(kind, True, "Works", "work succeeded")

    async def report_outage(self, outage: Outage) -> None:
        """Report why a job is given back."""
        waits = "The rows wait for it and spend no attempt; it goes on by itself."
        if isinstance(outage, EffectOutage):
            return await self.report("Effect", False, outage.reason, f"{sentence(str(outage))} {waits}")
        table = self.plan.source.table
        return await self.report("SourceReady", False, outage.reason, f"table {table}: {sentence(str(outage))} {waits}")

    def shut(self, outage: Outage) -> None:
        """The world is unwell: claim nothing for a while."""
        seconds = self.gate.shut(outage, self.settings.monotonic())
        self.breaker.reset()
        log.warning(
            "claiming pauses: %s", clip(str(outage), 300), extra={"reason": outage.reason, "seconds": round(seconds, 2)}
        )
