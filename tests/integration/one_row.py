"""Sweeps of one row each, without a worker: enough to verify that a queue can be reached, and how."""

from __future__ import annotations

import time

import pytest

from kubesweep.queue.model import Job, JobKind, Limits, PlanVersion, ScheduleRef, Settlement, SweepRequest, Window
from kubesweep.queue.service import QueueService
from tests.kits.servers import binaries

PLAN = PlanVersion(1, "aaaa")
LIMITS = Limits()
REFS = tuple(ScheduleRef("local", "default", f"sweep{n}", f"{n:08d}") for n in range(12))
KINDS = pytest.mark.parametrize("kind", sorted(binaries()))


async def start(queue: QueueService, ref: ScheduleRef) -> None:
    sweep = (await queue.open_sweep(ref, SweepRequest(tick=time.time(), plan=PLAN))).sweep
    (plan,) = (await queue.claim(ref, "ann", 1, LIMITS)).jobs
    job = Job(JobKind.KEYS, PLAN, sweep, keys=(("1",),), rows=1)
    assert await queue.advance(ref, plan, Window("now", (job,), planned=1))


async def finish(queue: QueueService, ref: ScheduleRef) -> None:
    claims = (await queue.claim(ref, "ann", 5, LIMITS)).jobs
    settled = await queue.settle(ref, "ann", [Settlement(claim, applied=1) for claim in claims], 0, LIMITS)
    assert len(settled.finished) == 1
