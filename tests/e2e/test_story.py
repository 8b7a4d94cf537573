"""A bad day of one schedule, told by ``kubectl describe``: by controllers that do not live longer than a line of it.

The controllers are real processes on a real API server and a real queue; the worker's part is played by hand.
"""

from __future__ import annotations

import asyncio
import re
import signal
from functools import partial
from typing import Any

import pytest

from kubesweep.queue.model import Claim, FailedRow, Finding, Job, JobKind, Limits, Settlement, SweepState, Window
from kubesweep_controller.kube.client import EVENTS, SCHEDULES
from kubesweep_controller.status.conditions.reasons import Reason
from tests.e2e.stage import Stage, until
from tests.kits.deadlines import scaled
from tests.kits.servers import Server

MANY = Limits(halt_above=10_000)
HAND = "hand"
AUTOSCALING = (Reason.KEDA_MISSING, Reason.SCALER_FAILED, Reason.SCALER_SILENT, Reason.SCALED_BY_KEDA)


class Tale:
    """One schedule, its person and its worker, and a controller that does not live long."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.nonce, self.pods = stage, 0, 0

    async def begin(self) -> None:
        await self.stage.apply()
        await self.anew()
        await self.stage.be_the_worker()
        await self.stage.says("Ready", "Ready")

    async def anew(self, how: signal.Signals = signal.SIGTERM) -> None:
        """The controller goes, and another one takes the Lease: at once, or when the Lease of one that was killed ran out."""
        for process in self.stage.processes:
            await self.stage.kill(process, how)
        self.pods += 1
        await self.stage.start(f"controller-{self.pods}")

    async def order(self, what: str) -> None:
        self.nonce += 1
        body = {"metadata": {"annotations": {f"kubesweep.dev/{what}": str(self.nonce)}}}
        await self.stage.api.patch(SCHEDULES, self.stage.namespace, "carts", body)

    async def status(self) -> dict[str, Any]:
        return dict((await self.stage.get(SCHEDULES, "carts") or {}).get("status") or {})

    async def claim(self, kind: JobKind) -> Claim:
        ref = await self.stage.ref()

        async def look() -> Claim | None:
            for claim in (await self.stage.queue.claim(ref, HAND, 1, MANY)).jobs:
                if claim.job.kind is kind:
                    return claim
                await self.stage.queue.settle(ref, HAND, [Settlement(claim)], 0, MANY)
            return None

        claim = await until(look)
        assert claim is not None
        return claim

    async def plan(self, rows: int) -> None:
        """Play the planner of a sweep that was triggered: one job of so many rows."""
        step = await self.claim(JobKind.PLAN)
        job = Job(JobKind.RANGE, step.job.plan, step.job.sweep, "cutoff", low=("0",), high=("9",), rows=rows)
        assert await self.stage.queue.advance(await self.stage.ref(), step, Window("cutoff", (job,), planned=rows))

    async def end(self, state: SweepState, reason: str, message: str) -> None:
        step = await self.claim(JobKind.PLAN)
        assert await self.stage.queue.end_sweep(await self.stage.ref(), step, state, reason, message)

    async def settle(
        self, *, applied: int = 0, dead: dict[str, str] | None = None, kind: JobKind = JobKind.RANGE
    ) -> None:
        claim = await self.claim(kind)
        rows = tuple(FailedRow((key,), error, f"row {key} was refused") for key, error in (dead or {}).items())
        done = Settlement(claim, applied=applied, dead=rows)
        await self.stage.queue.settle(await self.stage.ref(), HAND, [done], 0, MANY)

    async def find(self, ok: bool, reason: str, message: str) -> None:
        ref = await self.stage.ref()
        (stats,) = await self.stage.queue.stats([ref])
        plan = stats.findings[0].plan
        await self.stage.queue.report(ref, Finding("SourceReady", ok, reason, message, plan))

    async def events(self) -> list[tuple[str, str, int]]:
        """(type, reason, how often), in the order in which they began. Not what KEDA has to say: no pod reaches this queue."""
        found = await self.stage.api.list(EVENTS, self.stage.namespace)
        ours = [each for each in found if each["regarding"].get("kind") == "SweepSchedule"]
        ours.sort(key=lambda each: each["eventTime"])
        told: dict[tuple[str, str], int] = {}
        for each in ours:
            key, count = (each["type"], each["reason"]), (each.get("series") or {}).get("count", 1)
            if each["reason"] == Reason.DEAD_LETTERS:
                told[key] = max(told.get(key, 0), count)
            elif each["reason"] not in AUTOSCALING:
                told[key] = told.get(key, 0) + count  # the same may stand in the objects of two times of five minutes
        return [(*key, count) for key, count in told.items()]


async def kubectl(stage: Stage, *words: str) -> str:
    process = await asyncio.create_subprocess_exec(
        "kubectl", "-n", stage.namespace, *words, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode()


@pytest.mark.slow
async def test_a_bad_day_is_told_by_describe_although_no_controller_outlives_a_line_of_it(
    stage: Stage, redis: Server
) -> None:
    tale = Tale(stage)
    await tale.begin()
    await tale.order("trigger")
    await tale.end(SweepState.FAILED, "ColumnMissing", 'there is no column "updated_at"')
    await stage.says("Degraded", "LastSweepFailed")
    await tale.anew()
    await tale.order("trigger")
    await tale.end(SweepState.AWAITING_APPROVAL, "AboveApprovalLimit", "too many")
    await stage.says("Degraded", "AwaitingApproval")
    await tale.anew(signal.SIGKILL)
    await tale.order("approve")
    await tale.plan(3)
    await tale.settle(applied=1, dead={"7": "CheckViolation", "8": "CheckViolation"})
    await stage.says("Degraded", "DeadLetters")
    await tale.anew()
    await tale.order("retry-dead-letters")
    await tale.settle(applied=2, kind=JobKind.KEYS)
    await stage.says("Degraded", "AsExpected")
    await tale.anew()
    await tale.order("trigger")
    await tale.plan(5)
    await until(lambda: _state(tale, "Running"))
    with redis.client() as client:
        client.flushall()
    await stage.says("Degraded", "Lost")
    await tale.anew()
    await tale.plan(5)
    await tale.settle(applied=5)
    await stage.says("Degraded", "AsExpected")
    assert await tale.events() == [
        ("Normal", "Ready", 1),
        ("Normal", "Triggered", 3),
        ("Warning", "LastSweepFailed", 1),
        ("Warning", "AwaitingApproval", 1),
        ("Normal", "Approved", 1),
        ("Warning", "DeadLetters", 2),
        ("Normal", "DeadLettersRetried", 1),
        ("Normal", "Recovered", 2),
        ("Warning", "Lost", 1),
    ]
    page = await kubectl(stage, "describe", "sweepschedule", "carts")
    for words in (
        'failed (ColumnMissing: there is no column "updated_at")',
        f"kubectl annotate sweepschedule carts -n {stage.namespace} --overwrite kubesweep.dev/approve=$(date +%s)",
        "CheckViolation: rows used up their attempts (such as",
        "2 rows are being retried",
        "completed, 5 rows applied",
        "The queue lost the sweep of",
    ):
        assert words in page


async def _state(tale: Tale, state: str) -> bool:
    return bool((await tale.status()).get("lastSweep", {}).get("state") == state)


@pytest.mark.slow
async def test_dead_letters_are_counted_once_whoever_leads_and_whenever_it_dies(stage: Stage) -> None:
    tale = Tale(stage)
    await tale.begin()

    async def at_once(dead: int) -> bool:
        return True

    async def told(dead: int) -> bool:
        return ("Warning", "DeadLetters", dead) in await tale.events()

    async def written(dead: int) -> bool:
        return bool((await tale.status()).get("queue", {}).get("dead") == dead)

    moments = (at_once, told, written)
    for number, moment in enumerate(moments):
        await tale.order("trigger")
        await tale.plan(1)
        await tale.settle(dead={str(number): "CheckViolation"})
        await until(partial(moment, number + 1))
        await tale.anew(signal.SIGKILL)
    await until(partial(written, len(moments)))
    assert ("Warning", "DeadLetters", len(moments)) in await tale.events()
    objects = [each for each in await stage.api.list(EVENTS, stage.namespace) if each["reason"] == "DeadLetters"]
    assert len(objects) <= 2, "one for each five minutes"
    assert await stage.condition("Degraded") == ("True", "DeadLetters")


async def test_a_controller_that_starts_anew_writes_neither_status_nor_event(stage: Stage) -> None:
    tale = Tale(stage)
    await tale.begin()
    await tale.order("trigger")
    await tale.plan(1)
    await tale.settle(dead={"1": "CheckViolation"})
    await stage.says("Degraded", "DeadLetters")
    await until(lambda: _state(tale, "Completed"))
    before, events = await stage.get(SCHEDULES, "carts"), await tale.events()
    await tale.anew()
    await tale.find(False, "TableMissing", "there is no table")  # what it sees first of all that is new
    await stage.says("SourceReady", "TableMissing")
    after = await stage.get(SCHEDULES, "carts")
    assert before
    assert after
    changed = {name for name, value in after["status"].items() if before["status"].get(name) != value}
    assert changed <= {"conditions", "countedTime", "queue", "oldestReadyTime"}
    assert await tale.events() == [*events, ("Warning", "SourceNotReady", 1)]


async def test_wait_and_get_know_what_is_ready(stage: Stage) -> None:
    tale = Tale(stage)
    waiting = asyncio.create_task(_after(stage, tale))
    await tale.begin()
    assert "condition met" in await waiting
    line = (await kubectl(stage, "get", "sweeps", "--no-headers")).split()
    assert line[:1] + line[6:8] == ["carts", "false", "True"]
    assert re.search(r"^carts ", await kubectl(stage, "get", "sweep", "--no-headers"))


async def _after(stage: Stage, tale: Tale) -> str:
    await until(lambda: stage.get(SCHEDULES, "carts"))
    return await kubectl(stage, "wait", "--for=condition=Ready", "sweepschedule/carts", f"--timeout={scaled(90):.0f}s")
