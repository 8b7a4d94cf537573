from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kubesweep.api.plan import Effect as EffectPlan
from kubesweep.api.plan import RetryPolicy, Webhook
from kubesweep.errors import Outage, Reject, RetryAfter, RowError, Skip, SweepFailure
from kubesweep.queue.model import Claims, SweepState
from kubesweep.queue.service import Settled
from kubesweep_worker.effects.base import Delivery, as_row_error, idempotency_key
from kubesweep_worker.jobs.effect_job import sub_batch_rows
from kubesweep_worker.settings import WorkerSettings
from tests.kits.deadlines import scaled
from tests.kits.worker import MemorySource, ScriptedEffect, Workbench, a_plan, key, with_effect


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Workbench]:
    made = Workbench(tmp_path, MemorySource(300), plan=with_effect(a_plan()), effect=ScriptedEffect())
    yield made
    await made.queue.close()


async def test_every_row_gets_its_effect_once_before_it_is_written(bench: Workbench) -> None:
    seen_stale: list[bool] = []
    bench.effect.script = lambda delivery: seen_stale.append(delivery.key in bench.source.stale_keys)
    sweep = (await bench.sweep()).sweep
    assert sweep is not None
    assert (sweep.state, sweep.applied) == (SweepState.COMPLETED, 300)
    assert all(seen_stale)
    assert Counter(call.key for call in bench.effect.calls) == Counter({key(i): 1 for i in range(300)})
    assert max(len(part) for part in bench.source.writes) == 50
    assert len({call.idempotency_key for call in bench.effect.calls}) == 300


async def test_no_more_effects_run_at_once_than_the_plan_allows(bench: Workbench) -> None:
    bench.plan = with_effect(a_plan(), concurrency=3)
    now, most = 0, 0

    async def count() -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1

    bench.effect.script = lambda delivery: count()
    await bench.sweep()
    assert most == 3


async def test_a_row_that_the_handler_skips_is_not_written(bench: Workbench) -> None:
    def script(delivery: Delivery) -> None:
        if delivery.key == key(7):
            raise Skip

    bench.effect.script = script
    sweep = (await bench.sweep()).sweep
    assert sweep is not None
    assert (sweep.applied, sweep.skipped) == (299, 1)
    assert bench.source.stale_keys == {key(7)}


async def test_a_rejected_row_is_dead_at_once(bench: Workbench) -> None:
    def script(delivery: Delivery) -> None:
        if delivery.key == key(7):
            raise Reject("no such customer")

    bench.effect.script = script
    sweep = (await bench.sweep()).sweep
    assert sweep is not None
    assert (sweep.applied, sweep.dead) == (299, 1)
    (letter,) = await bench.dead()
    assert (letter.error, letter.message) == ("Rejected", "no such customer")


async def test_a_failing_row_is_retried_under_the_same_idempotency_key_until_it_dies(bench: Workbench) -> None:
    def script(delivery: Delivery) -> None:
        if delivery.key == key(7):
            raise RowError("ValueError", f"attempt {delivery.attempt}")

    bench.effect.script = script
    stats = await bench.sweep(retries=True)
    assert stats.sweep is not None
    assert (stats.sweep.applied, stats.sweep.dead) == (299, 1)
    calls = [call for call in bench.effect.calls if call.key == key(7)]
    assert [call.attempt for call in calls] == [1, 2, 3]
    assert len({call.idempotency_key for call in calls}) == 1


async def test_retry_after_is_respected(bench: Workbench) -> None:
    def script(delivery: Delivery) -> None:
        if delivery.key == key(7):
            raise RetryAfter(3600)

    bench.effect.script = script
    await bench.sweep()
    claims = await bench.queue.claim(bench.plan.ref, "asks", 1, bench.plan.queue_limits)
    assert claims.next_delayed is not None
    now = (await bench.stats()).sweep
    assert now is not None
    assert now.finished is not None
    assert 3500 < claims.next_delayed - now.finished < 3700


async def test_one_row_whose_receiver_answers_500_dies_alone_while_others_are_served(bench: Workbench) -> None:
    def script(delivery: Delivery) -> None:
        if delivery.key == key(7):
            raise Outage("Http500", "the receiver answered 500")

    bench.effect.script = script
    stats = await bench.sweep(retries=True)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied, stats.sweep.dead) == (SweepState.COMPLETED, 299, 1)


async def test_a_receiver_that_is_away_costs_no_attempt_and_is_not_hammered(bench: Workbench) -> None:
    probes = 0

    def count(call: str) -> None:
        nonlocal probes
        probes += call == "probe"

    def script(delivery: Delivery) -> None:
        if probes < 8:
            raise Outage("Http503", "the receiver answered 503")

    bench.source.down, bench.effect.script = count, script
    stats = await bench.sweep()
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied, stats.excluded) == (SweepState.COMPLETED, 300, 0)
    assert {call.attempt for call in bench.effect.calls} == {1}
    assert len(bench.effect.calls) <= 300 + 9 * 20  # each probe is cut short, long before a whole sub-batch


async def test_an_outage_in_the_middle_of_a_sub_batch_keeps_what_succeeded(bench: Workbench) -> None:
    probes = 0

    def count(call: str) -> None:
        nonlocal probes
        probes += call == "probe"

    def script(delivery: Delivery) -> None:
        if probes < 4 and delivery.key > key(9):
            raise Outage("Unreachable", "connection refused")

    bench.source.down, bench.effect.script = count, script
    stats = await bench.sweep()
    assert [each for each in bench.said if each[0] == "Effect"] == [
        ("Effect", True, "Loaded"),
        ("Effect", False, "Unreachable"),
        ("Effect", True, "Works"),
    ]
    assert stats.sweep is not None
    assert (stats.sweep.applied, stats.sweep.retrying, stats.sweep.dead) == (300, 0, 0)
    calls = Counter(call.key for call in bench.effect.calls)
    assert all(calls[key(i)] == 1 for i in range(10))
    assert any(count > 1 for count in calls.values())


async def test_a_lonely_row_that_nobody_vouches_for_leaves_the_sweep_without_blame(bench: Workbench) -> None:
    bench.source.stale_keys = {key(7)}
    bench.settings = WorkerSettings(backoff=0.001, max_backoff=0.002)

    def script(delivery: Delivery) -> None:
        raise Outage("Http500", "the receiver answered 500")

    bench.effect.script = script
    stats = await bench.sweep()
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.retrying, stats.sweep.dead) == (SweepState.COMPLETED, 1, 0)


async def test_a_handler_without_write_must_leave_its_rows_not_stale(bench: Workbench) -> None:
    bench.plan = with_effect(a_plan(write=None, retry=RetryPolicy(max_attempts=1)))

    def script(delivery: Delivery) -> None:
        if delivery.key != key(7):
            bench.source.stale_keys.discard(delivery.key)

    bench.effect.script = script
    stats = await bench.sweep()
    assert stats.sweep is not None
    assert (stats.sweep.applied, stats.sweep.dead) == (299, 1)
    (letter,) = await bench.dead()
    assert (letter.key, letter.error) == (key(7), "StillStale")


async def test_a_poison_write_after_an_effect_fails_only_its_row(bench: Workbench) -> None:
    bench.source.poison = {key(7)}
    sweep = (await bench.sweep()).sweep
    assert sweep is not None
    assert (sweep.applied, sweep.retrying + sweep.dead) == (299, 1)  # a slow machine retries it meanwhile


async def test_a_flood_of_dead_rows_halts_the_sweep(bench: Workbench) -> None:
    def script(delivery: Delivery) -> None:
        raise Reject("all wrong")

    bench.effect.script = script
    sweep = (await bench.sweep()).sweep
    assert sweep is not None
    assert (sweep.state, sweep.reason, sweep.applied) == (SweepState.HALTED, "Flood", 0)
    assert len(bench.effect.calls) < 300


def test_the_idempotency_key_follows_from_schedule_row_and_times_only() -> None:
    one = idempotency_key("6f1c1f1e-0000-5000-8000-000000000000", ("1",), ("t0",))
    assert one == idempotency_key("6f1c1f1e-0000-5000-8000-000000000000", ("1",), ("t0",))
    others = {
        idempotency_key("no uuid", ("1",), ("t0",)),
        idempotency_key("6f1c1f1e-0000-5000-8000-000000000000", ("2",), ("t0",)),
        idempotency_key("6f1c1f1e-0000-5000-8000-000000000000", ("1",), ("t1",)),
    }
    assert len(others) == 3
    assert one not in others


@pytest.mark.parametrize(("timeout", "concurrency", "rows"), [(10, 20, 50), (30, 1, 5), (300, 4, 4), (149, 1, 1)])
def test_a_sub_batch_of_slow_effects_fits_into_half_a_deadline(timeout: float, concurrency: int, rows: int) -> None:
    assert sub_batch_rows(WorkerSettings(), EffectPlan(handler="m:f", timeout=timeout, concurrency=concurrency)) == rows
    hook = EffectPlan(webhook=Webhook("http://x", timeout=timeout), concurrency=concurrency)
    assert sub_batch_rows(WorkerSettings(), hook) == rows


async def test_an_error_text_that_is_not_utf_8_is_that_rows_failure_and_stops_nobody(bench: Workbench) -> None:
    def script(delivery: Delivery) -> None:
        if delivery.key == key(7):
            raise Reject("no such file: caf\udce9.txt")

    bench.effect.script = script
    sweep = (await bench.sweep()).sweep
    assert sweep is not None
    assert (sweep.state, sweep.applied, sweep.dead) == (SweepState.COMPLETED, 299, 1)
    (letter,) = await bench.dead()
    assert letter.message == "no such file: caf\ufffd.txt"


async def test_a_handler_that_fails_the_sweep_is_quoted_with_its_own_reason(bench: Workbench) -> None:
    def script(delivery: Delivery) -> None:
        raise SweepFailure("LicenceExpired", "renew the licence")

    bench.effect.script = script
    sweep = (await bench.sweep()).sweep
    assert sweep is not None
    assert (sweep.state, sweep.reason, sweep.message) == (SweepState.FAILED, "LicenceExpired", "renew the licence")


async def test_rows_written_before_an_outage_in_the_same_write_are_not_counted_as_skipped(bench: Workbench) -> None:
    bench.source.poison = {key(49)}
    writes = 0

    def third_write_is_lost(call: str) -> None:
        nonlocal writes
        writes += call == "write"
        if call == "write" and writes == 3:
            raise Outage("ConnectionLost", "the connection broke")

    bench.source.down = third_write_is_lost
    sweep = (await bench.sweep()).sweep
    assert sweep is not None
    assert (sweep.applied + sweep.unconfirmed, sweep.skipped, sweep.retrying) == (299, 0, 1)
    assert sweep.unconfirmed > 0


async def test_a_part_whose_settling_was_cut_off_by_a_stop_is_not_counted_twice(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    bench.clock = lambda: now
    bench.queue = bench.connect()
    await bench.open()
    worker = bench.worker()
    queue = worker._context.queue
    settle = queue.settle

    async def stopped_before_the_answer(*given: Any) -> Settled:
        answer = await settle(*given)
        if any(part.rest is not None for part in given[2]):
            worker.stop()
            worker.stop(now=True)
            await asyncio.Event().wait()
        return answer

    monkeypatch.setattr(queue, "settle", stopped_before_the_answer)
    async with asyncio.timeout(scaled(60)):
        await worker.run()
    assert (await bench.stats()).running > 0
    now += 31  # its lease runs out
    sweep = (await bench.run()).sweep
    assert sweep is not None
    assert (sweep.state, sweep.planned, sweep.settled_rows) == (SweepState.COMPLETED, 300, 300)


async def test_a_worker_that_slept_longer_than_its_leases_goes_on_with_what_it_has_in_hand(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    bench.clock = lambda: now
    bench.queue = bench.connect()
    bench.source.stale_keys = {key(1), key(2)}
    begun, awake = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        begun.set()
        await awake.wait()

    bench.effect.script = lambda delivery: wait()
    await bench.open()
    worker = bench.worker()
    receive, received = worker._loop._receive, asyncio.Event()

    def seen(claims: Claims, *given: Any) -> None:
        receive(claims, *given)
        if any(claim.delivery > 1 for claim in claims.jobs):
            received.set()

    monkeypatch.setattr(worker._loop, "_receive", seen)
    async with asyncio.timeout(scaled(60)):
        work = asyncio.create_task(worker.run(until_settled=True))
        await begun.wait()
        now += 600
        worker._loop.wakeup.set()
        await received.wait()
        awake.set()
        await work
    sweep = (await bench.stats()).sweep
    assert sweep is not None
    assert (sweep.state, sweep.applied) == (SweepState.COMPLETED, 2)
    assert Counter(call.key for call in bench.effect.calls) == Counter({key(1): 1, key(2): 1})


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), "soon", None])
def test_retry_after_refuses_what_is_no_number_of_seconds_where_it_is_raised(seconds: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        RetryAfter(seconds)


def test_retry_after_takes_the_text_of_a_header() -> None:
    header: Any = "120"
    assert RetryAfter(header).retry_after == 120.0
    assert RetryAfter(-5).retry_after == 0.0


def test_an_error_that_cannot_say_what_it_is_is_still_its_rows_failure() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError("no words")

    failure = as_row_error(Mute())
    assert (failure.error, str(failure)) == ("Mute", "Mute, whose text cannot be read (ValueError)")


@pytest.mark.parametrize(
    "raised",
    [
        OverflowError("beyond the calendar"),
        UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
        RecursionError("too deep"),
        KeyError("x"),
        MemoryError("too big"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_an_exception_that_no_effect_should_raise_is_still_its_rows_alone(
    bench: Workbench, raised: Exception
) -> None:
    def script(delivery: Delivery) -> None:
        if delivery.key == key(7):
            raise raised

    bench.effect.script = script
    stats = await bench.sweep(retries=True)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied, stats.sweep.dead) == (SweepState.COMPLETED, 299, 1)
    (letter,) = await bench.dead()
    assert (letter.key, letter.error) == (key(7), type(raised).__name__)
    assert len(bench.effect.calls) == 299 + 3


@pytest.mark.parametrize("call", ["stale", "write"])
async def test_a_defect_that_one_row_provokes_refuses_that_row_and_repeats_no_effect(
    bench: Workbench, call: str
) -> None:
    bench.source.cursed = {call: {key(7)}}
    stats = await bench.sweep(retries=True)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied, stats.sweep.dead) == (SweepState.COMPLETED, 299, 1)
    (letter,) = await bench.dead()
    assert (letter.key, letter.error) == (key(7), "WorkerDefect")
    calls = Counter(delivery.key for delivery in bench.effect.calls)
    assert {calls[key(i)] for i in range(300) if i != 7} == {1}
