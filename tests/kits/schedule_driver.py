"""Drives one schedule through its states by hand: the user's requests, the worker's reports, and restarts of the controller."""

from __future__ import annotations

import signal
from typing import Any

from kubesweep.queue.model import Claim, FailedRow, Finding, Job, JobKind, Limits, Settlement, SweepState, Window
from kubesweep_controller.kube.client import EVENTS, LEASES, SCHEDULES
from kubesweep_controller.status.conditions.reasons import Reason
from tests.kits.controller_environment import WORKER, ControllerEnvironment
from tests.kits.polling import until

UNLIMITED = Limits(halt_above=10_000)
AUTOSCALING = (Reason.KEDA_MISSING, Reason.SCALER_FAILED, Reason.SCALER_SILENT, Reason.SCALED_BY_KEDA)


class ScheduleDriver:
    """Acts on the schedule ``carts`` of an environment as its user and as its worker."""

    def __init__(self, env: ControllerEnvironment) -> None:
        self.env, self._nonce, self._starts = env, 0, 0

    async def make_ready(self) -> None:
        """Apply the schedule, start a controller and complete the check job."""
        await self.env.apply()
        await self.restart_controller()
        await self.env.complete_check()
        await self.env.until_reason("Ready", "Ready")

    async def restart_controller(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop the controller and start another.

        A killed controller leaves its Lease, which is released here. test_controller_lifecycle.py tests that it expires.
        """
        for process in self.env.processes:
            await self.env.kill(process, how)
        if how is signal.SIGKILL:
            released = {"spec": {"holderIdentity": None}}
            await self.env.api.patch(LEASES, self.env.namespace, "kubesweep-controller", released)
        self._starts += 1
        await self.env.start_controller(f"controller-{self._starts}")

    # as the user

    async def annotate(self, request: str) -> None:
        """Send a request such as ``trigger``, with a nonce that was not used before."""
        self._nonce += 1
        body = {"metadata": {"annotations": {f"kubesweep.dev/{request}": str(self._nonce)}}}
        await self.env.api.patch(SCHEDULES, self.env.namespace, "carts", body)

    async def status(self) -> dict[str, Any]:
        return dict((await self.env.get(SCHEDULES, "carts") or {}).get("status") or {})

    async def sweep_is(self, state: str) -> bool:
        return bool((await self.status()).get("lastSweep", {}).get("state") == state)

    async def events(self) -> list[tuple[str, str, int]]:
        """(type, reason, count) in the order in which they began. KEDA's are left out: no pod reaches this queue."""
        found = await self.env.api.list(EVENTS, self.env.namespace)
        ours = [each for each in found if each["regarding"].get("kind") == "SweepSchedule"]
        ours.sort(key=lambda each: each["eventTime"])
        counts: dict[tuple[str, str], int] = {}
        for each in ours:
            key, count = (each["type"], each["reason"]), (each.get("series") or {}).get("count", 1)
            if each["reason"] == Reason.DEAD_LETTERS:
                counts[key] = max(counts.get(key, 0), count)
            elif each["reason"] not in AUTOSCALING:
                counts[key] = counts.get(key, 0) + count  # each five minutes have an object of their own
        return [(*key, count) for key, count in counts.items()]

    # as the worker

    async def claim(self, kind: JobKind) -> Claim:
        """Claim a job of this kind. Jobs of other kinds are settled."""
        ref = await self.env.ref()

        async def ask() -> Claim | None:
            for claim in (await self.env.queue.claim(ref, WORKER, 1, UNLIMITED)).jobs:
                if claim.job.kind is kind:
                    return claim
                await self.env.queue.settle(ref, WORKER, [Settlement(claim)], 0, UNLIMITED)
            return None

        claim = await until(ask)
        assert claim is not None
        return claim

    async def plan(self, rows: int) -> None:
        """Plan the triggered sweep: one job of ``rows`` rows."""
        step = await self.claim(JobKind.PLAN)
        job = Job(JobKind.RANGE, step.job.plan, step.job.sweep, "cutoff", low=("0",), high=("9",), rows=rows)
        assert await self.env.queue.advance(await self.env.ref(), step, Window("cutoff", (job,), planned=rows))

    async def end_sweep(self, state: SweepState, reason: str, message: str) -> None:
        step = await self.claim(JobKind.PLAN)
        assert await self.env.queue.end_sweep(await self.env.ref(), step, state, reason, message)

    async def settle(
        self, *, applied: int = 0, dead: dict[str, str] | None = None, kind: JobKind = JobKind.RANGE
    ) -> None:
        """Settle a job. ``dead`` has the error of each dead row by its key."""
        claim = await self.claim(kind)
        rows = tuple(FailedRow((key,), error, f"row {key} was refused") for key, error in (dead or {}).items())
        done = Settlement(claim, applied=applied, dead=rows)
        await self.env.queue.settle(await self.env.ref(), WORKER, [done], 0, UNLIMITED)

    async def report_finding(self, ok: bool, reason: str, message: str) -> None:
        ref = await self.env.ref()
        (stats,) = await self.env.queue.stats([ref])
        plan = stats.findings[0].plan
        await self.env.queue.report(ref, Finding("SourceReady", ok, reason, message, plan))
