"""One schedule with a planned sweep, for the tests of the Redis queue."""

from __future__ import annotations

from kubesweep.queue.model import (
    Job,
    JobKind,
    Limits,
    PlanVersion,
    ScheduleRef,
    SweepRequest,
    Window,
)
from kubesweep.queue.service import QueueService

REF = ScheduleRef("local", "default", "expire-carts", "8b5f6f0e-0000-4000-8000-000000000001")
PLAN = PlanVersion(1, "aaaa")
LIMITS = Limits()


async def planned(queue: QueueService, jobs: int, tick: float = 1.0) -> str:
    sweep = (await queue.open_sweep(REF, SweepRequest(tick=tick, plan=PLAN))).sweep
    (claim,) = (await queue.claim(REF, "planner", 1, LIMITS)).jobs
    cut = tuple(Job(JobKind.KEYS, PLAN, sweep, keys=((str(n),),), rows=1) for n in range(jobs))
    assert await queue.advance(REF, claim, Window("now", cut, planned=jobs))
    return sweep
