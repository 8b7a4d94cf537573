"""Fences: a worker does not work on jobs that it lost, and counts no row whose result is unknown."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kubesweep.errors import LeaseLost, Outage
from kubesweep.queue.model import Claim, FailedRow, Job, JobKind, Limits, Retry, Settlement, SweepState
from kubesweep_worker.flow_control.claim_breaker import BreakerState, ClaimBreaker
from kubesweep_worker.in_flight import InFlightJobs, JobRun
from kubesweep_worker.jobs.context import Done, JobContext, Release
from kubesweep_worker.jobs.effect_job import run_effect, sort_sub_batch
from kubesweep_worker.jobs.rows.bisection import write_keys
from kubesweep_worker.jobs.rows.delivery import DeliveryResult, deliver_all
from kubesweep_worker.jobs.rows.settlement import RowResults
from kubesweep_worker.runtime.loop import Loop
from kubesweep_worker.sources.base import SourceRow
from tests.kits.deadlines import scaled
from tests.kits.worker import MemorySource, ScriptedEffect, Workbench, a_plan, key, with_effect

LOST = Outage("Unreachable", "connection refused")


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Workbench]:
    made = Workbench(tmp_path, MemorySource(300))
    yield made
    await made.queue.close()


def a_context(bench: Workbench, *, touch_running: Callable[[], None] = lambda: None, **settings: Any) -> JobContext:
    changed = dataclasses.replace(bench.settings, **settings)
    return JobContext(
        bench.plan, bench.queue, bench.source, bench.effect, changed, consumer="me", touch_running=touch_running
    )


async def test_a_bisection_writes_nothing_more_once_the_lease_is_lost(bench: Workbench) -> None:
    bench.source.poison = {key(0)}
    keys = tuple(key(n) for n in range(8))
    run = JobRun(Claim("1", "me", 1, Job(JobKind.KEYS, keys=keys, rows=8)), lambda: 0.0)
    write = bench.source.write

    async def lose_it_after_the_first_half(*given: object, **options: object) -> object:
        try:
            return await write(*given, **options)
        finally:
            run.lost = len(bench.source.writes) > 0

    bench.source.write = lose_it_after_the_first_half
    with pytest.raises(LeaseLost):
        await write_keys(a_context(bench), run, keys, "now", RowResults())
    assert len(bench.source.writes) == 1


@pytest.mark.parametrize("dies", [False, True])
async def test_a_row_that_failed_in_one_part_of_a_job_is_excluded_from_the_next_part(
    bench: Workbench, dies: bool
) -> None:
    await bench.open()
    context = a_context(bench)
    plan = await bench.queue.claim(bench.plan.ref, "me", 1, Limits())
    job = Job(JobKind.KEYS, bench.plan.version, plan.jobs[0].job.sweep, keys=(key(1), key(2)), rows=2)
    assert key(1) not in (await context.predicate(job, "now")).excluded
    run = JobRun(plan.jobs[0], lambda: 0.0)
    failed = FailedRow(key(1), "ValueError", "refused")
    rest = Job(JobKind.KEYS, job.plan, job.sweep, keys=(key(2),), rows=1)
    retry, dead = ((), (failed,)) if dies else ((Retry((failed,), 2, 60.0),), ())
    await context.settle_progress(run, Settlement(run.claim, retry=retry, dead=dead, rest=rest))
    assert key(1) in (await context.predicate(job, "now")).excluded


async def test_a_part_that_the_queue_does_not_take_ends_the_work_on_its_job(bench: Workbench) -> None:
    await bench.open()
    [claim] = (await bench.queue.claim(bench.plan.ref, "me", 1, Limits())).jobs
    run = JobRun(msgspec.structs.replace(claim, delivery=2), lambda: 0.0)
    with pytest.raises(LeaseLost):
        await a_context(bench).settle_progress(run, Settlement(run.claim, rest=claim.job))
    assert (await bench.queue.stats([bench.plan.ref]))[0].running == 1


async def test_a_job_that_is_lost_sends_no_part(bench: Workbench) -> None:
    await bench.open()
    [claim] = (await bench.queue.claim(bench.plan.ref, "me", 1, Limits())).jobs
    run = JobRun(claim, lambda: 0.0)
    run.lost = True
    with pytest.raises(LeaseLost):
        await a_context(bench).settle_progress(run, Settlement(claim, applied=1, extra=1, rest=claim.job))
    [stats] = await bench.queue.stats([bench.plan.ref])
    assert stats.sweep is not None
    assert stats.sweep.applied == 0


@pytest.mark.parametrize("failure", [None, asyncio.CancelledError(), LOST], ids=str)
async def test_a_part_whose_answer_did_not_arrive_before_the_stop_leaves_the_job_to_the_queue(
    bench: Workbench, failure: BaseException | None
) -> None:
    await bench.open()
    [claim] = (await bench.queue.claim(bench.plan.ref, "me", 1, Limits())).jobs
    sent = asyncio.Event()

    async def settle(*_: object) -> None:
        sent.set()
        if failure is not None:
            raise failure
        await asyncio.Event().wait()

    bench.queue.settle = settle  # type: ignore[method-assign,assignment]
    context, run = a_context(bench, grace=0.001, patience=-1.0), JobRun(claim, lambda: 0.0)
    context.draining = True
    task = asyncio.ensure_future(context.settle_progress(run, Settlement(claim, rest=claim.job)))
    async with asyncio.timeout(scaled(60)):
        await sent.wait()
        if failure is None:
            task.cancel()
        with pytest.raises((asyncio.CancelledError, Outage)):
            await task
    assert run.lost, "the queue may have counted the part, so the job is neither settled nor released"


@pytest.mark.parametrize("result", [Done, Release])
async def test_the_result_of_a_job_that_is_lost_is_not_sent(bench: Workbench, result: type[Done | Release]) -> None:
    await bench.open()
    [claim] = (await bench.queue.claim(bench.plan.ref, "me", 1, Limits())).jobs
    run, in_flight = JobRun(claim, lambda: 0.0), InFlightJobs()
    in_flight.add(run)
    run.lost = True
    loop = Loop(a_context(bench), in_flight)
    loop._collect(run, Done(Settlement(claim)) if result is Done else Release(claim))
    assert loop.empty


async def test_a_write_whose_commit_was_not_answered_counts_as_unconfirmed(bench: Workbench) -> None:
    write, answered = bench.source.write, False

    async def commit_and_break(*given: object, **options: object) -> object:
        nonlocal answered
        written = await write(*given, **options)
        if not answered:
            answered = True
            raise Outage("ConnectionLost", "the connection broke", maybe_applied=True)
        return written

    bench.source.write = commit_and_break
    sweep = (await bench.sweep()).sweep
    assert sweep is not None
    assert (sweep.state, sweep.applied, sweep.unconfirmed, sweep.skipped) == (SweepState.COMPLETED, 200, 100, 0)


def test_work_that_began_before_the_breaker_opened_does_not_close_it() -> None:
    breaker = ClaimBreaker(1.0, 10.0, lambda: 0.0)
    breaker.trip(LOST, 0.0)
    assert not breaker.record_success()
    assert (breaker.state, breaker.consecutive_failures) == (BreakerState.OPEN, 1)
    breaker.half_open()
    assert breaker.record_success()
    assert (breaker.state, breaker.consecutive_failures) == (BreakerState.CLOSED, 0)


async def test_a_call_whose_slot_comes_late_is_progress(bench: Workbench) -> None:
    bench.plan, bench.effect = with_effect(a_plan(), concurrency=1), ScriptedEffect()
    now = 0.0

    def slow(delivery: object) -> None:
        nonlocal now
        now += 200.0

    bench.effect.script = slow
    run = JobRun(Claim("1", "me", 1, Job(JobKind.RANGE, rows=3)), lambda: now)
    rows = [SourceRow(key(n), {"id": key(n)[0]}, ("t0",)) for n in range(3)]
    await deliver_all(a_context(bench, monotonic=lambda: now), run, "now", rows)
    assert (now, run.last_progress) == (600.0, 400.0)


async def test_waiting_for_the_queue_is_progress_before_and_after_each_pause(bench: Workbench) -> None:
    seen: list[str] = []

    async def sleep(seconds: float) -> None:
        seen.append("sleep")

    async def away() -> None:
        if seen.count("sleep") < 2:
            raise Outage("QueueBusy", "locked")

    context = a_context(bench, sleep=sleep, touch_running=lambda: seen.append("touch"))
    async with asyncio.timeout(scaled(60)):
        await context.retry_until_answered(away)
    assert seen == ["touch", "sleep", "touch"] * 2


def test_a_range_continues_behind_the_last_row_before_the_first_that_was_not_reached() -> None:
    keys = tuple(key(n) for n in range(4))
    delivered = DeliveryResult(ok=[keys[0], keys[1], keys[3]], undelivered=[keys[2]], outage=LOST)
    part = sort_sub_batch(Job(JobKind.RANGE, rows=4), keys, delivered)
    assert part.low == keys[1]
    assert (
        sort_sub_batch(
            Job(JobKind.RANGE, rows=4), keys, DeliveryResult(undelivered=list(keys), outage=LOST, all_failed=True)
        ).low
        is None
    )


async def test_rows_that_timed_out_before_and_do_so_again_spend_an_attempt_though_nothing_else_is_written(
    bench: Workbench,
) -> None:
    keys = tuple(key(n) for n in range(5))
    bench.source.slow = dict.fromkeys(keys, 2.0)
    results, now = RowResults(), iter(range(100))
    job = Job(JobKind.KEYS, keys=keys, rows=5, is_retry=True, attempt=2)
    context = a_context(bench, monotonic=lambda: float(next(now)))
    await write_keys(context, JobRun(Claim("1", "me", 1, job), lambda: 0.0), keys, "now", results)
    assert [failure.key for failure in results.failed] == list(keys)


async def test_a_retry_that_failed_whole_does_not_show_that_the_receiver_responds(bench: Workbench) -> None:
    def away(delivery: object) -> None:
        raise Outage("Http503", "the receiver answered 503")

    bench.plan, bench.effect = with_effect(a_plan()), ScriptedEffect(away)
    job = Job(JobKind.KEYS, bench.plan.version, cutoff="now", keys=(key(1),), rows=1, is_retry=True, attempt=2)
    result = await run_effect(a_context(bench), JobRun(Claim("1", "me", 1, job), lambda: 0.0))
    assert isinstance(result, Done)
    assert (result.succeeded, [group.attempt for group in result.settlement.retry]) == (False, [2])


async def test_effects_that_never_await_let_other_tasks_run_every_few_milliseconds(bench: Workbench) -> None:
    bench.plan, bench.effect = with_effect(a_plan(), concurrency=1), ScriptedEffect()
    now, turns = 0.0, 0

    def busy(delivery: object) -> None:
        nonlocal now
        now += 0.001

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    bench.effect.script = busy
    counting = asyncio.create_task(count_turns())
    run = JobRun(Claim("1", "me", 1, Job(JobKind.RANGE, rows=50)), lambda: now)
    rows = [SourceRow(key(n), {"id": key(n)[0]}, ("t0",)) for n in range(50)]
    await deliver_all(a_context(bench, monotonic=lambda: now), run, "now", rows)
    counting.cancel()
    assert 9 <= turns <= 12
