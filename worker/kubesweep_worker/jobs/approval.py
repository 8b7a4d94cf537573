"""Ends a sweep before it touches a row, where a person must approve it first.

The proposal, which is what that person decides by, is recorded before the sweep shows its state: the rows, the times of the oldest
and the newest, and keys of some of them. ``approval_rules.py`` decides, and this module finds out what it needs.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import msgspec

from kubesweep.api.baseline import baseline_of
from kubesweep.errors import Outage
from kubesweep.proposal import key_texts
from kubesweep.queue.model import LOCAL, Baseline, Job, Key, Stats, SweepState, Window
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.jobs.approval_rules import (
    BASELINE_UNKNOWN,
    Bound,
    Cause,
    bounds_of,
    changes,
    rows_found,
    sentence,
)
from kubesweep_worker.jobs.context import Drop, JobContext, Result
from kubesweep_worker.jobs.stale_rows import Recording
from kubesweep_worker.sources.base import EPOCH_UNIT, NAIVE_ZONE, Cuts, Predicate
from kubesweep_worker.sources.paging import timed_out

log = logging.getLogger("kubesweep.worker")
SAMPLES = 10
MOST_COUNTED = 10**12
# Warnings of the source for which a first sweep that deletes awaits approval, and the reason that it shows.
TIME_WARNINGS = {NAIVE_ZONE: "NaiveTimeZone", EPOCH_UNIT: "EpochUnit"}
PAUSE = 1.0  # seconds between two looks whether the controller has restored a lost queue


@dataclass(frozen=True, slots=True)
class Known:
    """What a first plan step reads before it decides."""

    stats: Stats
    baseline: Baseline  # of this sweep
    approved: bool  # by a person
    lost: bool = False  # the queue lost the baseline of the sweep before, and nobody restored it


async def read_known(context: JobContext, run: JobRun) -> Known:
    """Wait for the controller where it has to restore a lost queue. A worker that stops cancels the job."""
    sweep = run.claim.job.sweep
    approved = await context.retry_until_answered(lambda: context.queue.approved(context.ref)) == sweep
    stats = await _stats(context)
    until = context.settings.monotonic() + context.settings.restoring
    while (lost := not approved and _lost_baseline(context, stats)) and context.settings.monotonic() < until:
        run.checkpoint()
        context.touch_running()
        await context.settings.sleep(PAUSE)
        stats = await _stats(context)
    database = await context.source.database()
    started = stats.sweep.started if stats.sweep is not None and stats.sweep.id == sweep else 0.0
    baseline = baseline_of(context.plan, database, started)
    if (earlier := stats.baseline) is not None and baseline.continues(earlier):
        if database.timeline is None:
            baseline = msgspec.structs.replace(baseline, database=earlier.database)
        elif baseline.follows(earlier):
            _log_failover(earlier, baseline)
        baseline = msgspec.structs.replace(baseline, since=earlier.since)
    return Known(stats, baseline, approved, lost)


def _lost_baseline(context: JobContext, stats: Stats) -> bool:
    """Whether the controller has not seen this queue since it lost its data: it restores the baseline and then sets the pace.

    A new schedule has no baseline either, but a pace. Without a controller nobody restores it. A pace that outlived the other
    keys says nothing, see ``Stats.paced``."""
    guarded = context.plan.limits.has_approval_bounds and not context.plan.dry_run
    return guarded and context.plan.install != LOCAL and stats.baseline is None and not stats.paced


def _log_failover(earlier: Baseline, now: Baseline) -> None:
    log.warning(
        "the database went from timeline %s to %s: a standby was promoted, or a backup was replayed; sweeps continue",
        earlier.database.timeline,
        now.database.timeline,
    )


async def _stats(context: JobContext) -> Stats:
    (stats,) = await context.retry_until_answered(lambda: context.queue.stats([context.ref]))
    return stats


async def guard(
    context: JobContext, run: JobRun, predicate: Predicate, known: Known, recording: Recording
) -> Result | None:
    """The result of the plan step where the sweep must not begin. None: it may. One that is approved, and a DryRun, always may."""
    if context.plan.dry_run or known.approved:
        return None
    doubts = await _doubtful_times(context, known.stats)
    changed = found_changes(context, known)
    bounds: tuple[Bound, ...] = ()
    if context.plan.limits.has_approval_bounds:
        share = context.plan.limits.approve_above_share is not None
        table = await context.source.table_rows() if share else None
        bounds = bounds_of(context.plan.limits, table, rows_found(known.stats.history, known.baseline.since))
    lowest = min((bound.most for bound in bounds), default=0)
    certain = bool(doubts or changed)
    if not certain and (not bounds or await count_stale(context, run, predicate, lowest + 1) <= lowest):
        return None
    stale, exact = await _count_all(context, run, predicate, lowest + 1)
    if not doubts and not stale and not predicate.excluded:
        return await _complete_empty(context, run, predicate)
    causes, exceeded = [*doubts, *changed], [bound.exceeded(stale) for bound in bounds if stale > bound.most]
    if not causes and not exceeded:
        return None  # the application wrote some of the rows between the two counts
    recording.rows = stale if exact else None
    recording.samples = await sample_keys(context, predicate) if stale else ()
    await recording.record()
    message = sentence(causes, exceeded, stale, exact=exact, excluded=len(predicate.excluded))
    await _await_approval(context, run, predicate, [*causes, *exceeded][0].reason, message)
    return Drop(succeeded=True)


def found_changes(context: JobContext, known: Known) -> list[Cause]:
    """Why the sweep must be approved however many rows it has: it is not made of what the last one was."""
    if not context.plan.limits.has_approval_bounds:
        return []
    if known.stats.baseline is not None:
        return changes(known.baseline, known.stats.baseline)
    if not known.lost:
        return []  # the first sweep of the schedule
    text = "the queue lost what the last sweep was made of, and no controller restored it"
    return [Cause(BASELINE_UNKNOWN, text)]


async def _doubtful_times(context: JobContext, stats: Stats) -> list[Cause]:
    """A first sweep that deletes awaits approval where its times may have another zone or unit than the plan says."""
    plan = context.plan
    if plan.write is None or not plan.write.deletes:
        return []
    if not any(match.op in ("before", "after") for match in plan.match) or _swept_before(context, stats):
        return []
    warnings = dict((await context.source.inspect()).warnings)
    code = next((code for code in TIME_WARNINGS if code in warnings), None)
    if code is None:
        return []
    return [Cause(TIME_WARNINGS[code], f"{warnings[code]}. This first sweep would delete by them")]


def _swept_before(context: JobContext, stats: Stats) -> bool:
    return any(past.state is SweepState.COMPLETED and past.plan.same(context.plan_version) for past in stats.history)


async def _count_all(context: JobContext, run: JobRun, predicate: Predicate, at_least: int) -> tuple[int, bool]:
    """The stale rows, and whether that is all of them: where counting them times out, they are counted up to ``at_least``."""
    try:
        return await context.source.count(predicate, MOST_COUNTED), True
    except Outage as outage:
        if not timed_out(outage):
            raise
    return await count_stale(context, run, predicate, at_least), False


async def count_stale(context: JobContext, run: JobRun, predicate: Predicate, most: int) -> int:
    """Stale rows, counted up to ``most``; window by window where one statement for all of them times out."""
    try:
        return await context.source.count(predicate, most)
    except Outage as outage:
        if not timed_out(outage):
            raise
    rows, after = 0, None
    while True:
        run.checkpoint()
        cuts = await context.source.cut(predicate, after, context.plan.limits.batch_rows, most - rows)
        rows, after = rows + cuts.rows, cuts.cursor
        if after is None or rows >= most:
            return rows


async def sample_keys(context: JobContext, predicate: Predicate, cuts: Cuts | None = None) -> tuple[Key, ...]:
    """Keys of the first stale rows. ``cuts``: the first window, where it is cut already. Keys that are too long to be shown are left out:
    the queue refuses the record of a sweep that is too long."""
    if cuts is None:
        cuts = await context.source.cut(predicate, None, context.plan.limits.batch_rows, SAMPLES)
    if not cuts.cuts:
        return ()
    rows = await context.source.stale(cuts.cuts[0].scope, predicate, SAMPLES)
    return tuple(row.key for row in rows if key_texts((row.key,)))


async def _complete_empty(context: JobContext, run: JobRun, predicate: Predicate) -> Result:
    """Nothing is stale and nothing can be retried, so there is nothing to approve. The baseline stays: the first sweep that finds a
    row awaits approval."""
    await context.advance(run, Window(cutoff=predicate.cutoff))
    return Drop(succeeded=True)


async def _await_approval(context: JobContext, run: JobRun, predicate: Predicate, reason: str, message: str) -> None:
    """End the sweep until it is approved; it keeps its cutoff."""
    job: Job = msgspec.structs.replace(run.claim.job, cutoff=predicate.cutoff)
    run.claim = msgspec.structs.replace(run.claim, job=job)
    await context.end_sweep(run, SweepState.AWAITING_APPROVAL, reason, message)
    log.info(
        "the sweep awaits approval: %s; `kubesweep approve %s` shows and approves it",
        message,
        context.plan.name,
        extra={"sweep": job.sweep},
    )
