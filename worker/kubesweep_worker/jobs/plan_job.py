"""One step of planning: take the cutoff, cut the next window of jobs, and pass the cursor on to the next step.

Invariants:

- The first step takes the cutoff once, from the database's clock, and with it the greatest key, where the sweep ends.
- A window and its next step enter the queue in one operation, so planning resumes at the cursor after a crash and never
  plans a row twice.
- Every sweep ends: at the greatest key, or at its cap.
- A capped sweep is followed by one that begins where it stopped and wraps around, even if it Halted at its end. So rows
  that stay stale never keep the sweep from the others.
"""

from __future__ import annotations

import logging

import msgspec

from kubesweep.api.plan import Plan
from kubesweep.errors import Outage
from kubesweep.queue.excluded import parse_row, row_text, too_many_failed
from kubesweep.queue.model import Baseline, Job, JobKind, Key, Stats, SweepState, Window
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.jobs.approval import MOST_COUNTED, found_changes, guard, read_known, sample_keys
from kubesweep_worker.jobs.context import Drop, JobContext, Result
from kubesweep_worker.jobs.other_origin import report_other_origins
from kubesweep_worker.jobs.redelivery import deliveries_alone
from kubesweep_worker.jobs.stale_rows import Recording, stale_rows_recorded
from kubesweep_worker.phases import SETTLE
from kubesweep_worker.sources.base import Cut, Cuts, Keys, Predicate
from kubesweep_worker.sources.paging import timed_out

log = logging.getLogger("kubesweep.worker")
# Rows that a sweep may plan in any case, besides its first window; only a larger sweep counts its rows, once.
UNCOUNTED = 10_000
WINDOW_SECONDS = 10  # a window holds at most this much of rowsPerSecond, so that an edit takes effect soon


def window_rows(plan: Plan, planned: int, deliveries: int = 0, cap: int | None = None) -> int:
    """The most rows that the next window may hold; 0 where the sweep's ``cap`` is reached.

    ``deliveries``: how often this step was delivered to run alone before. Each one halves the window, in case it was too
    large for the worker's memory.
    """
    batch = plan.limits.batch_rows
    most = max(batch, plan.window_jobs * batch >> deliveries)
    if plan.limits.rows_per_second:
        most = min(most, max(batch, int(WINDOW_SECONDS * plan.limits.rows_per_second)))
    if cap is not None:
        most = min(most, cap - planned)
    return max(0, most)


def cap_of(plan: Plan, step: Job) -> int | None:
    """The most rows that the whole sweep may plan; None where they are not counted yet."""
    return plan.limits.max_rows_per_sweep or step.cap or None


def job_of(cut: Cut, step: Job, plan: Plan, cutoff: str) -> Job:
    """The job for one cut."""
    base = Job(JobKind.KEYS, plan.version, step.sweep, cutoff, rows=cut.rows, origin=step.origin)
    if isinstance(cut.scope, Keys):
        return msgspec.structs.replace(base, keys=cut.scope.keys)
    return msgspec.structs.replace(base, kind=JobKind.RANGE, low=cut.scope.low, high=cut.scope.high)


def window_of(cuts: Cuts, step: Job, plan: Plan, cutoff: str, samples: tuple[Key, ...] = ()) -> Window:
    """The window for what the source cut; in DryRun it has counts and samples, but no jobs."""
    planned, cap = step.planned + cuts.rows, cap_of(plan, step)
    changes = {"plan": plan.version, "cutoff": cutoff, "low": cuts.cursor, "planned": planned, "crashes": 0}
    following = msgspec.structs.replace(step, **changes)
    more = cuts.cursor is not None
    if not more and step.wrap is not None:  # the end of the table: continue at its beginning
        following, more = msgspec.structs.replace(following, low=None, high=step.wrap, wrap=None), True
    capped = more and cap is not None and planned >= cap
    return Window(
        cutoff=cutoff,
        jobs=() if plan.dry_run else tuple(job_of(cut, step, plan, cutoff) for cut in cuts.cuts),
        next=following if more and not capped else None,
        origin=step.origin,
        planned=cuts.rows,
        capped=capped,
        stopped=row_text(step.origin, cuts.cursor) if capped and cuts.cursor is not None else "",
        samples=samples,
    )


async def run_plan(context: JobContext, run: JobRun) -> Result:
    """Raises Outage, SweepFailure, LeaseLost."""
    plan, origin = context.plan, await context.source.origin()
    step = msgspec.structs.replace(run.claim.job, origin=origin)
    first = step.low is None and step.high is None and not step.planned
    cutoff, last = step.cutoff or "", step.high
    if first or not cutoff:
        now, last = await context.source.bounds()
        cutoff = cutoff or now
    excluded = await context.excluded_rows(origin)
    predicate = Predicate(cutoff, excluded.keys)
    full = len(excluded.keys) >= plan.halt_above and not plan.dry_run and not context.limits.halt_at_end
    known = await read_known(context, run) if first else None
    # A changed sweep must be approved first: its approval covers the retries by which a person frees excluded rows.
    if full and not (known is not None and found_changes(context, known)):
        return await _halt(context, run)
    async with stale_rows_recorded(context, step.sweep, predicate, first=first) as recording:
        if known is not None:
            report_other_origins(excluded, origin)
            if (ended := await guard(context, run, predicate, known, recording)) is not None:
                return ended
            if full:
                return await _halt(context, run)
            start = None if plan.dry_run else _start(context, known.stats, origin)
            step = msgspec.structs.replace(step, low=start, high=last, wrap=start)
        baseline = None if known is None or plan.dry_run else known.baseline
        return await _plan_window(context, run, step, predicate, recording, baseline)


async def _plan_window(
    context: JobContext, run: JobRun, step: Job, predicate: Predicate, recording: Recording, baseline: Baseline | None
) -> Result:
    plan = context.plan
    most = window_rows(plan, step.planned, deliveries_alone(run.claim), cap_of(plan, step))
    # Not for the first window: its jobs run while the rows are counted, and most sweeps need no second one.
    if cap_of(plan, step) is None and step.planned and step.planned + most > UNCOUNTED:
        step = msgspec.structs.replace(step, cap=await _cap(context, predicate, step, recording))
        most = window_rows(plan, step.planned, deliveries_alone(run.claim), cap_of(plan, step))
    cuts = await context.source.cut(predicate, step.low, plan.limits.batch_rows, most, step.high)
    samples: tuple[Key, ...] = ()
    if plan.dry_run and step.low is None and cuts.cuts:
        samples = await sample_keys(context, predicate, cuts)
    await recording.fix_rows()
    run.enter(SETTLE)
    window = msgspec.structs.replace(window_of(cuts, step, plan, predicate.cutoff, samples), baseline=baseline)
    taken = await context.advance(run, window)
    log.info(
        "planned" if taken else "this sweep is over, so its plan step was dropped",
        extra={"sweep": step.sweep, "rows": cuts.rows, "jobs": len(cuts.cuts), "more": cuts.cursor is not None},
    )
    return Drop(succeeded=True)


def _start(context: JobContext, stats: Stats, origin: str) -> Key | None:
    """The key after which this sweep begins: where the latest sweep of this plan and table was capped, if it tried all rows
    that it had planned."""
    for past in stats.history:
        if past.tried_all and past.mode == context.plan.mode:
            if not past.stopped or not past.plan.same(context.plan_version):
                return None
            of, key = parse_row(past.stopped)
            return key if of == origin else None
    return None


async def _cap(context: JobContext, predicate: Predicate, step: Job, recording: Recording) -> int:
    """What the sweep may plan: twice the rows that are stale now. Otherwise rows that turn stale as fast as they are written
    would keep it running for ever; the next sweep gets those."""
    (stats,) = await context.retry_until_answered(lambda: context.queue.stats([context.ref]))
    settled = stats.sweep.settled_rows if stats.sweep is not None and stats.sweep.id == step.sweep else 0
    try:
        stale = await context.source.count(predicate, MOST_COUNTED)
    except Outage as outage:
        if not timed_out(outage):
            raise
        return MOST_COUNTED  # counting again would take as long
    recording.rows = settled + stale
    return max(UNCOUNTED, 2 * stale, step.planned + stale)


async def _halt(context: JobContext, run: JobRun) -> Result:
    """The excluded rows reached their limit: planning would only try the same rows again at every tick."""
    groups = await context.retry_until_answered(lambda: context.queue.error_groups(context.ref, state=None))
    mine = [group for group in groups if group.origin in ("", await context.source.origin())]
    worst = max(mine, key=lambda group: group.count, default=None)
    most = context.plan.halt_above
    message = too_many_failed(most, worst.error if worst else "", worst.samples[0] if worst else None)
    await context.end_sweep(run, SweepState.HALTED, "TooManyFailedRows", message)
    log.error("sweep halted: %s", message, extra={"sweep": run.claim.job.sweep})
    return Drop(succeeded=True)
