"""One step of the plan chain: take the cutoff, cut the next window of jobs, hand on the cursor.

Invariants: the cutoff is taken once, by the first step, from the database's own clock, and with it the greatest key, where
the sweep ends; a window and its continuation enter the queue in one move, so that a crash resumes at the cursor and never
plans a row twice. Every chain ends: at the greatest key, or at its cap. A sweep that is capped is followed by one that begins
where it stopped and wraps around, so that rows that stay stale never keep the others from their turn, also where so many of
them failed that the sweep Halted at its end.
"""

from __future__ import annotations

import logging

import msgspec

from kubesweep.api.plan import Plan
from kubesweep.errors import Outage
from kubesweep.queue.excluded import parse_row, row_text, too_many_failed
from kubesweep.queue.model import Job, JobKind, Key, SweepState, Window
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.jobs.context import Desk, Gone, Result
from kubesweep_worker.jobs.foreign_rows import report_foreign_rows
from kubesweep_worker.jobs.redelivery import lone_deliveries
from kubesweep_worker.sources.base import EPOCH_UNIT, NAIVE_ZONE, Cut, Cuts, Keys
from kubesweep_worker.sources.paging import timed_out

log = logging.getLogger("kubesweep.worker")
SAMPLES = 10
DOUBTS = {
    NAIVE_ZONE: "NaiveTimeZone",
    EPOCH_UNIT: "EpochUnit",
}  # warnings of the source, and the reason of a sweep that waits for a person
UNCOUNTED = 10_000  # rows that a sweep may plan whatever it finds; only a larger one is counted, once
MOST_COUNTED = 10**12
WINDOW_SECONDS = 10  # a window holds at most this much of rowsPerSecond, so that a change of mind comes through


def window_rows(plan: Plan, planned: int, kills: int = 0, cap: int | None = None) -> int:
    """The most rows that the next window may hold; 0 where the sweep's ``cap`` is reached. ``kills``: workers that died while
    they cut this one, alone: each halves it, in case it was too large for their memory."""
    batch = plan.limits.batch_rows
    most = max(batch, plan.window_jobs * batch >> kills)
    if plan.limits.rows_per_second is not None:
        most = min(most, max(batch, int(WINDOW_SECONDS * plan.limits.rows_per_second)))
    if cap is not None:
        most = min(most, cap - planned)
    return max(0, most)


def cap_of(plan: Plan, step: Job) -> int | None:
    """Rows that the whole sweep may plan; None: not known yet."""
    return plan.limits.max_rows_per_sweep or step.cap or None


def job_of(cut: Cut, step: Job, plan: Plan, cutoff: str) -> Job:
    """The job that works on one cut."""
    base = Job(JobKind.KEYS, plan.version, step.sweep, cutoff, rows=cut.rows, origin=step.origin)
    if isinstance(cut.scope, Keys):
        return msgspec.structs.replace(base, keys=cut.scope.keys)
    return msgspec.structs.replace(base, kind=JobKind.RANGE, low=cut.scope.low, high=cut.scope.high)


def window_of(cuts: Cuts, step: Job, plan: Plan, cutoff: str, samples: tuple[Key, ...] = ()) -> Window:
    """The window that follows from what the source cut; in DryRun it has counts and samples, but no jobs."""
    planned, cap = step.planned + cuts.rows, cap_of(plan, step)
    changes = {"plan": plan.version, "cutoff": cutoff, "low": cuts.cursor, "planned": planned, "crashes": 0}
    following = msgspec.structs.replace(step, **changes)
    more = cuts.cursor is not None
    if not more and step.wrap is not None:  # the end of the table: on with its beginning
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


async def run_plan(desk: Desk, run: JobRun) -> Result:
    """Raises Outage, SweepFailure, LeaseLost."""
    plan, origin = desk.plan, await desk.source.origin()
    step = msgspec.structs.replace(run.claim.job, origin=origin)
    first = step.low is None and step.high is None and not step.planned
    cutoff, last = step.cutoff or "", step.high
    if first or not cutoff:
        now, last = await desk.source.bounds()
        cutoff = cutoff or now
    excluded_rows = await desk.excluded_rows(origin)
    excluded = excluded_rows.keys
    if len(excluded) >= plan.halt_above and not plan.dry_run and not desk.limits.halt_at_end:
        return await _halt(desk, run)
    if first:
        report_foreign_rows(excluded_rows, origin)
        asks = not plan.dry_run and await desk.insist(lambda: desk.queue.approved(desk.ref)) != step.sweep
        if asks and (await _doubtful(desk, run, cutoff) or await _above_hold(desk, run, cutoff, excluded)):
            return Gone(worked=True)
        start = None if plan.dry_run else await _start(desk, origin)
        step = msgspec.structs.replace(step, low=start, high=last, wrap=start)
    most = window_rows(plan, step.planned, lone_deliveries(run.claim), cap_of(plan, step))
    if cap_of(plan, step) is None and step.planned + most > UNCOUNTED:
        step = msgspec.structs.replace(step, cap=await _cap(desk, cutoff, excluded, step.planned))
        most = window_rows(plan, step.planned, lone_deliveries(run.claim), cap_of(plan, step))
    cuts = await desk.source.cut(cutoff, step.low, excluded, plan.limits.batch_rows, most, step.high)
    samples: tuple[Key, ...] = ()
    if plan.dry_run and step.low is None and cuts.cuts:
        rows = await desk.source.stale(cuts.cuts[0].scope, cutoff, excluded, SAMPLES)
        samples = tuple(row.key for row in rows)
    taken = await desk.advance(run, window_of(cuts, step, plan, cutoff, samples))
    log.info(
        "planned" if taken else "this sweep is over, its plan step was dropped",
        extra={"sweep": step.sweep, "rows": cuts.rows, "jobs": len(cuts.cuts), "more": cuts.cursor is not None},
    )
    return Gone(worked=True)


async def _start(desk: Desk, origin: str) -> Key | None:
    """The key behind which this sweep begins: where the latest one of this plan and table was capped, if it tried all that
    it had planned."""
    (stats,) = await desk.insist(lambda: desk.queue.stats([desk.ref]))
    for past in stats.history:
        if past.tried_all and past.mode == desk.plan.mode:
            if not past.stopped or not past.plan.same(desk.mine):
                return None
            of, key = parse_row(past.stopped)
            return key if of == origin else None
    return None


async def _cap(desk: Desk, cutoff: str, excluded: frozenset[Key], planned: int) -> int:
    """What the sweep may plan: twice the rows that are stale now. Rows that turn stale as fast as they are written would
    keep it going for ever; they are the next sweep's."""
    try:
        stale = await desk.source.count(cutoff, excluded, MOST_COUNTED)
    except Outage as outage:
        if not timed_out(outage):
            raise
        return MOST_COUNTED  # asking again would take as long
    return max(UNCOUNTED, 2 * stale, planned + stale)


async def _halt(desk: Desk, run: JobRun) -> Result:
    """One more row that fails could not be held: planning would only try the same rows again at every tick."""
    groups = await desk.insist(lambda: desk.queue.error_groups(desk.ref, state=None))
    mine = [group for group in groups if group.origin in ("", await desk.source.origin())]
    worst = max(mine, key=lambda group: group.count, default=None)
    most = desk.plan.halt_above
    message = too_many_failed(most, worst.error if worst else "", worst.samples[0] if worst else None)
    await desk.end_sweep(run, SweepState.HALTED, "TooManyFailedRows", message)
    log.error("sweep halted: %s", message, extra={"sweep": run.claim.job.sweep})
    return Gone(worked=True)


async def _doubtful(desk: Desk, run: JobRun, cutoff: str) -> bool:
    """Whether a first sweep that deletes waits for a person, because its times may mean something else."""
    plan = desk.plan
    if plan.write is None or not plan.write.deletes:
        return False
    if not any(match.op in ("before", "after") for match in plan.match) or await _swept_before(desk):
        return False
    told = dict((await desk.source.inspect()).warnings)
    reason = next((reason for code, reason in DOUBTS.items() if code in told), None)
    if reason is None:
        return False
    doubt = next(told[code] for code in DOUBTS if code in told)
    await _hold(desk, run, cutoff, reason, f"{doubt}. This first sweep would delete by them")
    return True


async def _swept_before(desk: Desk) -> bool:
    (stats,) = await desk.insist(lambda: desk.queue.stats([desk.ref]))
    return any(past.state is SweepState.COMPLETED and past.plan.same(desk.mine) for past in stats.history)


async def _hold(desk: Desk, run: JobRun, cutoff: str, reason: str, why: str) -> None:
    """The sweep waits for approval, with the cutoff that it has."""
    run.claim = msgspec.structs.replace(run.claim, job=msgspec.structs.replace(run.claim.job, cutoff=cutoff))
    message = (
        f"{why}: nothing was touched; "
        f"look at them with `kubesweep check`, then let this sweep go with `kubesweep approve {desk.plan.name}`"
    )
    await desk.end_sweep(run, SweepState.AWAITING_APPROVAL, reason, message)
    log.info("sweep held: %s", message, extra={"sweep": run.claim.job.sweep})


async def _above_hold(desk: Desk, run: JobRun, cutoff: str, excluded: frozenset[Key]) -> bool:
    most = desk.plan.limits.approve_above_rows
    if most is None or await _count(desk, run, cutoff, excluded, most + 1) <= most:
        return False
    await _hold(desk, run, cutoff, "AboveApprovalLimit", f"more than {most} rows are stale (limits.approveAbove.rows)")
    return True


async def _count(desk: Desk, run: JobRun, cutoff: str, excluded: frozenset[Key], most: int) -> int:
    """Stale rows up to ``most``. A count that outlasts the statement timeout is taken window by window."""
    try:
        return await desk.source.count(cutoff, excluded, most)
    except Outage as outage:
        if not timed_out(outage):
            raise
    rows, after = 0, None
    while True:
        run.checkpoint()
        cuts = await desk.source.cut(cutoff, after, excluded, desk.plan.limits.batch_rows, most - rows)
        rows, after = rows + cuts.rows, cuts.cursor
        if after is None or rows >= most:
            return rows
