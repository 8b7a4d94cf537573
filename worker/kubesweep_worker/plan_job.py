"""One step of the plan chain: take the cutoff, cut the next window of jobs, hand on the cursor.

Invariants: the cutoff is taken once, by the first step, from the database's own clock; a window and its continuation
enter the queue in one move, so that a crash resumes at the cursor and never plans a row twice.
"""

from __future__ import annotations

import logging

import msgspec

from kubesweep.api.plan import Plan
from kubesweep.errors import Outage
from kubesweep.queue.model import Job, JobKind, Key, SweepState, Window
from kubesweep_worker.desk import Desk, Gone, Result
from kubesweep_worker.elsewhere import tell_held_elsewhere
from kubesweep_worker.hands import JobRun
from kubesweep_worker.sources.base import Cut, Cuts, Keys
from kubesweep_worker.sources.stride import timed_out
from kubesweep_worker.verdict import solo_kills

log = logging.getLogger("kubesweep.worker")
SAMPLES = 10
WINDOW_SECONDS = 10  # a window holds at most this much of rowsPerSecond, so that a change of mind comes through


def window_rows(plan: Plan, planned: int, kills: int = 0) -> int:
    """The most rows that the next window may hold; 0 where the sweep's cap is reached. ``kills``: workers that died while
    they cut this one, alone: each halves it, in case it was too large for their memory."""
    batch = plan.limits.batch_rows
    most = max(batch, plan.window_jobs * batch >> kills)
    if plan.limits.rows_per_second is not None:
        most = min(most, max(batch, int(WINDOW_SECONDS * plan.limits.rows_per_second)))
    if plan.limits.max_rows_per_sweep is not None:
        most = min(most, plan.limits.max_rows_per_sweep - planned)
    return max(0, most)


def job_of(cut: Cut, step: Job, plan: Plan, cutoff: str) -> Job:
    """The job that works on one cut."""
    base = Job(JobKind.KEYS, plan.version, step.sweep, cutoff, rows=cut.rows, origin=step.origin)
    if isinstance(cut.scope, Keys):
        return msgspec.structs.replace(base, keys=cut.scope.keys)
    return msgspec.structs.replace(base, kind=JobKind.RANGE, low=cut.scope.low, high=cut.scope.high)


def window_of(cuts: Cuts, step: Job, plan: Plan, cutoff: str, samples: tuple[Key, ...] = ()) -> Window:
    """The window that follows from what the source cut; in DryRun it has counts and samples, but no jobs."""
    planned = step.planned + cuts.rows
    cap = plan.limits.max_rows_per_sweep
    capped = cap is not None and planned >= cap and cuts.cursor is not None
    more = cuts.cursor is not None and not capped
    following = msgspec.structs.replace(step, plan=plan.version, cutoff=cutoff, low=cuts.cursor, planned=planned)
    return Window(
        cutoff=cutoff,
        jobs=() if plan.dry_run else tuple(job_of(cut, step, plan, cutoff) for cut in cuts.cuts),
        next=following if more else None,
        origin=step.origin,
        planned=cuts.rows,
        capped=capped,
        samples=samples,
    )


async def run_plan(desk: Desk, run: JobRun) -> Result:
    """Raises Outage, SweepFailure, LeaseLost."""
    plan, origin = desk.plan, await desk.source.origin()
    step = msgspec.structs.replace(run.claim.job, origin=origin)
    cutoff = step.cutoff or await desk.source.now()
    held_rows = await desk.held_rows(origin)
    held = held_rows.keys
    if step.low is None:
        tell_held_elsewhere(held_rows, origin)
    if step.low is None and not step.approved and not plan.dry_run and await _above_hold(desk, run, cutoff, held):
        return Gone(worked=True)
    most = window_rows(plan, step.planned, solo_kills(run.claim))
    cuts = await desk.source.cut(cutoff, step.low, held, plan.limits.batch_rows, most)
    samples: tuple[Key, ...] = ()
    if plan.dry_run and step.low is None and cuts.cuts:
        rows = await desk.source.stale(cuts.cuts[0].scope, cutoff, held, SAMPLES)
        samples = tuple(row.key for row in rows)
    taken = await desk.advance(run, window_of(cuts, step, plan, cutoff, samples))
    log.info(
        "planned" if taken else "this sweep is over, its plan step was dropped",
        extra={"sweep": step.sweep, "rows": cuts.rows, "jobs": len(cuts.cuts), "more": cuts.cursor is not None},
    )
    return Gone(worked=True)


async def _above_hold(desk: Desk, run: JobRun, cutoff: str, held: frozenset[Key]) -> bool:
    most = desk.plan.limits.hold_above_rows
    if most is None or await _count(desk, run, cutoff, held, most + 1) <= most:
        return False
    run.claim = msgspec.structs.replace(run.claim, job=msgspec.structs.replace(run.claim.job, cutoff=cutoff))
    message = (
        f"more than {most} rows are stale (limits.holdAboveRows): nothing was touched; "
        f"look at them with `kubesweep check`, then let this sweep go with `kubesweep approve {desk.plan.name}`"
    )
    await desk.end_sweep(run, SweepState.HELD, "AboveHoldLimit", message)
    log.info("sweep held: %s", message, extra={"sweep": run.claim.job.sweep})
    return True


async def _count(desk: Desk, run: JobRun, cutoff: str, held: frozenset[Key], most: int) -> int:
    """Stale rows up to ``most``. A count that outlasts the statement timeout is taken window by window."""
    try:
        return await desk.source.count(cutoff, held, most)
    except Outage as outage:
        if not timed_out(outage):
            raise
    rows, after = 0, None
    while True:
        run.checkpoint()
        cuts = await desk.source.cut(cutoff, after, held, desk.plan.limits.batch_rows, most - rows)
        rows, after = rows + cuts.rows, cuts.cursor
        if after is None or rows >= most:
            return rows
