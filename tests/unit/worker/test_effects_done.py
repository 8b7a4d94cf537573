"""An effect that succeeded is not repeated when only its write has to be."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kubesweep.errors import Outage, RowError
from kubesweep.queue.model import SweepState
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
