"""How many jobs the loop may claim now."""

from __future__ import annotations

import pytest

from kubesweep.errors import Outage
from kubesweep.queue.model import Claim, Job, JobKind
from kubesweep_worker.in_flight import InFlightJobs, JobRun
from kubesweep_worker.runtime.loop import Loop
from kubesweep_worker.settings import WorkerSettings
from tests.kits.worker import Workbench
from tests.unit.worker.test_fences import a_context


@pytest.fixture
def loop(bench: Workbench) -> Loop:
    """A loop with four slots at second 0."""
    bench.settings = WorkerSettings(concurrency=4)
    return Loop(a_context(bench), InFlightJobs())


def begin(loop: Loop, jobs: int, *, alone: bool = False) -> None:
    for number in range(jobs):
        loop.in_flight.add(JobRun(Claim(f"{number}", "me", 1, Job(JobKind.RANGE, rows=9)), lambda: 0.0, alone))


@pytest.mark.parametrize(
    ("running", "claiming", "free"), [(0, 0, 4), (1, 0, 3), (1, 2, 1), (4, 0, 0), (2, 2, 0), (4, 1, 0)]
)
async def test_jobs_that_run_and_that_were_asked_for_take_slots(
    loop: Loop, running: int, claiming: int, free: int
) -> None:
    begin(loop, running)
    loop._claiming = claiming
    assert loop._want(0.0) == free


@pytest.mark.parametrize(("not_before", "no_claims_until"), [(10.0, 5.0), (5.0, 10.0)])
async def test_nothing_is_claimed_until_both_pauses_are_over(
    loop: Loop, not_before: float, no_claims_until: float
) -> None:
    loop._not_before, loop.context.no_claims_until = not_before, no_claims_until
    assert [loop._want(now) for now in (4.9, 9.9, 10.0)] == [0, 0, 4]


async def test_nothing_is_claimed_beside_a_job_that_runs_alone_or_by_a_worker_that_stops(loop: Loop) -> None:
    begin(loop, 1, alone=True)
    assert loop._want(0.0) == 0
    loop.in_flight.remove("0")
    assert loop._want(0.0) == 4
    loop.stopping = True
    assert loop._want(0.0) == 0


@pytest.mark.parametrize(("running", "claiming", "free"), [(0, 0, 1), (1, 0, 0), (0, 1, 0)])
async def test_a_job_that_must_run_alone_is_claimed_once_nothing_else_runs(
    loop: Loop, running: int, claiming: int, free: int
) -> None:
    begin(loop, running)
    loop._alone_waits, loop._claiming = True, claiming
    assert loop._want(0.0) == free
    loop.context.claim_breaker.trip(Outage("Http503", "away"), 0.0)
    assert loop._want(0.0) == 0
    loop.context.claim_breaker.half_open()
    assert loop._want(0.0) == free
