"""What a worker reports to the queue about source and effect; the controller and the CLI turn it into conditions.

An unchanged finding is reported once. A report never fails a job: where the queue is unavailable, the next one is sent instead.
"""

from __future__ import annotations

from kubesweep.api.plan import Plan
from kubesweep.errors import Outage
from kubesweep.queue.model import MESSAGE, THROTTLE, Finding, Signal
from kubesweep.queue.service import QueueService
from kubesweep.text import as_sentence, clip
from kubesweep_worker.effects.base import EffectOutage
from kubesweep_worker.flow_control.health_level import Decision
from kubesweep_worker.settings import WorkerSettings

REPEAT = 60.0  # seconds after which a success is reported again: another worker may have reported a failure since


class Findings:
    def __init__(self, plan: Plan, queue: QueueService, settings: WorkerSettings) -> None:
        self._plan, self._queue, self._settings = plan, queue, settings
        self._reported: dict[str, tuple[bool, str]] = {}
        self._reported_at: dict[str, float] = {}
        self._undelivered: dict[str, Outage] = {}

    async def report(self, kind: str, ok: bool, reason: str, message: str, *, repeat: bool = False) -> None:
        """Report a finding unless it equals the latest one of its kind. ``repeat``: report it even then. Never raises Outage."""
        if self._reported.get(kind) == (ok, reason) and not repeat:
            return
        self._reported[kind] = entry = (ok, reason)  # before the call: many jobs find the same at once
        self._reported_at[kind] = self._settings.monotonic()
        finding = Finding(kind, ok, reason, clip(message, MESSAGE), self._plan.version)
        arrived = False
        try:
            await self._queue.report(self._plan.ref, finding)
            arrived = True
            self._undelivered.pop(kind, None)
        except Outage as outage:
            self._undelivered[kind] = outage
        finally:
            if not arrived and self._reported.get(kind) is entry:
                self._reported.pop(kind)

    def undelivered(self, *kinds: str) -> Outage | None:
        """Why the queue lacks the latest finding of one of these kinds; None: it has them all."""
        return next((self._undelivered[kind] for kind in kinds if kind in self._undelivered), None)

    async def report_success(self, kind: str, *, recovered_from: str | None = None) -> None:
        """Work of this kind succeeded. Reported where the latest report was a failure, is missing, or is older than ``REPEAT``.

        ``recovered_from``: the success only proves that the failure with this reason is over.
        """
        ok, reason = self._reported.get(kind, (False, ""))
        if ok:
            stale = self._settings.monotonic() - self._reported_at.get(kind, 0.0) > REPEAT
            if stale and recovered_from is None:
                await self.report(kind, True, "Works", "work succeeded", repeat=True)
        elif recovered_from is None or reason in ("", recovered_from):
            await self.report(kind, True, "Works", "work succeeded")

    async def report_throttle(self, decision: Decision, signals: tuple[Signal, ...] = ()) -> None:
        """Report at which share of its speed the sweep goes, and why, and what the signals are at. Raises Outage."""
        throttle, message = decision.throttle, clip(decision.message, MESSAGE)
        version = self._plan.version
        finding = Finding(
            THROTTLE, throttle is None, decision.reason, message, version, throttle=throttle, signals=signals
        )
        await self._queue.report(self._plan.ref, finding)

    async def report_outage(self, outage: Outage) -> None:
        """Report why a job is released."""
        consequence = "Its rows are retried automatically and spend no attempt."
        if isinstance(outage, EffectOutage):
            return await self.report("Effect", False, outage.reason, f"{as_sentence(str(outage))} {consequence}")
        message = f"table {self._plan.source.table}: {as_sentence(str(outage))} {consequence}"
        return await self.report("SourceReady", False, outage.reason, message)
