"""Follow the health of the source's database while rows are written.

Once a second one worker of the namespace measures a database, as far as its user may read it. The others with the same user read its
sample from the queue: the load on the database does not grow with the number of workers. Each worker decides for itself, by the
limits of its schedule.
"""

from __future__ import annotations

import asyncio
import logging
import math

from kubesweep.errors import Outage, SweepFailure
from kubesweep.queue.model import ACTIVE_SESSIONS, TURN, HealthLimits, Sample, Signal
from kubesweep_worker.flow_control.health_level import MAX_AGE, UNKNOWN, Aged, Decision, HealthLevel
from kubesweep_worker.jobs.context import JobContext
from kubesweep_worker.runtime.wakeup import cancel
from kubesweep_worker.sources.base import Measured

INTERVAL = 1.0  # seconds between two samples
FIRST = 0.1  # the same until another worker has stored the first one
FAILED = TURN + 1.5  # seconds for which a worker that could not measure does not ask, so that another one gets its turn
PATIENCE = 3.0  # seconds for which one decision waits for a new sample; a connection may take longer
QUIET = 60.0  # seconds between two lines of the log about an application that comes or goes
USUAL = frozenset({"", ACTIVE_SESSIONS})
REPEAT = 10.0  # seconds after which unchanged signals are reported again: without that they count as not measured
log = logging.getLogger("kubesweep.worker")


class HealthMonitor:
    def __init__(self, context: JobContext) -> None:
        self._context, self._settings = context, context.settings
        self._level = HealthLevel()
        self._samples: dict[str, tuple[Sample, float]] = {}  # by query, with when it was measured
        self._failed: dict[str, tuple[Exception, float]] = {}  # by query, with when this worker asks again
        self._sampling: asyncio.Task[None] | None = None
        self._of = Measured("", 0)
        self._reported = Decision(1.0)
        self._logged = 1.0, ""  # factor and reason
        self._reported_at = self._began = self._logged_at = -math.inf

    async def run(self) -> None:
        """Until it is cancelled."""
        try:
            await self._follow()
        finally:
            await cancel(self._sampling)

    async def _follow(self) -> None:
        admission = self._context.health
        self._began = self._settings.monotonic()
        while True:
            if admission.limits is None or admission.idle:
                admission.wanted.clear()
                self._samples.clear()
                self._level = HealthLevel()  # what was too much then is no reason to be slow at the next write
                self._context.apply_health(None)
                if admission.limits is None:  # other workers may still be slowed down by the health
                    await self._report(Decision(1.0), ())
                await admission.wanted.wait()
                self._began = self._settings.monotonic()
            if (limits := admission.limits) is not None:
                await self.step(limits)
            await self._settings.sleep(FIRST if admission.decision is None else INTERVAL)

    async def step(self, limits: HealthLimits) -> None:
        """One sample, one decision. Raises nothing."""
        problem = await self._try_sample(limits)
        now = self._settings.monotonic()
        if not problem and not self._samples and now - self._began < MAX_AGE:
            return
        aged = {query: Aged(sample, now - at) for query, (sample, at) in self._samples.items()}
        if self._context.health.limits == limits:
            decision = self._level.decide(limits, aged, self._of.table, problem)
            self._context.apply_health(decision)
            await self._report(decision, self._level.signals(now))

    async def _try_sample(self, limits: HealthLimits) -> str:
        """Why there is no new sample; empty: there is one."""
        sampling = self._sampling = self._sampling or asyncio.create_task(self._sample(limits))
        await asyncio.wait({sampling}, timeout=PATIENCE)  # real time: the database does not know an injected clock
        if not sampling.done():
            return f"a measurement takes longer than {PATIENCE:g} s"
        self._sampling = None
        try:
            await sampling
        except (Outage, SweepFailure) as error:
            return str(error)
        except Exception as error:
            log.exception("the health of the database cannot be followed")
            return f"{type(error).__name__}: {error}"
        return ""

    async def _sample(self, limits: HealthLimits) -> None:
        measured = await self._context.source.measured()
        if measured != self._of:
            self._samples.clear()
            self._failed.clear()
            self._of = measured
        for query in limits.queries:
            await self._share(query)

    async def _share(self, query: str) -> None:
        context = self._context
        of = self._of
        where = "\0".join((of.database, of.user, *((of.session, query) if query else ())))
        asked = self._settings.monotonic()
        failure, until = self._failed.get(query, (None, 0.0))
        if failure is not None and asked < until:
            raise failure
        shared = await context.queue.share_sample(context.ref, where, context.consumer)
        if shared.measure:
            try:
                sample = await context.source.measure(query)
            except Exception as error:
                self._failed[query] = error, self._settings.monotonic() + FAILED
                raise
            asked = self._settings.monotonic()
            shared = await context.queue.share_sample(context.ref, where, context.consumer, sample)
        if shared.sample is not None:
            self._samples[query] = shared.sample, asked - shared.age

    async def _report(self, decision: Decision, signals: tuple[Signal, ...]) -> None:
        """Tell the queue about a change of the speed or its reason, and again each ``REPEAT`` seconds while signals are measured."""
        last, now = self._reported, self._settings.monotonic()
        self._log(decision, now)
        changed = (decision.factor, decision.reason) != (last.factor, last.reason)
        if not changed and (not signals or now - self._reported_at < REPEAT):
            return
        try:
            await self._context.findings.report_throttle(decision, signals)
        except Outage:  # the next second tries again
            return
        except Exception:
            log.exception("the health of the database cannot be reported")
            return
        self._reported, self._reported_at = decision, now

    def _log(self, decision: Decision, now: float) -> None:
        """Once for each change, also while the queue is unavailable. An application comes and goes each few seconds, so at most one line
        a minute is about it."""
        before, self._logged = self._logged, (decision.factor, decision.reason)
        if self._logged == before:
            return
        level = logging.WARNING if decision.reason == UNKNOWN else logging.INFO
        if {decision.reason, before[1]} <= USUAL:
            if now - self._logged_at < QUIET:
                level = logging.DEBUG
            else:
                self._logged_at = now
        log.log(level, decision.message or "the sweep goes at full speed again", extra={"factor": decision.factor})
