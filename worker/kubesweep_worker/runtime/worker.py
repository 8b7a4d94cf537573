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
from kubesweep_worker.in_flight import Hands
from kubesweep_worker.jobs.check_job import check_effect
from kubesweep_worker.jobs.context import Desk
from kubesweep_worker.runtime.heartbeat import Heartbeat
from kubesweep_worker.runtime.loop import Loop
from kubesweep_worker.settings import EXIT_DEADLINE, EXIT_LEAKED, WorkerSettings
from kubesweep_worker.sources.base import Source

log = logging.getLogger("kubesweep.worker")
LOOK = 0.2  # how often run(until_settled=True) asks whether other workers are done


class Worker:
    """Works on one schedule until it is stopped.

    ``heartbeat_queue`` opens a second connection to the same queue, for the thread that keeps the leases alive. The
    worker closes queue, source and effect when ``run`` ends.
    """

    def __init__(
        self,
        plan: Plan,
        queue: QueueService,
        source: Source,
        effect: Effect | None,
        settings: WorkerSettings,
        heartbeat_queue: Callable[[], QueueService],
    ) -> None:
        self.plan, self.settings = plan, settings
        self.consumer = uuid.uuid4().hex
        self.exit_code = 0
        self._hands = Hands()
        self._desk = Desk(plan, queue, source, effect, settings)
        self._desk.consumer = self.consumer
        self._desk.touch = self._touch
        self._loop = Loop(self._desk, self._hands)
        self._heartbeat = Heartbeat(plan.ref, self._hands, settings, heartbeat_queue)
        self._now = False
        self._late = False
        self._over: asyncio.TimerHandle | None = None  # when work that goes on after a stop is cut off

    async def run(self, *, until_settled: bool = False, await_retries: bool = False) -> int:
        """Work until ``stop``; returns the exit code (0, or 75 where leaked handler threads ask for a new process).

        ``until_settled``: also return once the schedule's sweep is settled (or Held) and no job is in hand;
        ``await_retries``: only when nothing is delayed, waiting or running in the queue either.
        """
        self._heartbeat.start()
        warming = asyncio.create_task(self._warm())
        try:
            await check_effect(self._desk)
            while True:
                await self._loop.turn()
                self._watch_leaks()
                if self._loop.stopping and (self._now or self._late or not self._hands.running()):
                    break
                if until_settled and await self._settled(await_retries):
                    self._loop.stopping = True
                    break
                await self._loop.wake.wait()
                if self._loop.stopping:
                    self._drain()
            await self._last_words()
        finally:
            warming.cancel()
            await asyncio.wait({warming})
            await self._close()
            if self._over is not None:
                self._over.cancel()
        return self.exit_code

    async def _warm(self) -> None:
        """While nothing has come yet: what fails here is said by the job that needs it, with all that follows from it."""
        try:
            await self._desk.source.warm()
        except KubesweepError as error:
            log.debug("not warmed up: %s", error)

    def stop(self, *, now: bool = False) -> None:
        """Drain: claim nothing, begin no effect, settle or give back what is in hand. ``now``: within about a second."""
        self.hold()
        self._loop.stopping = True
        self._desk.stopping.set()
        self._now = self._now or now
        if self._over is None:
            self._over = asyncio.get_running_loop().call_later(work_seconds(self.plan), self._cut)
        self._loop.wake.set()
        self._drain()

    def hold(self) -> None:
        """Begin no further effect; ``stop`` has to follow. May be called amid anything, as a signal's handler is."""
        self._desk.draining = True

    def _touch(self) -> None:
        for run in self._hands.running():
            run.touch()

    def _cut(self) -> None:
        """What was under way goes on for longer than it may: only a defect or a database that hangs does that."""
        log.warning("jobs that do not end are cut off", extra={"jobs": [run.name for run in self._hands.running()]})
        self._late = True
        self._drain()
        self._loop.wake.set()

    def _drain(self) -> None:
        force = self._now or self._late
        for run in self._hands.running():
            if run.task is None or (run.draining and not force):
                continue
            run.draining = True
            writes = run.claim.job.kind in (JobKind.RANGE, JobKind.KEYS)
            if force or not writes:
                run.task.cancel()
            elif not run.gentle:
                # A statement that is cut off may have been committed all the same; nearly all are done before that.
                asyncio.get_running_loop().call_later(self.settings.grace, run.task.cancel)

    async def _last_words(self) -> None:
        """Tell the queue what became of everything in hand, as long as that is reasonable."""
        left = self.settings.grace if self._now else self.settings.patience
        try:
            async with asyncio.timeout(left):  # real time: a supervisor's kill does not wait for an injected clock
                await self._loop.withdraw()
                tasks = {run.task for run in self._hands.running() if run.task is not None}
                if tasks:
                    await asyncio.wait(tasks)
                while not self._loop.empty:
                    await self._loop.turn()
                    if not self._loop.empty:
                        await self._loop.wake.wait()
        except TimeoutError:
            log.warning("left with jobs in hand; their leases run out", extra={"jobs": len(self._hands.all())})

    def _watch_leaks(self) -> None:
        effect, plan = self._desk.effect, self.plan.effect
        if effect is None or plan is None or effect.leaked <= plan.concurrency or self._loop.stopping:
            return
        log.error(
            "more handler calls hang than may run: this worker drains and leaves, to be started anew",
            extra={"leaked": effect.leaked, "concurrency": plan.concurrency},
        )
        self.exit_code = EXIT_LEAKED
        self.stop()

    async def _settled(self, await_retries: bool) -> bool:
        if not self._loop.empty:
            return False
        if self._loop.seen.lost:
            return True
        try:
            (stats,) = await self._desk.queue.stats([self._desk.ref])
        except Outage:
            self._loop._wake_in(LOOK)
            return False
        if not self._loop.empty:  # a job came meanwhile
            return False
        sweep = stats.sweep
        over = sweep is None or sweep.state.settled or sweep.state is SweepState.AWAITING_APPROVAL
        if over and await_retries:
            over = not (stats.ready or stats.running or stats.delayed)
        if not over:
            self._loop._wake_in(LOOK)
        return over

    async def _close(self) -> None:
        until = asyncio.get_running_loop().time() + self.settings.closing
        for part in (self._loop, self._heartbeat, self._desk.effect, self._desk.source, self._desk.queue):
            if part is None:
                continue
            try:
                async with asyncio.timeout_at(until):
                    await part.close()
            except Exception:
                log.exception("could not close %s", type(part).__name__)
        if stuck := [run.name for run in self._hands.running()]:
            log.critical("jobs that do not let themselves be stopped: the process ends", extra={"jobs": stuck})
            self.settings.die(EXIT_DEADLINE)
