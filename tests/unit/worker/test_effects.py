"""Jobs with an effect: each row gets its effect once before it is written, and failures spend attempts."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kubesweep.api.plan import Effect as EffectPlan
from kubesweep.api.plan import RetryPolicy, Webhook
from kubesweep.errors import Outage, Reject, RetryAfter, RowError, Skip
from kubesweep.queue.model import SweepState
from kubesweep_worker.effects.base import Delivery, idempotency_key
from kubesweep_worker.jobs.effect_job import sub_batch_rows
from kubesweep_worker.settings import WorkerSettings
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


async def test_a_lonely_row_that_no_other_row_speaks_for_leaves_the_sweep_without_spending_an_attempt(
    bench: Workbench,
) -> None:
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


@pytest.mark.parametrize("uid", ["6f1c1f1e-0000-5000-8000-000000000000", "no uuid"])
def test_an_idempotency_key_is_the_name_based_uuid_of_key_and_stamp(uid: str) -> None:
    space = uuid.UUID(uid) if "-" in uid else uuid.uuid5(uuid.NAMESPACE_URL, uid)
    for n in range(50):
        name = f'["{n}","é"]\n["t{n}",null]'
        assert idempotency_key(uid, (str(n), "é"), (f"t{n}", None)) == str(uuid.uuid5(space, name))


@pytest.mark.parametrize(("timeout", "concurrency", "rows"), [(10, 20, 50), (30, 1, 5), (300, 4, 4), (149, 1, 1)])
def test_a_sub_batch_of_slow_effects_fits_into_half_a_deadline(timeout: float, concurrency: int, rows: int) -> None:
    assert sub_batch_rows(WorkerSettings(), EffectPlan(handler="m:f", timeout=timeout, concurrency=concurrency)) == rows
    hook = EffectPlan(webhook=Webhook("http://x", timeout=timeout), concurrency=concurrency)
    assert sub_batch_rows(WorkerSettings(), hook) == rows
