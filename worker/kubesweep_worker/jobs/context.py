"""What every job gets: the plan, source, effect and settings of its worker, and a queue that is retried until it answers.

Invariant: a result is never dropped because the queue is unavailable. The job keeps it, and the heartbeat extends its lease,
until the queue accepts the settlement or the worker must stop now.
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
    Job,
    Pace,
    Settlement,
    SweepState,
    Window,
    describe_rate,
)
from kubesweep.queue.service import Opened, QueueService, Settled
from kubesweep.scheduling import sweep_request
from kubesweep.text import clip
from kubesweep_worker.effects.base import Effect
from kubesweep_worker.flow_control.backoff import outage_delay
from kubesweep_worker.flow_control.batch_size import BatchSize
from kubesweep_worker.flow_control.claim_breaker import ClaimBreaker
from kubesweep_worker.flow_control.concurrency_limit import ConcurrencyLimit
from kubesweep_worker.flow_control.health_level import Decision
from kubesweep_worker.flow_control.rate_limiter import RateLimiter
from kubesweep_worker.flow_control.read_size import ReadSize
from kubesweep_worker.flow_control.receiver_health import ReceiverHealth
from kubesweep_worker.flow_control.write_admission import SMALL, WriteAdmission
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.jobs.findings import Findings
from kubesweep_worker.jobs.rows.read_ahead import ReadAhead
from kubesweep_worker.jobs.rows.refused_writes import RefusedWrites
from kubesweep_worker.jobs.rows.settlement import RowResults, build_settlement
from kubesweep_worker.phases import READ, SETTLE, THROTTLED
from kubesweep_worker.recorder import Recorder
from kubesweep_worker.settings import WorkerSettings
from kubesweep_worker.sources.base import Predicate, Source

log = logging.getLogger("kubesweep.worker")
T = TypeVar("T")
MAX_LOGGED = 1000  # pairs of sweep and error class whose first traceback is remembered as logged


class Done(msgspec.Struct, frozen=True):
    """Settle the job; the loop may batch settlements. ``succeeded``: database and receiver responded."""

    settlement: Settlement
    succeeded: bool = True


class Release(msgspec.Struct, frozen=True):
    """Give the claim back to the queue as it is."""

    claim: Claim


class Drop(msgspec.Struct, frozen=True):
    """Do nothing: the claim is settled or lost already. ``succeeded``: the database responded to its work."""

    succeeded: bool = False


Result = Done | Release | Drop


class JobContext:
    """``consumer`` is the worker's id in the queue. ``touch_running`` restarts the deadlines of all running jobs: a job that
    only waits for the queue does not hang. ``plan`` and ``limits`` follow the pace that the queue has."""

    def __init__(
        self,
        plan: Plan,
        queue: QueueService,
        source: Source,
        effect: Effect | None,
        settings: WorkerSettings,
        *,
        consumer: str = "",
        touch_running: Callable[[], None] = lambda: None,
        recorder: Recorder | None = None,
    ) -> None:
        self.plan, self.queue, self.source, self.effect, self.settings = plan, queue, source, effect, settings
        self.consumer, self.touch_running = consumer, touch_running
        self.recorder = recorder or Recorder(plan, settings.concurrency, settings.monotonic)
        self.ref, self.plan_version = plan.ref, plan.version
        self._given_plan = plan
        self.limits = msgspec.structs.replace(plan.queue_limits, lease=settings.lease)
        self.findings = Findings(plan, queue, settings)
        self.claim_breaker = ClaimBreaker(settings.backoff, settings.max_backoff, settings.random)
        self.receiver_health = ReceiverHealth()
        # A change of these two invalidates the learned size, and is not part of the plan's hash.
        tuning = f"{plan.limits.batch_rows}/{plan.source.statement_timeout:g}"
        self.batch_size = BatchSize(
            plan.limits.batch_rows,
            f"{plan.version.hash}/{tuning}",
            plan.limits.batch_time,
            plan.source.statement_timeout,
        )
        self.effect_slots = ConcurrencyLimit(plan.effect.concurrency if plan.effect else 1, settings.monotonic)
        self.read_size = ReadSize(settings.sub_batch)
        self.read_ahead = ReadAhead()
        self.refused_writes = RefusedWrites(self._applied)
        self.draining = False
        self.stop_requested = asyncio.Event()  # ends every wait for a slot of the rate limiter
        self.rate_limiter = (
            None
            if effect is None
            else RateLimiter(plan.limits.rows_per_second, settings, self._reserve, self.stop_requested)
        )
        self.health = WriteAdmission(plan.pace, settings, source)
        self.replaced_origins: set[str] = set()  # origins whose sweep this process replaced
        self.no_claims_until = 0.0  # monotonic; set when this worker meets a job of a newer plan
        self._excluded: tuple[str, ExcludedRows] | None = None
        self._excluded_version = 0
        self._excluded_lock = asyncio.Lock()  # many jobs start at once and need the same answer
        self._last_write = -math.inf
        self._logged: set[tuple[str, str]] = set()  # sweep and error class

    def apply_pace(self, pace: Pace | None) -> None:
        """Work at this pace from now on, also in the jobs that run. None (a queue that lost its data): at the one before."""
        if pace is None or pace == self.health.pace:
            return
        if pace.rate != self.health.pace.rate:
            log.info("the rate is now %s", describe_rate(pace.rate), extra={"throttle": pace.throttle})
        self.health.use(pace)
        self._use_rate()

    def apply_health(self, decision: Decision | None) -> None:
        """Work at this share of the pace. None: at the pace, until something is measured."""
        before = self.health.factor, self.health.yields
        self.health.decide(decision)
        if (self.health.factor, self.health.yields) != before:
            self._use_rate()

    def _use_rate(self) -> None:
        pace, factor = self.health.pace, self.health.factor
        rate = 0.0 if not factor else None if pace.rate is None else pace.rate * factor
        self.plan = self._given_plan.at(msgspec.structs.replace(pace, rate=rate))
        self.limits = msgspec.structs.replace(self.plan.queue_limits, lease=self.settings.lease)
        self.batch_size.set_aim(pace.batch_time, SMALL if self.health.yields else None)
        if self.rate_limiter is not None:
            # In a pause the rows whose effect succeeded are written, and the others are read again after it.
            self.rate_limiter.set_rate(rate, wait=bool(factor))

    async def retry_until_answered(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call the queue until it answers, with backoff. Raises Outage once a draining worker has waited ``settings.patience``."""
        failures, began = 0, self.settings.monotonic()
        while True:
            try:
                return await call()
            except Outage as error:
                failures += 1
                if self.draining and self.settings.monotonic() - began > self.settings.patience:
                    raise
                if failures == 1:
                    log.warning(
                        "the queue is unavailable, so results are kept until it responds",
                        extra={"reason": error.reason},
                    )
                self.touch_running()
                await self.settings.sleep(self.backoff_delay(failures, error))
                self.touch_running()

    async def _applied(self) -> int:
        """Rows that all workers together applied in the latest sweep."""
        (stats,) = await self.retry_until_answered(lambda: self.queue.stats([self.ref]))
        return stats.sweep.applied if stats.sweep is not None else 0

    async def _reserve(self, rows: int) -> Budget:
        return await self.retry_until_answered(lambda: self.queue.reserve(self.ref, rows, self.limits))

    def backoff_delay(self, failures: int, error: Outage | None = None) -> float:
        s = self.settings
        return outage_delay(failures, s.backoff, s.max_backoff, s.random, error.retry_after if error else None)

    def record_write(self) -> None:
        """A write applied rows, so the database works."""
        self._last_write = self.settings.monotonic()

    def wrote_since(self, moment: float) -> bool:
        return self._last_write >= moment

    def set_excluded_version(self, version: int) -> None:
        """The queue's current version of the excluded rows; a cached older one is read again."""
        self._excluded_version = version

    async def predicate(self, job: Job, cutoff: str) -> Predicate:
        """What the rows of this job have to match. A retry works on excluded rows, so it excludes none."""
        if job.is_retry:
            return Predicate(cutoff)
        return Predicate(cutoff, (await self.excluded_rows(await self.source.origin())).keys)

    async def excluded_rows(self, origin: str) -> ExcludedRows:
        """The excluded rows of this origin, cached until their version changes."""
        if (cached := self._cached(origin)) is not None:
            return cached
        async with self._excluded_lock:
            if (cached := self._cached(origin)) is None:
                cached = await self.retry_until_answered(lambda: self.queue.excluded(self.ref, origin))
                self._excluded, self._excluded_version = (origin, cached), cached.version
        return cached

    def _cached(self, origin: str) -> ExcludedRows | None:
        if self._excluded is None or self._excluded[0] != origin or self._excluded[1].version != self._excluded_version:
            return None
        return self._excluded[1]

    def settlement(
        self, run: JobRun, results: RowResults, *, jobs: tuple[Job, ...] = (), rest: Job | None = None
    ) -> Settlement:
        """See ``build_settlement``; adds the batch size where this worker changed it."""
        if results.failed:
            self._log_first_failures(run.claim.job.sweep, results)
        made = build_settlement(run.claim, results, self.plan.retry, self.settings.random, jobs=jobs, rest=rest)
        hint = self.batch_size.take_hint()
        return made if hint is None else msgspec.structs.replace(made, batch_hint=hint)

    def _log_first_failures(self, sweep: str, results: RowResults) -> None:
        """Log the traceback of the first failure of each error class and sweep; dead letters have the others."""
        for failure in results.failed:
            if failure.cause is None or (sweep, failure.error) in self._logged:
                continue
            if len(self._logged) >= MAX_LOGGED:
                self._logged.clear()
            self._logged.add((sweep, failure.error))
            log.warning(
                "the first row of this sweep that fails with %s: %s",
                failure.error,
                clip(failure.message, 300),
                exc_info=failure.cause,
                extra={"sweep": sweep, "key": list(failure.key)},
            )

    async def settle_progress(self, run: JobRun, part: Settlement) -> None:
        """Settle a part of the job and continue with its ``rest``. Raises LeaseLost."""
        run.checkpoint()
        run.enter(SETTLE)
        if self.rate_limiter is not None:
            part = self.rate_limiter.settled(run, part)
        assert part.rest is not None
        settling = asyncio.ensure_future(
            self.retry_until_answered(lambda: self.queue.settle(self.ref, self.consumer, (part,), 0, self.limits))
        )
        try:
            await asyncio.shield(settling)
        except BaseException:
            # The worker stops. The answer is usually on its way; with it, only the rest of the job is released.
            try:
                await asyncio.wait({settling}, timeout=self.settings.grace)
            finally:
                if settling.done() and not settling.cancelled() and settling.exception() is None:
                    self._apply_answer(run, part, settling.result())
                else:
                    # The queue may have counted the part. Releasing the whole job could count its rows twice, so the claim
                    # is dropped and the queue's own copy of the job remains.
                    run.lost = True
                    settling.cancel()
            raise
        self._apply_answer(run, part, settling.result())

    def _apply_answer(self, run: JobRun, part: Settlement, answer: Settled) -> None:
        """Reduce ``run.claim`` to the rest of the job. Raises LeaseLost."""
        run.enter(READ)
        self.recorder.counted(answer.rows)
        if run.claim.id in answer.lost:
            raise LeaseLost(f"this worker no longer owned job {run.claim.id} when it settled its progress")
        if part.retry or part.dead:
            self._excluded = None  # the rest of this job must exclude the row that just failed
        assert part.rest is not None
        run.claim = msgspec.structs.replace(run.claim, job=part.rest)
        run.touch()

    async def advance(self, run: JobRun, window: Window) -> bool:
        run.checkpoint()
        return await self.retry_until_answered(lambda: self.queue.advance(self.ref, run.claim, window))

    async def end_sweep(self, run: JobRun, state: SweepState, reason: str, message: str) -> bool:
        return await self.retry_until_answered(
            lambda: self.queue.end_sweep(self.ref, run.claim, state, reason, clip(message, MESSAGE))
        )

    async def open_replacement(self, sweep: str) -> Opened:
        """Open a sweep with this worker's plan after one that it ended. It takes the queue's time, because this clock may be
        wrong, and its dedup key names the ended sweep, so several workers open one."""
        request = sweep_request(self.plan, None, dedup_key=f"instead of {sweep}")
        return await self.retry_until_answered(lambda: self.queue.open_sweep(self.ref, request))

    def pause_claiming(self, outage: Outage) -> None:
        """Open the claim breaker: this worker claims nothing until the database answers a probe."""
        seconds = self.claim_breaker.trip(outage, self.settings.monotonic())
        self.recorder.rest(THROTTLED)
        self.receiver_health.reset()
        log.warning(
            "claiming pauses: %s", clip(str(outage), 300), extra={"reason": outage.reason, "seconds": round(seconds, 2)}
        )
