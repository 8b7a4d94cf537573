"""Odd failures of effects: each is the failure of its own row."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kubesweep.errors import Outage, Reject, RetryAfter, SweepFailure
from kubesweep.queue.model import Claims, SweepState
from kubesweep.queue.service import Settled
from kubesweep_worker.effects.base import Delivery, as_row_error
from tests.kits.deadlines import scaled
from tests.kits.worker import MemorySource, ScriptedEffect, Workbench, a_plan, key, skip_first, with_effect


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Workbench]:
    made = Workbench(tmp_path, MemorySource(300), plan=with_effect(a_plan()), effect=ScriptedEffect())
    yield made
    await made.queue.close()


async def test_an_error_text_that_is_not_utf_8_is_that_rows_failure_and_stops_no_other(bench: Workbench) -> None:
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


async def test_a_settlement_that_was_cut_off_by_a_stop_is_not_counted_twice(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    bench.clock = lambda: now
    bench.queue = bench.connect()
    bench.effect = ScriptedEffect(skip_first)
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


async def test_a_worker_that_slept_longer_than_its_leases_continues_with_what_it_has_claimed(
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
