"""A fast effect gets the rows of several sub-batches from one statement, and the queue counts several at once."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kubesweep.api.plan import RowLimits
from kubesweep.errors import Outage, RowError
from kubesweep.queue.model import Claim, Job, JobKind, Key, Settlement, SweepState
from kubesweep_worker.effects.base import Delivery
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.jobs.context import JobContext
from kubesweep_worker.jobs.rows.read_ahead import FRESH, MAX_BYTES, MOST, ReadAhead
from kubesweep_worker.jobs.rows.sub_batch import RowReader
from kubesweep_worker.sources.base import Predicate, Scope, SourceRow
from tests.kits.worker import MemorySource, ScriptedEffect, Workbench, a_plan, key, with_effect

ROWS = 1000


class Reads(MemorySource):
    """Records how many rows each statement asks for. A statement that reads an ``unreadable`` row fails."""

    def __init__(self, rows: int) -> None:
        super().__init__(rows)
        self.limits: list[int] = []
        self.unreadable: Key = ("none",)

    async def stale(self, scope: Scope, predicate: Predicate, most: int) -> list[SourceRow]:
        self.limits.append(most)
        found = await super().stale(scope, predicate, most)
        if any(row.key == self.unreadable for row in found):
            raise RowError("NotReadable", "not text")
        return found


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Workbench]:
    plan = with_effect(a_plan(limits=RowLimits(batch_rows=ROWS)))
    made = Workbench(tmp_path, Reads(ROWS), plan=plan, effect=ScriptedEffect())
    made.settings = dataclasses.replace(made.settings, monotonic=Clock())
    yield made
    await made.queue.close()


def reader(bench: Workbench) -> tuple[RowReader, JobRun]:
    context = JobContext(bench.plan, bench.queue, bench.source, bench.effect, bench.settings, consumer="me")
    context.read_ahead.sub_batches = MOST
    run = JobRun(Claim("1", "me", 1, Job(JobKind.RANGE, rows=ROWS)), bench.settings.monotonic)
    return RowReader(context, run, "now", 50), run


def continue_after(run: JobRun, number: int) -> None:
    run.claim = msgspec.structs.replace(run.claim, job=msgspec.structs.replace(run.claim.job, low=key(number)))


def rows_of(size: int, count: int = 50) -> list[SourceRow]:
    return [SourceRow(key(n), {"id": n, "body": "x" * size}, ()) for n in range(count)]


def test_the_rows_of_one_statement_double_while_they_are_used_in_time() -> None:
    ahead = ReadAhead()
    for expected in (2, 4, 8, MOST, MOST):
        ahead.record_used(rows_of(10), 0.4 * FRESH)
        assert ahead.sub_batches == expected
    ahead.record_discarded(3)
    assert ahead.sub_batches == 3
    ahead.record_used(rows_of(10), 0.6 * FRESH)
    assert ahead.sub_batches == 3
    ahead.record_discarded(0)
    assert ahead.sub_batches == 1


@pytest.mark.parametrize(("share", "expected"), [(0.4, 4), (0.8, 2), (1.2, 1)])
def test_long_rows_are_not_read_ahead(share: float, expected: int) -> None:
    ahead = ReadAhead()
    ahead.sub_batches = 2
    ahead.record_used(rows_of(int(share * MAX_BYTES / 50)), 0.0)
    assert ahead.sub_batches == expected


async def test_a_fast_effect_needs_few_statements_and_one_settlement(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.open()
    worker = bench.worker()
    queue, rests = worker._context.queue, list[Settlement]()
    settle = queue.settle

    async def recorded(*given: Any) -> Any:
        rests.extend(each for each in given[2] if each.rest is not None)
        return await settle(*given)

    monkeypatch.setattr(queue, "settle", recorded)
    await worker.run(until_settled=True)
    sweep = (await bench.stats()).sweep
    assert sweep is not None
    assert (sweep.state, sweep.applied) == (SweepState.COMPLETED, ROWS)
    assert isinstance(bench.source, Reads)
    assert bench.source.limits == [50, 100, 200, 400, 400]
    assert rests == []
    assert [call.key for call in bench.effect.calls] == [key(n) for n in range(ROWS)]


async def test_a_slow_effect_settles_each_of_its_sub_batches_and_reads_one_at_a_time(bench: Workbench) -> None:
    clock, seen = bench.settings.monotonic, list[int]()
    assert isinstance(clock, Clock)

    async def slow(delivery: Delivery) -> None:
        clock.now += 0.01
        if delivery.key in (key(150), key(550), key(950)):
            stats = await bench.stats()
            assert stats.sweep is not None
            seen.append(stats.sweep.applied)

    bench.effect.script = slow
    sweep = (await bench.sweep()).sweep
    assert sweep is not None
    assert sweep.applied == ROWS
    assert seen == [100, 500, 900]
    assert isinstance(bench.source, Reads)
    assert set(bench.source.limits) == {50}


async def test_rows_that_the_application_changed_since_they_were_read_get_no_effect(bench: Workbench) -> None:
    read, run = reader(bench)
    first = await read.next()
    assert first.keys == tuple(key(n) for n in range(50))
    continue_after(run, 49)
    assert isinstance(bench.settings.monotonic, Clock)
    bench.settings.monotonic.now += FRESH + 0.1
    bench.source.stale_keys.discard(key(60))
    second = await read.next()
    assert second.keys == tuple(key(n) for n in range(50, 101) if n != 60)


async def test_a_job_that_repeats_rows_reads_them_again(bench: Workbench) -> None:
    read, run = reader(bench)
    await read.next()
    continue_after(run, 29)
    assert (await read.next()).keys == tuple(key(n) for n in range(30, 80))
    continue_after(run, 79)
    assert (await read.next()).keys == tuple(key(n) for n in range(80, 130))
    assert isinstance(bench.source, Reads)
    assert bench.source.limits == [400, 50, 100]


async def test_a_row_that_cannot_be_read_fails_alone_among_many_that_are_read_together(bench: Workbench) -> None:
    assert isinstance(bench.source, Reads)
    bench.source.unreadable = key(333)
    stats = await bench.sweep()
    assert stats.sweep is not None
    assert (stats.sweep.applied, stats.sweep.retrying) == (ROWS - 1, 1)
    assert len(bench.effect.calls) == ROWS - 1
    assert bench.source.limits.count(200) == 2  # the one that failed, and one long after it


async def test_sub_batches_that_are_not_settled_are_counted_when_the_database_goes(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = 0

    def down(call: str) -> None:
        nonlocal reads
        reads += call == "stale"
        if reads == 3 and call == "stale":
            raise Outage("Unreachable", "connection refused")

    bench.source.down = down
    await bench.open()
    released: list[int] = []
    worker = bench.worker()
    release = worker._context.queue.release

    async def recorded(ref: Any, claims: Any) -> Any:
        stats = await bench.stats()
        assert stats.sweep is not None
        released.append(stats.sweep.applied)
        worker.stop()
        return await release(ref, claims)

    monkeypatch.setattr(worker._context.queue, "release", recorded)
    await worker.run()
    assert released == [150]
    assert len(bench.effect.calls) == 150


async def test_sub_batches_that_are_not_settled_are_counted_when_the_worker_stops(bench: Workbench) -> None:
    await bench.open()
    worker = bench.worker()
    bench.effect.script = lambda delivery: worker.stop() if delivery.key == key(149) else None
    await worker.run()
    sweep = (await bench.stats()).sweep
    assert sweep is not None
    assert sweep.applied == len(bench.effect.calls) == 150
    stats = await bench.run()
    assert stats.sweep is not None
    assert (stats.sweep.applied, stats.sweep.unconfirmed, len(bench.effect.calls)) == (ROWS, 0, ROWS)
