"""Jobs and excluded rows whose origin is another database, table or key than this worker's.

They result from an edit of ``source``, from another URL with the same queue, or from two workers with different URLs. Such
a key names another row here, so nothing is written by it. No row is lost: it stays stale, and a sweep of its own table
finds it again.
"""

from __future__ import annotations

import logging

from kubesweep.queue.model import ExcludedRows, FailedRow, JobKind, Settlement, SweepState
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.jobs.context import Done, Drop, JobContext, Result

log = logging.getLogger("kubesweep.worker")


async def is_other_origin(context: JobContext, run: JobRun) -> bool:
    """Whether the job's keys have another origin. Raises Outage, SweepFailure: the source has to be asked for its origin."""
    job = run.claim.job
    return bool(job.origin) and job.kind is not JobKind.CHECK and job.origin != await context.source.origin()


async def end_other_origin(context: JobContext, run: JobRun) -> Result:
    """A retry's rows are no longer excluded, a replay's become dead letters again, and a planned job's sweep is replaced."""
    job, here = run.claim.job, await context.source.origin()
    log.warning("skipped a job of another table", extra={"job": run.name, "theirs": job.origin, "mine": here})
    if not job.is_retry:
        return await _replace_sweep(context, run, here)
    if job.plan is not None:
        return Done(Settlement(claim=run.claim, skipped=job.rows))
    why = f"the row belongs to {job.origin}, and the schedule sweeps {here} now: retry it there, or purge it"
    dead = tuple(FailedRow(key, "OtherTable", why) for key in job.keys)
    return Done(Settlement(claim=run.claim, dead=dead))


async def _replace_sweep(context: JobContext, run: JobRun, here: str) -> Result:
    job = run.claim.job
    message = f"the sweep was planned in {job.origin}, and this worker's URL and source lead to {here}"
    if job.origin in context.replaced_origins:
        message += "; workers of one schedule must all have the same URL"
        await context.end_sweep(run, SweepState.FAILED, "SourceChanged", message)
        return Drop()
    context.replaced_origins.add(job.origin)
    if await context.end_sweep(run, SweepState.SUPERSEDED, "SourceChanged", message):
        await context.open_replacement(job.sweep)
    return Drop()


def report_other_origins(excluded: ExcludedRows, here: str) -> None:
    """Log once a sweep that some excluded rows belong to another table."""
    if excluded.other_origins:
        rows = "1 row" if excluded.other_origins == 1 else f"{excluded.other_origins} rows"
        log.warning(
            "%s in retry or dead belong to another database, table or key than %s: they exclude no row here; "
            "`kubesweep dead list` shows where they belong",
            rows,
            here,
        )
