"""Every sweep ends, however fast rows turn stale, and rows that stay stale do not keep it from the others."""

from __future__ import annotations

import random
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kubesweep.api.plan import RetryPolicy, RowLimits
from kubesweep.errors import Skip
from kubesweep.queue.model import Job, JobKind, Key, PlanVersion, Sweep, SweepState, Window
from kubesweep_worker.jobs.plan_job import UNCOUNTED, window_of
from kubesweep_worker.settings import WorkerSettings
from kubesweep_worker.sources.base import Cut, Cuts, Predicate, Range
from tests.kits.worker import MemorySource, ScriptedEffect, Workbench, a_plan, key, with_effect


class Inflow(MemorySource):
    """Each cut finds more rows than the sweep before it took away. ``fresh`` makes their keys."""

    def __init__(self, rows: int, fresh: Callable[[int], Key]) -> None:
        super().__init__(0)
        self._made, self._fresh = 0, fresh
        self._more(rows)

    def _more(self, rows: int) -> None:
        self.stale_keys |= {self._fresh(self._made + n) for n in range(rows)}
        self._made += rows

    async def cut(
        self, predicate: Predicate, after: Key | None, batch: int, most: int, until: Key | None = None
    ) -> Cuts:
        self._more(2 * most)
        assert self._made < 200_000, "this sweep does not end"
        return await super().cut(predicate, after, batch, most, until)


FRESH: dict[str, Callable[[int], Key]] = {
    "ascending numbers": lambda n: (f"{n:09d}",),
    "random uuids": lambda n: (str(uuid.UUID(int=random.Random(n).getrandbits(128))),),
    "two columns, one of them random": lambda n: (random.Random(n).choice("abc"), f"{n:09d}"),
}


@pytest.mark.parametrize("kind", FRESH)
async def test_a_sweep_ends_though_rows_turn_stale_faster_than_it_works(tmp_path: Path, kind: str) -> None:
    first = 3000
    source = Inflow(first, FRESH[kind])
    bench = Workbench(tmp_path, source, a_plan(limits=RowLimits(batch_rows=1000), max_replicas=1, jobs_per_replica=2))
    stats = await bench.sweep()
    await bench.queue.close()
    assert stats.sweep is not None
    assert stats.sweep.state is SweepState.COMPLETED
    if kind == "ascending numbers":  # after the greatest key of the start
        assert (stats.sweep.planned, stats.sweep.capped) == (first, False)
    assert first <= stats.sweep.planned <= 4 * UNCOUNTED


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Workbench]:
    made = Workbench(tmp_path, MemorySource(10), a_plan(limits=RowLimits(batch_rows=2, max_rows_per_sweep=4)))
    yield made
    await made.queue.close()


async def test_rows_that_a_handler_skips_do_not_keep_the_sweep_from_the_others(bench: Workbench) -> None:
    """Skipped rows stay stale: a capped sweep that began at the first key would plan nothing else, for ever."""

    def skips(delivery: object) -> None:
        raise Skip

    bench.plan, bench.effect = with_effect(bench.plan), ScriptedEffect(skips)
    for _ in range(5):
        assert (await bench.sweep()).sweep is not None
    seen = [int(delivery.key[0]) for delivery in bench.effect.calls]
    assert sorted(seen[:10]) == list(range(10))
    assert len(seen) == 20
    assert {seen.count(number) for number in range(10)} == {2}


async def test_a_sweep_after_a_complete_one_begins_at_the_first_key(bench: Workbench) -> None:
    for rows in (4, 4, 2, 0):
        stats = await bench.sweep()
        assert stats.sweep is not None
        assert stats.sweep.applied == rows
    bench.source.stale_keys = {key(0), key(9)}
    again = (await bench.sweep()).sweep
    assert again is not None
    assert (again.applied, again.capped, again.stopped) == (2, False, "")


async def test_a_sweep_of_a_changed_plan_begins_at_the_first_key(bench: Workbench) -> None:
    await bench.sweep()
    bench.source.stale_keys |= {key(0)}
    bench.plan = a_plan(limits=RowLimits(batch_rows=3, max_rows_per_sweep=3), generation=2)
    await bench.sweep()
    assert key(0) not in bench.source.stale_keys


ONCE = RetryPolicy(max_attempts=1)


async def test_rows_behind_a_flood_are_swept_though_each_capped_sweep_halts(bench: Workbench) -> None:
    """Without an effect a sweep Halts at its end, so the next one continues where it was capped."""
    bench.source.stale_keys = {key(number) for number in range(75)}
    bench.source.poison = {key(number) for number in range(5, 45)}
    bench.plan = a_plan(limits=RowLimits(batch_rows=5, max_rows_per_sweep=10), halt_above=5, retry=ONCE)
    states = []
    for _ in range(8):
        sweep = (await bench.sweep()).sweep
        assert sweep is not None
        states.append((sweep.state, sweep.applied))
    completed, halted = SweepState.COMPLETED, SweepState.HALTED
    assert states[:4] == [(completed, 5), (halted, 0), (halted, 0), (halted, 0)]
    # The last one came to the end of the table and went on from its beginning, to rows for which there was no room.
    assert states[4:] == [(halted, 5), (completed, 10), (completed, 10), (halted, 5)]
    assert bench.source.stale_keys == bench.source.poison


async def test_a_sweep_begins_before_the_rows_that_one_halted_early_did_not_reach(tmp_path: Path) -> None:
    """With an effect a flood drops the jobs after it. A sweep that began after those would leave their rows out."""

    def refuses(delivery: object) -> None:
        raise ValueError

    # One window has all four jobs, and they are done one by one: the first one is the flood.
    limits = RowLimits(batch_rows=60, max_rows_per_sweep=240)
    plan = with_effect(a_plan(limits=limits, retry=ONCE, max_replicas=1, jobs_per_replica=2))
    bench = Workbench(tmp_path, MemorySource(1000), plan, ScriptedEffect(refuses), WorkerSettings(concurrency=1))
    stats = await bench.sweep()
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.reason, stats.sweep.capped) == (SweepState.HALTED, "Flood", True)
    tried = {delivery.key for delivery in bench.effect.calls}
    bench.effect.script = lambda delivery: None
    await bench.sweep()
    await bench.queue.close()
    first = min({key(number) for number in range(1000)} - tried)
    assert first < key(240)
    assert first in {delivery.key for delivery in bench.effect.calls}


CAPPED = Sweep(id="s", tick=0.0, plan=PlanVersion(1, "a"), planned=9, dead=9, capped=True, stopped='["9"]')


@pytest.mark.parametrize(
    ("changes", "tried"),
    [
        ({"state": SweepState.HALTED}, True),
        ({"state": SweepState.HALTED, "planned": 10}, False),
        ({"state": SweepState.HALTED, "capped": False, "stopped": ""}, False),
        ({"state": SweepState.COMPLETED, "capped": False, "stopped": ""}, True),
        ({"state": SweepState.FAILED}, True),
        ({"state": SweepState.FAILED, "planned": 10}, False),
        ({"state": SweepState.SUPERSEDED}, False),
    ],
    ids=[
        "halted at its end",
        "halted and dropped jobs",
        "halted and dropped its plan step",
        "completed",
        "failed at its end",
        "failed early",
        "superseded",
    ],
)
def test_only_a_sweep_that_tried_all_that_it_planned_passes_on_its_key(changes: dict[str, Any], tried: bool) -> None:
    assert msgspec.structs.replace(CAPPED, **changes).tried_all is tried


STEP = Job(kind=JobKind.PLAN, sweep="s", cutoff="now", origin="o", low=key(5), high=key(9), wrap=key(5))


def test_a_chain_that_began_in_the_middle_continues_from_the_first_key_up_to_there() -> None:
    window = window_of(Cuts((Cut(Range(key(5), key(9)), 4),), 4, None), STEP, a_plan(), "now")
    assert window.next is not None
    assert (window.next.low, window.next.high, window.next.wrap, window.next.planned) == (None, key(5), None, 4)
    last = window_of(Cuts((), 0, None), window.next, a_plan(), "now")
    assert (last.next, last.capped, last.stopped) == (None, False, "")


def test_a_cap_that_is_reached_at_the_end_of_the_table_lets_the_next_sweep_begin_at_its_start() -> None:
    plan = a_plan(limits=RowLimits(max_rows_per_sweep=4))
    window: Window = window_of(Cuts((Cut(Range(key(5), key(9)), 4),), 4, None), STEP, plan, "now")
    assert (window.next, window.capped, window.stopped) == (None, True, "")


@pytest.mark.parametrize("mode", ["Enforce", "DryRun"])
def test_a_window_before_the_end_of_the_table_continues_at_its_cursor(mode: str) -> None:
    step, plan = msgspec.structs.replace(STEP, crashes=2, planned=3), a_plan(mode=mode)
    window = window_of(Cuts((Cut(Range(key(5), key(7)), 4),), 4, key(7)), step, plan, "now")
    assert window.next == msgspec.structs.replace(step, plan=plan.version, low=key(7), planned=7, crashes=0)
    assert (window.capped, window.stopped, window.planned) == (False, "", 4)
    assert [job.rows for job in window.jobs] == ([4] if mode == "Enforce" else [])


def test_a_cap_that_is_reached_at_the_last_row_of_the_sweep_is_no_cap() -> None:
    step, plan = msgspec.structs.replace(STEP, wrap=None), a_plan(limits=RowLimits(max_rows_per_sweep=4))
    window = window_of(Cuts((Cut(Range(key(5), key(9)), 4),), 4, None), step, plan, "now")
    assert (window.next, window.capped, window.stopped) == (None, False, "")
