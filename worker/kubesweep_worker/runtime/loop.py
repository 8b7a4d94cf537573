"""The worker's loop: settle finished jobs and claim new ones in one call of the queue, then sleep until something happens.

Invariants: at most ``concurrency`` jobs run. A job that must run alone shares the worker with no other. At most one claim
waits for jobs, and none is sent meanwhile. Nothing is polled at a fixed rate: a finished job, the queue's ``claim_next``, the
claim breaker and a stop each wake the loop.
"""

from __future__ import annotations

import asyncio
import logging
from itertools import islice

import msgspec

from kubesweep.errors import Outage
from kubesweep.queue.model import Budget, Claim, Claims, Settlement
from kubesweep_worker.in_flight import InFlightJobs, JobRun
from kubesweep_worker.jobs.context import Done, Drop, JobContext, Release, Result
from kubesweep_worker.jobs.dispatch import run_job
from kubesweep_worker.jobs.redelivery import RedeliveryPolicy, redelivery_policy, without_crash
from kubesweep_worker.phases import CLAIM, SETTLE
from kubesweep_worker.runtime.connectivity import QueueConnectivity
from kubesweep_worker.runtime.job_tasks import JobTasks
from kubesweep_worker.runtime.settled_log import log_outcomes
from kubesweep_worker.runtime.source_probe import SourceProbe
from kubesweep_worker.runtime.wakeup import Wakeup, cancel

log = logging.getLogger("kubesweep.worker")
PAUSED = 1.0  # seconds between two claims of a paused queue, at least
CLAIM_SIZE = 16  # jobs that one call may always claim; with many slots half of them, so that one half runs while the other is fetched
MORE_CALLS = 3  # that settle jobs while one is under way
WORTH_A_CALL = 4  # finished jobs that are worth its fixed cost
MAX_EMPTY_WAITS = 3  # waits in a row that returned at once and without a job; after these a growing pause follows each


class Loop:
    def __init__(self, context: JobContext, in_flight: InFlightJobs) -> None:
        self.context, self.in_flight, self.settings = context, in_flight, context.settings
        self.stopping = False
        self.last_claims = Claims()
        self.wakeup = Wakeup(self.settings)
        self._most = max(CLAIM_SIZE, self.settings.concurrency // 2)
        self._settlements: dict[str, Settlement] = {}
        self._sending: set[str] = set()  # ids of settlements that the queue has not answered yet
        self._claiming = 0  # jobs that calls without an answer asked for
        self._more_calls: set[asyncio.Task[None]] = set()  # beside the one of the step
        self._releases: dict[str, Claim] = {}
        self._tasks = JobTasks(self._work)
        self._alone_waits = False  # the queue has a job that must run alone
        self._consecutive_failures = 0
        self._connectivity = QueueConnectivity(self.settings)
        self._not_before = 0.0
        self._empty_waits = 0
        self._waiter: asyncio.Task[None] | None = None
        self._probe = SourceProbe(context, self.wakeup)

    @property
    def empty(self) -> bool:
        return not self.in_flight.all() and not self._settlements and not self._releases

    async def step(self) -> None:
        """One iteration. Raises nothing: after an outage of the queue the next iterations try again."""
        self.wakeup.clear()
        now = self.settings.monotonic()
        if not self.stopping:
            self._probe.run_if_due(now)
        if now < self._not_before and self._consecutive_failures:
            return self.wakeup.wake_in(self._not_before - now)
        try:
            await self._exchange(now)
        except Outage as outage:
            self._connectivity.lost()
            self._consecutive_failures += 1
            pause = self.context.backoff_delay(self._consecutive_failures, outage)
            if self._consecutive_failures == 1:
                log.warning("the queue is unavailable: %s", outage, extra={"reason": outage.reason})
            self._not_before = now + pause
            self.wakeup.wake_in(pause)
            return None
        if self._consecutive_failures:
            log.info("the queue responds again")
            self._consecutive_failures = 0
        if (quiet := max(self._not_before, self.context.no_claims_until) - now) > 0 and not self.stopping:
            self.wakeup.wake_in(quiet)
        return None

    async def _exchange(self, now: float) -> None:
        """Send releases and settlements, and claim as many jobs as may run."""
        context = self.context
        if self._releases:
            releases = dict(self._releases)
            await context.queue.release(context.ref, tuple(releases.values()))
            for claim_id in releases:
                self._releases.pop(claim_id, None)
                self.in_flight.remove(claim_id)
        await self._settle_and_claim(now)

    async def _settle_and_claim(self, now: float) -> None:
        context, limits = self.context, self._connectivity.limits(self.context.limits)
        most, alone = self._call_size(), self._alone_waits
        want = 0 if self._is_waiting() else min(most, self._want(now))
        unsent = (id_ for id_ in self._settlements if id_ not in self._sending)
        settlements = {id_: self._settlements[id_] for id_ in islice(unsent, most)}
        if not settlements and not want:
            return
        self._sending |= settlements.keys()
        self._claiming += want
        self._overlap()
        phase = SETTLE if settlements else CLAIM
        context.recorder.call_begins(phase)
        try:
            if settlements:
                done = tuple(settlements.values())
                answer = await context.queue.settle(context.ref, context.consumer, done, want, limits)
                claims = answer.claims
            else:
                claims = await context.queue.claim(context.ref, context.consumer, want, limits)
        finally:
            self._sending -= settlements.keys()
            self._claiming -= want
            context.recorder.call_ends(phase)
        self._connectivity.answered()
        if settlements:
            for claim_id in settlements:
                self._settlements.pop(claim_id, None)
            self.in_flight.remove(*settlements)
            context.recorder.counted(answer.rows)
            log_outcomes(answer)
        if want:
            self._receive(claims, want, now, now, alone)
        if len(self._settlements) > len(self._sending):
            self.wakeup.set()

    def _call_size(self) -> int:
        """The most settlements and claims of one call. While other jobs wait for something, small calls fill free slots sooner."""
        waits = any(run.task is not None for run in self.in_flight.running())
        return CLAIM_SIZE if waits else max(CLAIM_SIZE, self.settings.concurrency)

    def _overlap(self) -> None:
        """Send more finished jobs while a call is under way, so that their slots need not wait for its answer first."""
        unsent, limiter = len(self._settlements) - len(self._sending), self.context.rate_limiter
        if (
            (self._sending or self._claiming)
            and unsent >= WORTH_A_CALL
            and len(self._more_calls) < MORE_CALLS
            and limiter is None
        ):
            task = self.wakeup.spawn(self._another_call())
            self._more_calls.add(task)
            task.add_done_callback(self._more_calls.discard)

    async def _another_call(self) -> None:
        try:
            await self._settle_and_claim(self.settings.monotonic())
        except Outage:  # the next step sends the same again, and handles the outage
            self._connectivity.lost()

    def _want(self, now: float) -> int:
        """How many jobs may be claimed now."""
        running = self.in_flight.running()
        quiet = now < max(self._not_before, self.context.no_claims_until)
        if self.stopping or quiet or any(run.alone for run in running):
            return 0
        if self._alone_waits:
            return 0 if running or self._claiming else self.context.claim_breaker.allowed(1, 0)
        taken = len(running) + self._claiming
        free = max(0, self.settings.concurrency - taken)
        return self.context.claim_breaker.allowed(min(free, self._most), taken)

    def _receive(self, claims: Claims, want: int, now: float, asked: float, alone: bool) -> None:
        """``alone``: a job that must run alone was known when the claim was sent."""
        self.last_claims = claims
        self.context.recorder.claimed(claims, throttled=self.context.claim_breaker.is_open)
        self.context.apply_pace(claims.pace)
        self.context.set_excluded_version(claims.excluded_version)
        self.context.batch_size.apply_hint(claims.batch_hint)
        self._alone_waits = self._alone_waits and not alone
        self._start_all(claims, self._want(now), asked)
        if len(claims.jobs) >= want:
            self._empty_waits = 0
            if len(self.in_flight.running()) < self.settings.concurrency:
                self.wakeup.set()
            return
        if claims.wait is not None:
            pause = min(PAUSED, max(0.01, claims.wait))  # rows that another worker skips may end the wait earlier
            self._not_before = now + pause
            self.wakeup.wake_in(pause)
        elif claims.paused:
            self._not_before = now + PAUSED
            self.wakeup.wake_in(PAUSED)
        else:
            self._wait_for_more(claims, now)

    def _start_all(self, claims: Claims, most: int, asked: float) -> None:
        """``most``: how many may start now. The breaker may have opened, or a stop arrived, since they were ``asked`` for."""
        running = self.in_flight.running()
        busy, lone = bool(running), any(run.alone for run in running)
        known = {run.claim.id: run for run in self.in_flight.all()}
        used = 0
        for claim in claims.jobs:
            before, used = used, used + claim.job.rows
            if (run := known.get(claim.id)) is not None:
                # The process slept for longer than a lease (a suspended laptop): the job continues under its new fence.
                run.claim = msgspec.structs.replace(claim, job=run.claim.job)
                continue
            alone = redelivery_policy(claim) is not RedeliveryPolicy.NORMAL
            if lone or (alone and busy):
                # If this worker kept it waiting and the job before it crashed the worker, the crash would count for it too.
                self._alone_waits = self._alone_waits or alone
                self._release(claim)
            elif most <= 0:
                self._release(claim)
            else:
                busy, lone, most = True, alone, most - 1
                run = self.context.recorder.begin(claim, alone)
                if self.context.rate_limiter is not None:
                    self.context.rate_limiter.add_job(run, claims.budget or Budget(), before, asked)
                self.in_flight.add(run)
                self._tasks.add(run)
        self._tasks.start()

    def _release(self, claim: Claim) -> None:
        self._releases[claim.id] = claim
        self.wakeup.set()

    async def _work(self, run: JobRun) -> None:
        result: Result = Release(run.claim)
        try:
            if not self.stopping:  # a drain starts no job
                result = await run_job(self.context, run)
        except asyncio.CancelledError:
            result = Release(run.claim)
        finally:
            run.finished = True
            self.context.recorder.end(run)
            self._collect(run, result)
            self.wakeup.set()

    def _collect(self, run: JobRun, result: Result) -> None:
        claim_id, limiter = run.claim.id, self.context.rate_limiter
        match result:
            case Done(settlement, succeeded) if not run.lost:
                self._settlements[claim_id] = limiter.settled(run, settlement) if limiter is not None else settlement
                if succeeded:
                    self._record_success()
                self._overlap()
            case Release(claim) if not run.lost:
                if run.crash_recorded:
                    claim = without_crash(claim)
                self._releases[claim_id] = limiter.released(run, claim) if limiter is not None else claim
            case _:
                self.in_flight.remove(claim_id)
                if limiter is not None:
                    limiter.lost(run)
                if isinstance(result, Drop) and result.succeeded:
                    self._record_success()

    def _record_success(self) -> None:
        if self.context.claim_breaker.record_success():
            log.info("database and receiver respond: claiming continues")

    def _is_waiting(self) -> bool:
        return self._waiter is not None and not self._waiter.done()

    def _wait_for_more(self, claims: Claims, now: float) -> None:
        """Claim again as soon as the queue has a job, or the next retry is due."""
        want = self._want(now)
        if not want or self._releases or self._is_waiting():
            return
        timeout = self.settings.idle_wait
        if claims.next_in is not None:
            timeout = min(timeout, max(0.0, claims.next_in))
        if now < self._connectivity.own_expired_only_until:
            timeout = min(timeout, self._connectivity.own_expired_only_until - now)
        self._empty_waits = 0 if claims.jobs else self._empty_waits + 1
        over = self._empty_waits - MAX_EMPTY_WAITS
        pause = min(0.1, 0.01 * 2.0**over) if over > 0 else 0.0
        self._waiter = self.wakeup.spawn(self._claim_next(want, timeout, pause))

    async def _claim_next(self, want: int, timeout: float, pause: float) -> None:
        context, began = self.context, self.settings.monotonic()
        limits, alone = self._connectivity.limits(context.limits), self._alone_waits
        try:
            claims = await context.queue.claim_next(context.ref, context.consumer, want, limits, timeout)
        except Outage as outage:
            self._connectivity.lost()
            await self.settings.sleep(context.backoff_delay(1, outage))
            return
        self._connectivity.answered()
        now = self.settings.monotonic()
        if now - began > 1.0:
            self._empty_waits = 0
        elif pause and not claims.jobs:
            await self.settings.sleep(pause)
        self._waiter = None
        if (
            claims.jobs or not limits.own_expired_only
        ):  # otherwise the next step claims: it may take expired jobs of others by then
            self._receive(claims, want, now, began, alone)

    async def withdraw(self) -> None:
        """End the outstanding claim. Jobs that it returns on its way back are released."""
        await cancel(self._waiter)

    async def close(self) -> None:
        for task in (self._waiter, *self._more_calls):
            await cancel(task)
        await self._probe.close()
        await self.wakeup.close()
