"""While the claim breaker is open, the worker probes the database. Where it responds, one job may run."""

from __future__ import annotations

import asyncio

from kubesweep.errors import Outage, SweepFailure
from kubesweep_worker.flow_control.claim_breaker import BreakerState
from kubesweep_worker.jobs.context import JobContext
from kubesweep_worker.runtime.wakeup import Wakeup, cancel


class SourceProbe:
    """At most one probe runs at a time. ``wakeup`` is set when it ends, and when the next one is due."""

    def __init__(self, context: JobContext, wakeup: Wakeup) -> None:
        self._context, self._wakeup = context, wakeup
        self._task: asyncio.Task[None] | None = None
        self._last_failure = ""  # its reason: a probe that succeeds proves that this failure is over, and no other

    def run_if_due(self, now: float) -> None:
        """``now``: seconds of the monotonic clock."""
        breaker = self._context.claim_breaker
        if breaker.state is BreakerState.OPEN:
            if not breaker.probe_due(now):
                self._wakeup.wake_in(breaker.open_until - now)
            elif self._task is None or self._task.done():
                self._task = self._wakeup.spawn(self._probe())

    async def close(self) -> None:
        await cancel(self._task)

    async def _probe(self) -> None:
        context = self._context
        try:
            await context.source.probe()
        except (Outage, SweepFailure) as problem:
            self._last_failure = problem.reason
            await context.findings.report("SourceReady", False, problem.reason, str(problem))
            context.claim_breaker.half_open()
            context.pause_claiming(problem if isinstance(problem, Outage) else Outage(problem.reason, str(problem)))
        else:
            context.claim_breaker.half_open()
            await context.findings.report_success("SourceReady", recovered_from=self._last_failure)
