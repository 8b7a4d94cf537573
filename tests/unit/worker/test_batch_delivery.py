"""Rows in calls for many rows: which rows share a call, and what the failure of a call means for each of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kubesweep.api.plan import Effect, Plan, RowLimits, Webhook
from kubesweep.errors import Outage, Reject, RowError, Skip
from kubesweep.queue.model import Claim, Job, JobKind, Key, SweepState
from kubesweep_worker.effects.base import BatchRefused, Delivery, RowOutcome
from kubesweep_worker.flow_control.receiver_health import MAX_FAILURES_IN_A_ROW, ReceiverHealth
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.jobs.effect_job import sub_batch_rows
from kubesweep_worker.jobs.rows.batch_delivery import deliver_sub_batch
from kubesweep_worker.jobs.rows.delivery import DeliveryResult
from kubesweep_worker.settings import WorkerSettings
from kubesweep_worker.sources.base import SourceRow
from tests.kits.worker import MemorySource, ScriptedEffect, Workbench, a_plan, key
from tests.unit.worker.test_fences import a_context

Script = Callable[[Sequence[Delivery]], Sequence[RowOutcome]]


class ScriptedBatches(ScriptedEffect):
    """Calls ``answer`` for each call, which may raise, and records the rows of the call."""

    def __init__(self, answer: Script = lambda call: [None] * len(call)) -> None:
        super().__init__()
        self.answer = answer
        self.sent: list[tuple[Key, ...]] = []
        self.attempts: Counter[tuple[Key, int]] = Counter()

    async def deliver_batch(self, deliveries: Sequence[Delivery]) -> Sequence[RowOutcome]:
        self.sent.append(tuple(each.key for each in deliveries))
        self.attempts.update((each.key, each.attempt) for each in deliveries)
        return self.answer(deliveries)


def batches(most: int, concurrency: int = 1, **changes: Any) -> Plan:
    hook = Webhook("http://mailer/", batch_rows=most)
    return a_plan(effect=Effect(webhook=hook, concurrency=concurrency), **changes)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Workbench]:
    made = Workbench(tmp_path, MemorySource(50), plan=batches(10), effect=ScriptedBatches())
    yield made
    await made.queue.close()


def rows_of(count: int) -> list[SourceRow]:
    return [SourceRow(key(n), {"id": n}, ("t0",)) for n in range(count)]


async def delivered(bench: Workbench, count: int = 50, job: Job | None = None, **limiter: Any) -> DeliveryResult:
    context = a_context(bench)
    for name, value in limiter.items():
        setattr(context, name, value)
    run = JobRun(Claim("1", "me", 1, job or Job(JobKind.RANGE, rows=count)), lambda: 0.0)
    return await deliver_sub_batch(context, run, "now", rows_of(count))


def refuse(*bad: int) -> Script:
    """Refuse a call that has one of these rows."""

    def answer(call: Sequence[Delivery]) -> Sequence[RowOutcome]:
        if not {each.key for each in call} & {key(n) for n in bad}:
            return [None] * len(call)
        if len(call) > 1:
            raise BatchRefused
        return [RowError("Http422", "no such cart")]

    return answer


async def test_rows_are_divided_in_their_order(bench: Workbench) -> None:
    bench.plan = batches(20)
    result = await delivered(bench)
    assert [len(call) for call in bench.effect.sent] == [20, 20, 10]
    assert [k for call in bench.effect.sent for k in call] == [key(n) for n in range(50)]
    assert len(result.idempotency_keys) == 50


async def test_rows_whose_effect_succeeded_before_are_not_sent(bench: Workbench) -> None:
    keys = (await delivered(bench)).idempotency_keys
    bench.effect.sent.clear()
    done = tuple((key(n), keys[key(n)]) for n in range(0, 50, 2))
    result = await delivered(bench, job=Job(JobKind.RANGE, rows=50, effects_done=done))
    assert bench.effect.sent == [tuple(key(n) for n in range(at, at + 20, 2)) for at in (1, 21)] + [
        tuple(key(n) for n in range(41, 50, 2))
    ]
    assert len(result.ok) == 50


async def test_only_the_rows_of_a_refused_call_are_repeated_alone_and_once(bench: Workbench) -> None:
    bench.effect.answer = refuse(13, 17)
    result = await delivered(bench)
    assert [len(call) for call in bench.effect.sent] == [10] * 5 + [1] * 10
    assert {call[0] for call in bench.effect.sent[5:]} == {key(n) for n in range(10, 20)}
    assert [(failure.key, failure.error) for failure in result.failed] == [(key(n), "Http422") for n in (13, 17)]
    assert len(result.ok) == 48


async def test_each_row_has_its_own_outcome(bench: Workbench) -> None:
    special = {key(1): Skip(), key(2): Reject("gone"), key(3): RowError("ResultMissing", "not named")}
    bench.effect.answer = lambda call: [special.get(each.key) for each in call]
    result = await delivered(bench)
    assert result.skipped == [key(1)]
    assert [(failure.key, failure.error, failure.final) for failure in result.failed] == [
        (key(2), "Rejected", True),
        (key(3), "ResultMissing", False),
    ]
    assert len(result.ok) == 47


async def test_a_call_that_fails_is_one_failure_of_the_receiver(bench: Workbench) -> None:
    """Fewer calls than the breaker's ten failures in a row: counted by rows, the second call would not have been sent."""

    def away(call: Sequence[Delivery]) -> Sequence[RowOutcome]:
        raise Outage("Http503", "the receiver answered 503")

    bench.effect.answer = away
    result = await delivered(bench)
    assert len(bench.effect.sent) == 5 < MAX_FAILURES_IN_A_ROW
    assert (len(result.undelivered), result.failed, result.unspent) == (50, [], [])
    assert result.outage is not None
    bench.plan, bench.effect.sent = batches(2), []
    assert len((await delivered(bench)).undelivered) == 50
    assert len(bench.effect.sent) == MAX_FAILURES_IN_A_ROW


async def test_rows_that_always_fail_prove_nothing_about_the_receiver_and_end_their_own_job(bench: Workbench) -> None:
    def away(call: Sequence[Delivery]) -> Sequence[RowOutcome]:
        raise Outage("Http503", "the receiver answered 503")

    bench.plan, bench.effect.answer, health = batches(2), away, ReceiverHealth()
    again = Job(JobKind.KEYS, keys=tuple(key(n) for n in range(50)), rows=50, is_retry=True, attempt=2)
    await delivered(bench, job=again, receiver_health=health)
    assert (len(bench.effect.sent), health.failing) == (MAX_FAILURES_IN_A_ROW, False)


async def test_the_rate_limit_counts_rows_and_the_concurrency_calls(bench: Workbench) -> None:
    class Slots:
        taken, given = 0, 25

        async def acquire(self, run: JobRun) -> bool:
            self.taken += 1
            return self.taken <= self.given

    slots = Slots()
    bench.plan = batches(10, limits=RowLimits(rows_per_second=10))
    result = await delivered(bench, rate_limiter=slots)
    assert [len(call) for call in bench.effect.sent] == [10, 10]
    assert (len(result.ok), len(result.not_started)) == (20, 30)


@pytest.mark.parametrize(("rows", "sizes"), [(5, [1] * 5), (6, [6])])
async def test_a_few_rows_that_were_split_off_or_are_retried_are_sent_alone(
    bench: Workbench, rows: int, sizes: list[int]
) -> None:
    keys = tuple(key(n) for n in range(rows))
    await delivered(bench, rows, Job(JobKind.KEYS, keys=keys, rows=rows))
    assert [len(call) for call in bench.effect.sent] == sizes


@pytest.mark.parametrize("most", [2, 10, 50])
async def test_one_row_that_breaks_the_receiver_dies_alone_after_its_own_attempts(bench: Workbench, most: int) -> None:
    def breaks(call: Sequence[Delivery]) -> Sequence[RowOutcome]:
        if any(each.key == key(13) for each in call):
            raise Outage("Http500", "the receiver answered 500")
        return [None] * len(call)

    bench.plan, bench.source, bench.effect.answer = batches(most), MemorySource(300), breaks
    sweep = (await bench.sweep(retries=True)).sweep
    assert sweep is not None
    assert (sweep.state, sweep.applied, sweep.dead) == (SweepState.COMPLETED, 299, 1)
    assert [(letter.key, letter.error) for letter in await bench.dead()] == [(key(13), "Http500")]
    assert sorted({attempt for k, attempt in bench.effect.attempts if k == key(13)}) == [1, 2, 3]
    assert {k for k, attempt in bench.effect.attempts if attempt > 1} == {key(13)}


async def test_a_dry_run_sends_nothing(bench: Workbench) -> None:
    bench.plan = msgspec.structs.replace(bench.plan, mode="DryRun")
    assert (await bench.sweep()).sweep is not None
    assert bench.effect.sent == []


def test_calls_that_take_their_whole_timeout_fit_into_the_deadline() -> None:
    slow = Effect(webhook=Webhook("http://mailer/", timeout=120.0, batch_rows=20), concurrency=1)
    assert sub_batch_rows(WorkerSettings(), slow) == 20
    assert sub_batch_rows(WorkerSettings(), Effect(webhook=Webhook("http://mailer/", batch_rows=50))) == 50
