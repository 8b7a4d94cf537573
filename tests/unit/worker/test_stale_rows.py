"""What a plan step records about the stale rows, and that the sweep never waits for it or fails with it."""

from __future__ import annotations

import asyncio
import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest

from kubesweep.api.plan import RowLimits
from kubesweep.errors import Outage, RowError, SweepFailure
from kubesweep.queue.model import Key, StaleRows, Sweep, SweepState
from kubesweep.queue.sqlite.queue import SqliteQueue
from kubesweep.timestamps import LAST
from kubesweep_worker.jobs import plan_job, stale_rows
from kubesweep_worker.sources.base import Cuts, Predicate, Scope, Written
from kubesweep_worker.sources.stale_search import StaleSearch
from tests.kits.deadlines import scaled
from tests.kits.worker import MemorySource, Workbench, a_plan

SINCE = 1_700_000_000.0


async def swept(bench: Workbench) -> Sweep:
    sweep = (await bench.sweep()).sweep
    assert sweep is not None
    return sweep


async def test_a_sweep_knows_its_oldest_row_and_how_many_there_were(bench: Workbench) -> None:
    bench.source.oldest_row = lambda: StaleRows(1100, SINCE)
    sweep = await swept(bench)
    assert (sweep.state, sweep.applied) == (SweepState.COMPLETED, 1000)
    assert (sweep.stale, sweep.oldest, sweep.oldest_unknown) == (1100, SINCE, "")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Outage("ConnectionLost", "the connection broke"), "the connection broke"),
        (SweepFailure("PermissionDenied", "the role may not read"), "the role may not read"),
        (RowError("22P02", "invalid value"), "invalid value"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError"),
    ],
)
async def test_an_error_only_makes_the_age_unknown(bench: Workbench, error: Exception, text: str) -> None:
    def fail(call: str) -> None:
        if call == "oldest":
            raise error

    bench.source.down = fail
    sweep = await swept(bench)
    assert (sweep.state, sweep.applied) == (SweepState.COMPLETED, 1000)
    assert (sweep.oldest, sweep.stale) == (None, None)
    assert text in sweep.oldest_unknown


class Slow(MemorySource):
    """A database whose search ends when every row is written, or never."""

    def __init__(self, rows: int, *, ends: bool) -> None:
        super().__init__(rows)
        self.ends = ends
        self.written = asyncio.Event()
        self.ended = asyncio.Event()

    async def oldest(self, predicate: Predicate, search: StaleSearch) -> StaleRows:
        try:
            await (self.written if self.ends else asyncio.Event()).wait()
            return StaleRows(1000, SINCE)
        finally:
            self.ended.set()

    async def write(self, scope: Scope, predicate: Predicate, *, skip_locked: bool = False) -> Written:
        written = await super().write(scope, predicate, skip_locked=skip_locked)
        if not self.stale_keys:
            self.written.set()
        return written


async def test_no_job_waits_for_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends only after every row was written, and is recorded then."""
    monkeypatch.setattr(stale_rows, "PATIENCE", scaled(60))
    bench = Workbench(tmp_path, Slow(1000, ends=True))
    sweep = await swept(bench)
    await bench.queue.close()
    assert (sweep.state, sweep.applied, sweep.oldest) == (SweepState.COMPLETED, 1000, SINCE)


async def test_a_search_that_never_ends_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stale_rows, "PATIENCE", 0.01)
    source = Slow(1000, ends=False)
    bench = Workbench(tmp_path, source)
    sweep = await swept(bench)
    await bench.queue.close()
    assert source.ended.is_set()
    assert (sweep.state, sweep.applied, sweep.oldest) == (SweepState.COMPLETED, 1000, None)
    assert sweep.oldest_unknown == "the database does not answer in time"


async def test_rows_that_the_plan_step_counts_replace_the_estimate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second window counts. Rows that are settled by then were stale too; one that is settled meanwhile is missing."""
    monkeypatch.setattr(plan_job, "UNCOUNTED", 100)
    plan = a_plan(limits=RowLimits(batch_rows=100), max_replicas=1, jobs_per_replica=1)
    bench = Workbench(tmp_path, MemorySource(1000), plan)
    bench.source.oldest_row = lambda: StaleRows(77, SINCE, estimated=True)
    sweep = await swept(bench)
    assert sweep.planned == 1000
    assert sweep.stale is not None
    assert 77 < sweep.stale <= 1000
    assert not sweep.estimated
    await bench.queue.close()


@pytest.mark.parametrize(
    ("found", "kept"), [(-math.inf, 0.0), (math.inf, LAST), (math.nan, None), (-5e10, 0.0), (SINCE, SINCE)]
)
async def test_a_time_that_has_no_date_is_the_nearest_that_has(
    bench: Workbench, found: float, kept: float | None
) -> None:
    bench.source.oldest_row = lambda: StaleRows(1000, found)
    assert (await swept(bench)).oldest == kept


async def test_a_sweep_that_awaits_approval_knows_its_oldest_row(bench: Workbench) -> None:
    bench.plan = a_plan(limits=RowLimits(batch_rows=100, approve_above_rows=500))
    bench.source.oldest_row = lambda: StaleRows(1000, SINCE)
    sweep = await swept(bench)
    assert (sweep.state, sweep.oldest, sweep.stale) == (SweepState.AWAITING_APPROVAL, SINCE, 1000)


CAPPED = RowLimits(batch_rows=100, max_rows_per_sweep=500)


class Counted(MemorySource):
    """A database that fixes what the search sees only when the window was cut and every task that can run has run."""

    def __init__(self, rows: int) -> None:
        super().__init__(rows)
        self.cut_once = asyncio.Event()

    async def cut(
        self, predicate: Predicate, after: Key | None, batch: int, most: int, until: Key | None = None
    ) -> Cuts:
        found = await super().cut(predicate, after, batch, most, until)
        self.cut_once.set()
        return found

    async def oldest(self, predicate: Predicate, search: StaleSearch) -> StaleRows:
        await self.cut_once.wait()
        for _ in range(1000):
            await asyncio.sleep(0)
        rows = len(self.stale_keys)
        search.fixed()
        return StaleRows(rows, SINCE)


async def test_the_rows_of_a_capped_sweep_are_counted_before_the_first_of_them_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is never planned to the end, so nothing else says how many there are."""
    monkeypatch.setattr(stale_rows, "BOUND", scaled(60))
    bench = Workbench(tmp_path, Counted(1000), a_plan(limits=CAPPED))
    at_first = list[tuple[int, list[int]]]()
    advance = SqliteQueue.advance

    async def noted(queue: SqliteQueue, *given: Any) -> bool:
        at_first.append((len(bench.source.stale_keys), list(counted)))
        return await advance(queue, *given)

    counted = list[int]()
    found = bench.source.oldest

    async def searched(predicate: Predicate, search: StaleSearch) -> StaleRows:
        def both() -> None:
            counted.append(len(bench.source.stale_keys))
            search.fixed()

        answer: StaleRows = await found(predicate, dataclasses.replace(search, fixed=both))
        return answer

    monkeypatch.setattr(SqliteQueue, "advance", noted)
    monkeypatch.setattr(bench.source, "oldest", searched)
    sweep = await swept(bench)
    await bench.queue.close()
    assert at_first[0] == (1000, [1000])
    assert (sweep.capped, sweep.applied, sweep.stale, sweep.estimated) == (True, 500, 1000, False)


async def test_a_capped_sweep_whose_rows_are_not_counted_in_time_knows_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than one that is too small by what its jobs wrote meanwhile."""
    monkeypatch.setattr(stale_rows, "BOUND", 0.01)
    monkeypatch.setattr(stale_rows, "PATIENCE", scaled(60))
    bench = Workbench(
        tmp_path, Slow(1000, ends=True), a_plan(limits=RowLimits(batch_rows=100, max_rows_per_sweep=1000))
    )
    sweep = await swept(bench)
    await bench.queue.close()
    assert (sweep.applied, sweep.oldest, sweep.stale) == (1000, SINCE, None)
