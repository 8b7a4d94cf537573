"""An effect that succeeded is not repeated when only its write has to be."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kubesweep.api.plan import Source
from kubesweep.errors import Outage, RowError
from kubesweep.queue.model import HealthLimits, Pace, SweepState
from kubesweep_worker.effects.base import Delivery
from kubesweep_worker.phases import THROTTLED
from tests.kits import polling
from tests.kits.deadlines import scaled
from tests.kits.worker import MemorySource, ScriptedEffect, Workbench, a_plan, key, with_effect


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Workbench]:
    made = Workbench(tmp_path, MemorySource(300), plan=with_effect(a_plan()), effect=ScriptedEffect())
    yield made
    await made.queue.close()


def calls(bench: Workbench) -> Counter[int]:
    return Counter(int(call.key[0]) for call in bench.effect.calls)


ONCE = Counter(range(300))


async def test_a_locked_row_has_its_effect_once_however_often_its_write_is_tried(bench: Workbench) -> None:
    bench.source.child_locked = {key(7)}
    bench.source.locked = {key(8)}
    await bench.sweep()
    await bench.run(retries=False)
    bench.source.child_locked, bench.source.locked = set(), set()
    stats = await bench.run(retries=True)
    assert (stats.excluded, bench.source.stale_keys) == (0, set())
    assert calls(bench) == ONCE


@pytest.mark.parametrize("trouble", ["poison", "refused", "slow"])
async def test_a_row_whose_write_fails_until_it_dies_has_its_effect_once_and_a_replay_does_not_repeat_it(
    bench: Workbench, trouble: str
) -> None:
    setattr(bench.source, trouble, {key(7): 2.0} if trouble == "slow" else {key(7)})
    stats = await bench.sweep(retries=True)
    assert stats.sweep is not None
    assert (stats.sweep.applied, stats.sweep.dead) == (299, 1)
    assert calls(bench) == ONCE
    setattr(bench.source, trouble, {} if trouble == "slow" else set())
    assert await bench.queue.replay(bench.plan.ref) == 1
    await bench.run(retries=True)
    assert bench.source.stale_keys == set()
    assert calls(bench) == ONCE


async def test_an_outage_between_effect_and_write_repeats_no_effect(bench: Workbench) -> None:
    writes = 0

    def down(call: str) -> None:
        nonlocal writes
        writes += call == "write"
        if call == "write" and writes in (2, 5):
            raise Outage("ConnectionLost", "the database's connection broke")

    bench.source.down = down
    bench.source.poison = {key(7)}
    stats = await bench.sweep(retries=True)
    assert stats.sweep is not None
    assert stats.sweep.state is SweepState.COMPLETED
    assert calls(bench) == ONCE


async def test_a_row_that_turned_stale_again_has_its_effect_again(bench: Workbench) -> None:
    bench.source.child_locked = {key(7)}
    await bench.sweep()
    bench.source.child_locked, bench.source.stamp = set(), "t1"
    await bench.run(retries=True)
    assert calls(bench) == ONCE + Counter([7])
    assert len({call.idempotency_key for call in bench.effect.calls if call.key == key(7)}) == 2


async def test_an_effect_that_failed_is_tried_again(bench: Workbench) -> None:
    def script(delivery: object) -> None:
        if len(bench.effect.calls) == 1:
            raise RowError("ValueError", "the first call fails")

    bench.effect.script = script
    stats = await bench.sweep(retries=True)
    assert stats.sweep is not None
    assert sum(calls(bench).values()) == 301


async def test_rows_that_were_written_before_a_pause_are_counted_though_the_worker_is_stopped_in_it(
    tmp_path: Path,
) -> None:
    health = HealthLimits(lock_waits=5.0)
    paused = Pace(rate=0.0, throttle="pause", health=health)
    plan = with_effect(a_plan(source=Source(table="rows", health=health)), concurrency=1)
    bench = Workbench(tmp_path, MemorySource(100), plan=plan)
    bench.source.signals = {"lockWaits": 0.0}

    async def pause(delivery: Delivery) -> None:
        if delivery.key == key(49):
            await bench.queue.set_pace(plan.ref, paused)
            worker._context.apply_pace(paused)

    bench.effect = ScriptedEffect(pause)
    worker = bench.worker(grace=0.0)
    await bench.open()
    running = asyncio.create_task(worker.run())

    async def throttled() -> bool:
        waits = any(run.phase == THROTTLED for run in worker._in_flight.running())
        return waits and len(bench.source.stale_keys) == 50

    await polling.until(throttled)
    worker.stop()
    await asyncio.wait_for(running, scaled(20))
    sweep = (await bench.stats()).sweep
    await bench.queue.close()
    assert sweep is not None
    assert sweep.applied == 50
