"""The cases of docs/errors.md, section "Worker", in which a sweep awaits approval: each returns its reason and its message."""

from __future__ import annotations

from pathlib import Path

from kubesweep.api.plan import Match, RowLimits, Write
from kubesweep.queue.model import Database
from kubesweep_worker.settings import WorkerSettings
from tests.integration.effect_error_cases import Answer, Case
from tests.kits.worker import MemorySource, Workbench, a_plan, key

MANY = 10**6  # a bound that no sweep here exceeds


async def swept(bench: Workbench) -> Answer:
    stats = await bench.sweep()
    await bench.queue.close()
    assert stats.sweep is not None
    return stats.sweep.reason, stats.sweep.message


def limited(folder: Path, limits: RowLimits, **plan: object) -> Workbench:
    return Workbench(folder, MemorySource(10), a_plan(limits=limits, **plan))


async def above_rows(folder: Path) -> Answer:
    return await swept(limited(folder, RowLimits(approve_above_rows=5)))


async def above_share(folder: Path) -> Answer:
    bench = limited(folder, RowLimits(approve_above_share=5))
    bench.source.size = 100
    return await swept(bench)


async def size_unknown(folder: Path) -> Answer:
    bench = limited(folder, RowLimits(approve_above_share=5))
    bench.source.size = None
    return await swept(bench)


async def above_median(folder: Path) -> Answer:
    bench = limited(folder, RowLimits(approve_above_times_median=5))
    for rows in (10, 10, 10):
        bench.source.stale_keys = {key(i) for i in range(rows)}
        await bench.sweep()
    bench.source.stale_keys = {key(i) for i in range(700)}
    return await swept(bench)


async def another_predicate(folder: Path) -> Answer:
    bench = limited(folder, RowLimits(approve_above_rows=MANY))
    await bench.sweep()
    bench.source.stale_keys = {key(i) for i in range(10)}
    bench.plan = a_plan(limits=bench.plan.limits, match=(Match("in", "status", ("old", "new")),), generation=1)
    return await swept(bench)


async def another_database(folder: Path) -> Answer:
    bench = limited(folder, RowLimits(approve_above_rows=MANY))
    await bench.sweep()
    bench.source.stale_keys = {key(i) for i in range(10)}
    bench.source.identity = Database("8100/shop/16384", 1)
    return await swept(bench)


async def baseline_lost(folder: Path) -> Answer:
    bench = limited(folder, RowLimits(approve_above_rows=MANY), install="c1")
    bench.settings = WorkerSettings(backoff=0.01, max_backoff=0.05, restoring=0.0)
    return await swept(bench)


async def naive_zone(folder: Path) -> Answer:
    bench = Workbench(folder, MemorySource(10), a_plan(match=(Match("before", "at"),), write=Write()))
    bench.source.warnings = (("naive-time-zone", 'column "at" has no time zone'),)
    return await swept(bench)


APPROVAL_CASES: dict[str, Case] = {
    "more than approveAbove.rows are stale": above_rows,
    "more than approveAbove.share of the table is stale": above_share,
    "approveAbove.share is set, and the size of the table is unknown": size_unknown,
    "more than approveAbove.timesMedian of the usual rows are stale": above_median,
    "with approveAbove, the first sweep after the match changed": another_predicate,
    "with approveAbove, the first sweep of another database": another_database,
    "with approveAbove, the queue was lost and no controller restored its baseline": baseline_lost,
    "a first sweep deletes by times without a zone": naive_zone,
}
