"""One worker: a loop, its heartbeat, and the two ways to stop them."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable

from kubesweep.api.plan import Plan
from kubesweep.errors import KubesweepError, Outage
from kubesweep.grace_period import work_seconds
from kubesweep.queue.model import JobKind, SweepState
from kubesweep.queue.service import QueueService
from kubesweep_worker.effects.base import Effect
from kubesweep_worker.flow_control.claim_breaker import BreakerState
from kubesweep_worker.in_flight import InFlightJobs
from kubesweep_worker.jobs.check_job import check_effect
from kubesweep_worker.jobs.context import JobContext
from kubesweep_worker.recorder import Recorder, Snapshot
from kubesweep_worker.runtime.health_monitor import HealthMonitor
from kubesweep_worker.runtime.heartbeat import Heartbeat
from kubesweep_worker.runtime.loop import Loop
from kubesweep_worker.settings import EXIT_DEADLINE, EXIT_LEAKED, WorkerSettings
from kubesweep_worker.sources.base import Source

log = logging.getLogger("kubesweep.worker")
POLL_SETTLED = 0.2  # seconds between two queries of run(until_settled=True) whether other workers are done


class Worker:
    """Works on one schedule until it is stopped.

    ``heartbeat_queue`` opens a second connection to the same queue, for the thread that extends the leases. The worker
    closes queue, source and effect when ``run`` ends.
    """

    def __init__(
        self,
        plan: Plan,
        queue: QueueService,
        source: Source,
        effect: Effect | None,
        settings: WorkerSettings,
        heartbeat_queue: Callable[[], QueueService],
        recorder: Recorder | None = None,
    ) -> None:
        self.plan, self.settings = plan, settings
        self.consumer = uuid.uuid4().hex
        self.exit_code = 0
        self._in_flight = InFlightJobs()
        self._context = JobContext(
            plan,
            queue,
            source,
            effect,
            settings,
            consumer=self.consumer,
            touch_running=self._in_flight.touch_running,
            recorder=recorder,
        )
        self._loop = Loop(self._context, self._in_flight)
        self._heartbeat = Heartbeat(plan.ref, self._in_flight, settings, heartbeat_queue, self._context.apply_pace)
        self._stop_now = False
        self._drain_expired = False
        self._drain_timer: asyncio.TimerHandle | None = None  # when jobs that outlast the drain are cancelled

    async def run(self, *, until_settled: bool = False, await_retries: bool = False) -> int:
        """Work until ``stop``; returns the exit code (0, or 75 where leaked handler threads require a new process).

        ``until_settled``: also return once the schedule's sweep is settled or awaits approval, and no job is in flight.
        ``await_retries``: return only when the queue has no delayed, waiting or running jobs either.
        """
        self._heartbeat.start()
        helpers = {asyncio.create_task(self._warm()), asyncio.create_task(HealthMonitor(self._context).run())}
        try:
            await check_effect(self._context)
            while True:
                await self._loop.step()
                self._watch_leaks()
                idle = not self._in_flight.running()
                if self._loop.stopping and (self._stop_now or self._drain_expired or idle):
                    break
                if until_settled and await self._settled(await_retries):
                    self._loop.stopping = True
                    break
                await self._loop.wakeup.wait()
                if self._loop.stopping:
                    self._cancel_jobs()
            await self._settle_remaining()
        finally:
            for task in helpers:
                task.cancel()
            await asyncio.wait(helpers)
            await self._close()
            if self._drain_timer is not None:
                self._drain_timer.cancel()
        return self.exit_code

    def snapshot(self) -> Snapshot:
        """What this worker did so far, and its state. Call it in the event loop of ``run``."""
        context = self._context
        return context.recorder.snapshot(
            self._in_flight.running(),
            batch_rows=context.batch_size.most,
            breaker_open=context.claim_breaker.state is not BreakerState.CLOSED,
            throttles=_throttles(context),
        )

    async def _warm(self) -> None:
        """Connect to the source before the first job arrives. The job that needs it reports a failure, so none is raised here."""
        try:
            await self._context.source.warm()
        except KubesweepError as error:
            log.debug("not warmed up: %s", error)

    def stop(self, *, now: bool = False) -> None:
        """Drain: claim nothing, start no effect, settle or release the in-flight jobs. ``now``: within about a second."""
        self.begin_drain()
        self._loop.stopping = True
        self._context.stop_requested.set()
        self._stop_now = self._stop_now or now
        if self._drain_timer is None:
            self._drain_timer = asyncio.get_running_loop().call_later(work_seconds(self.plan), self._expire_drain)
        self._loop.wakeup.set()
        self._cancel_jobs()

    def begin_drain(self) -> None:
        """Start no further effect; ``stop`` has to follow. Safe to call from a signal handler, at any instruction."""
        self._context.draining = True

    def _expire_drain(self) -> None:
        """Jobs outlast the drain, which only a defect or a database that hangs can cause."""
        names = [run.name for run in self._in_flight.running()]
        log.warning("cancelling jobs that do not end", extra={"jobs": names})
        self._drain_expired = True
        self._cancel_jobs()
        self._loop.wakeup.set()

    def _cancel_jobs(self) -> None:
        """Cancel what may be cancelled at this stage of the drain."""
        force = self._stop_now or self._drain_expired
        for run in self._in_flight.running():
            if run.task is None or (run.draining and not force):
                continue
            run.draining = True
            writes = run.claim.job.kind in (JobKind.RANGE, JobKind.KEYS)
            if force or not writes:
                run.task.cancel()
            elif not run.uninterruptible:
                # A statement that is cancelled may have been committed; nearly all end before this delay.
                asyncio.get_running_loop().call_later(self.settings.grace, run.task.cancel)

    async def _settle_remaining(self) -> None:
        """Settle or release all in-flight jobs, for a bounded time."""
        seconds = self.settings.grace if self._stop_now else self.settings.patience
        try:
            async with asyncio.timeout(seconds):  # real time: a supervisor's kill does not wait for an injected clock
                await self._loop.withdraw()
                tasks = {run.task for run in self._in_flight.running() if run.task is not None}
                if tasks:
                    await asyncio.wait(tasks)
                while not self._loop.empty:
                    await self._loop.step()
                    if not self._loop.empty:
                        await self._loop.wakeup.wait()
        except TimeoutError:
            count = len(self._in_flight.all())
            log.warning("exiting with unsettled jobs: their leases expire", extra={"jobs": count})

    def _watch_leaks(self) -> None:
        effect, plan = self._context.effect, self.plan.effect
        if effect is None or plan is None or effect.leaked <= plan.concurrency or self._loop.stopping:
            return
        log.error(
            "more handler calls hang than may run: this worker drains and exits, so that it is restarted",
            extra={"leaked": effect.leaked, "concurrency": plan.concurrency},
        )
        self.exit_code = EXIT_LEAKED
        self.stop()

    async def _settled(self, await_retries: bool) -> bool:
        if not self._loop.empty:
            return False
        if self._loop.last_claims.lost:
            return True
        try:
            (stats,) = await self._context.queue.stats([self._context.ref])
        except Outage:
            self._loop.wakeup.wake_in(POLL_SETTLED)
            return False
        if not self._loop.empty:  # a job arrived in the meantime
            return False
        sweep = stats.sweep
        over = sweep is None or sweep.state.settled or sweep.state is SweepState.AWAITING_APPROVAL
        if over and await_retries and not stats.retries_blocked:
            over = not (stats.ready or stats.running or stats.delayed)
        if not over:
            self._loop.wakeup.wake_in(POLL_SETTLED)
        return over

    async def _close(self) -> None:
        until = asyncio.get_running_loop().time() + self.settings.closing
        for part in (self._loop, self._heartbeat, self._context.effect, self._context.source, self._context.queue):
            if part is None:
                continue
            try:
                async with asyncio.timeout_at(until):
                    await part.close()
            except Exception:
                log.exception("could not close %s", type(part).__name__)
        if stuck := [run.name for run in self._in_flight.running()]:
            log.critical("jobs cannot be cancelled, so the process ends", extra={"jobs": stuck})
            self.settings.exit_process(EXIT_DEADLINE)


def _throttles(context: JobContext) -> dict[str, float]:
    """The share of its speed by what slows the worker down."""
    pace, decision, calls = context.health.pace, context.health.decision, context.effect_slots
    found = {"Paused": 0.0} if pace.paused else {}
    if decision is not None and context.health.factor < 1:
        found[decision.reason] = decision.factor
    if calls.share < 1:
        found["Receiver"] = calls.share
    return found
