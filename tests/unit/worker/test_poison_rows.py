"""Rows that a receiver always refuses become dead letters, and neither they nor an outage affect other rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kubesweep.api.plan import RetryPolicy
from kubesweep.errors import Outage
from kubesweep.queue.model import Key, SweepState
from kubesweep_worker.effects.base import Delivery
from tests.kits.worker import MemorySource, ScriptedEffect, Workbench, a_plan, key, with_effect


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Workbench]:
    made = Workbench(tmp_path, MemorySource(300), plan=with_effect(a_plan()), effect=ScriptedEffect())
    yield made
    await made.queue.close()


def answers_500(bench: Workbench, poison: set[Key]) -> None:
    def script(delivery: Delivery) -> None:
        if delivery.key in poison:
            raise Outage("Http500", "the receiver answered 500")

    bench.effect.script = script


def calls(bench: Workbench) -> Counter[Key]:
    return Counter(call.key for call in bench.effect.calls)


async def test_six_rows_that_always_answer_500_die_and_do_not_open_the_breaker(bench: Workbench) -> None:
    poison = {key(n) for n in range(20, 26)}
    answers_500(bench, poison)
    stats = await bench.sweep(retries=True)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied, stats.sweep.dead) == (SweepState.COMPLETED, 294, 6)
    assert calls(bench) == Counter({key(n): 3 if key(n) in poison else 1 for n in range(300)})
    assert ("Effect", False, "Http500") not in bench.said


async def test_a_whole_sub_batch_of_such_rows_lets_the_rows_behind_it_and_the_next_sweep_through(
    bench: Workbench,
) -> None:
    bench.plan = with_effect(a_plan(retry=RetryPolicy(max_attempts=3, backoff=30.0, max_backoff=60.0)))
    poison = {key(n) for n in range(100, 160)}
    answers_500(bench, poison)
    stats = await bench.sweep()
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied, stats.sweep.dead) == (SweepState.COMPLETED, 240, 0)
    bench.source.stale_keys |= {key(n) for n in range(1000, 1020)}
    stats = await bench.sweep()
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied) == (SweepState.COMPLETED, 20)


async def test_a_sweep_of_six_such_rows_only_ends_without_spending_attempts(bench: Workbench) -> None:
    bench.source.stale_keys = {key(n) for n in range(6)}
    answers_500(bench, set(bench.source.stale_keys))
    stats = await bench.sweep()
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.retrying, stats.sweep.dead) == (SweepState.COMPLETED, 6, 0)


async def test_a_receiver_that_goes_in_the_middle_of_a_sub_batch_and_comes_back_costs_no_attempt(
    bench: Workbench,
) -> None:
    probes = 0

    def count(call: str) -> None:
        nonlocal probes
        probes += call == "probe"

    def script(delivery: Delivery) -> None:
        if len(bench.effect.calls) > 80 and probes < 7:
            raise Outage("Http500", "the receiver answered 500")

    bench.source.down, bench.effect.script = count, script
    stats = await bench.sweep(retries=True)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied, stats.dead) == (SweepState.COMPLETED, 300, 0)
    assert {call.attempt for call in bench.effect.calls} == {1}
