"""The class of an error decides what happens to its job, and what is reported."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from kubesweep.errors import Outage, SweepFailure
from kubesweep.queue.model import Claim, Job, JobKind, SweepState
from kubesweep_worker.flow_control.claim_breaker import BreakerState
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.jobs.context import Done, Drop, JobContext, Release
from kubesweep_worker.jobs.dispatch import run_job
from tests.kits.worker import MemorySource, Workbench, key


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Workbench]:
    made = Workbench(tmp_path, MemorySource(300))
    yield made
    await made.queue.close()


def a_context(bench: Workbench) -> JobContext:
    return JobContext(bench.plan, bench.queue, bench.source, bench.effect, bench.settings, consumer="me")


def fails(call: str, error: Exception) -> Callable[[str], None]:
    def down(called: str) -> None:
        if called == call:
            raise error

    return down


def a_run(bench: Workbench, **job: object) -> JobRun:
    fields = {"kind": JobKind.KEYS, "plan": bench.plan.version, "cutoff": "now", "keys": (key(1), key(2)), "rows": 2}
    return JobRun(Claim("1", "me", 1, Job(**{**fields, **job})), lambda: 0.0)  # type: ignore[arg-type]


async def claimed(bench: Workbench, context: JobContext) -> JobRun:
    (claim,) = (await bench.queue.claim(bench.plan.ref, "me", 1, context.limits)).jobs
    return JobRun(claim, lambda: 0.0)


@pytest.mark.parametrize("maybe_applied", [False, True])
async def test_a_released_job_may_have_committed_only_where_its_outage_says_so(
    bench: Workbench, maybe_applied: bool
) -> None:
    bench.source.down = fails("write", Outage("ConnectionLost", "gone", maybe_applied=maybe_applied))
    context = a_context(bench)
    result = await run_job(context, a_run(bench, kind=JobKind.RANGE, keys=()))
    assert isinstance(result, Release)
    assert result.claim.job.may_have_committed == maybe_applied
    assert context.claim_breaker.state is BreakerState.OPEN
    assert bench.said == [("SourceReady", False, "ConnectionLost")]


async def test_a_worker_without_memory_stops_claiming_and_its_job_may_have_committed(bench: Workbench) -> None:
    bench.source.down = fails("write", MemoryError())
    context = a_context(bench)
    result = await run_job(context, a_run(bench, kind=JobKind.RANGE, keys=()))
    assert isinstance(result, Release)
    assert result.claim.job.may_have_committed
    assert context.claim_breaker.state is BreakerState.OPEN


@pytest.mark.parametrize(
    ("error", "reason", "said"),
    [
        (SweepFailure("TableMissing", "gone"), "TableMissing", [("SourceReady", False, "TableMissing")]),
        (SweepFailure("NeverEnds", "rows still match"), "NeverEnds", []),
        (ZeroDivisionError(), "WorkerDefect", []),
    ],
    ids=["a refusal of the database", "an endless sweep", "a defect"],
)
async def test_a_failure_of_a_planned_job_ends_its_sweep_and_only_one_of_the_source_is_reported(
    bench: Workbench, error: Exception, reason: str, said: list[tuple[str, bool, str]]
) -> None:
    bench.source.down = fails("now", error)
    await bench.open()
    context = a_context(bench)
    assert await run_job(context, await claimed(bench, context)) == Drop()
    sweep = (await bench.stats()).sweep
    assert sweep is not None
    assert (sweep.state, sweep.reason, bench.said) == (SweepState.FAILED, reason, said)


async def test_a_failure_of_a_retry_delays_its_rows_and_spends_no_attempt_of_them(bench: Workbench) -> None:
    bench.source.down = fails("write", SweepFailure("TableMissing", "gone"))
    sweep = await bench.open()
    result = await run_job(a_context(bench), a_run(bench, sweep=sweep, is_retry=True, attempt=2))
    assert isinstance(result, Done)
    (retry,) = result.settlement.retry
    assert ([row.key for row in retry.rows], retry.attempt) == ([key(1), key(2)], 2)
    assert (retry.delay, {row.error for row in retry.rows}) == (bench.plan.retry.max_backoff, {"TableMissing"})
    latest = (await bench.stats()).sweep
    assert latest is not None
    assert latest.state is SweepState.PLANNING


async def test_a_check_that_meets_a_defect_is_settled_and_reports_it(bench: Workbench) -> None:
    await bench.sweep()
    bench.said.clear()
    bench.source.down = fails("inspect", ZeroDivisionError())
    await bench.queue.enqueue_check(bench.plan.ref, bench.plan.version)
    context = a_context(bench)
    assert isinstance(await run_job(context, await claimed(bench, context)), Done)
    assert bench.said == [("SourceReady", False, "WorkerDefect")]
