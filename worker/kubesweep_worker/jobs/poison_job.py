"""A poison job crashes its workers. It is bisected until a single row is left, and that row is dead-lettered.

redelivery.py decides when; jobs/rows/settlement.py decides when a row that fails without a crash is dead.
"""

from __future__ import annotations

import logging

from kubesweep.errors import RowError
from kubesweep.queue.model import Job, JobKind, Key, Settlement, SweepState
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.jobs.context import Done, Drop, JobContext, Release, Result
from kubesweep_worker.jobs.rows.reading import match_fails
from kubesweep_worker.jobs.rows.settlement import RowFailure, RowResults, keys_job, scope_of

log = logging.getLogger("kubesweep.worker")


async def stale_keys(context: JobContext, run: JobRun) -> tuple[Key, ...]:
    job = run.claim.job
    cutoff = job.cutoff or await context.source.now()
    try:
        return await context.source.keys(scope_of(job), await context.predicate(job, cutoff))
    except RowError as error:
        raise match_fails(error) from error


def bisected(job: Job, keys: tuple[Key, ...], *, suspect: bool) -> tuple[Job, ...]:
    """Two jobs for ``keys``; some of the rows may be committed already."""
    half = (len(keys) + 1) // 2
    parts = [part for part in (keys[:half], keys[half:]) if part]
    return tuple(keys_job(job, part, suspect=suspect, may_have_committed=True) for part in parts)


async def bisect_job(context: JobContext, run: JobRun) -> Result:
    """Replace the job by two jobs that run alone. Rows that no longer match may have been written by the workers that crashed."""
    return _replace(context, run, await stale_keys(context, run))


def _replace(context: JobContext, run: JobRun, keys: tuple[Key, ...]) -> Result:
    log.warning(
        "this job crashed its workers: two jobs replace it, and each runs alone",
        extra={"job": run.name, "stale": len(keys)},
    )
    return Done(context.settlement(run, RowResults(), jobs=bisected(run.claim.job, keys, suspect=True)))


async def give_up(context: JobContext, run: JobRun) -> Result:
    """End a job that crashed its worker each time it ran alone: dead-letter its row, fail its sweep, or report its check."""
    claim, times = run.claim, run.claim.job.crashes
    if claim.job.kind is JobKind.PLAN:
        message = f"the worker died {times} times while it planned alone; look at its last logs and its memory limit"
        await context.end_sweep(run, SweepState.FAILED, "WorkerKilled", message)
        return Drop()
    if claim.job.kind is JobKind.CHECK:
        message = f"the worker died {times} times while it checked the source alone; look at its last logs"
        await context.findings.report("SourceReady", False, "WorkerKilled", message)
        if (outage := context.findings.undelivered("SourceReady")) is not None:
            context.pause_claiming(outage)
            return Release(claim)
        return Done(Settlement(claim=claim))
    message = (
        f"the worker died {times} times while it worked on this row alone; look at its last logs and its memory limit, "
        "then replay the row with `kubesweep dead retry`"
    )
    keys = await stale_keys(context, run)
    if len(keys) > 1:  # rows turned stale inside its range, so the poison row is not identified yet
        return _replace(context, run, keys)
    log.error("dead-lettered a row that crashes workers", extra={"job": run.name, "times": times})
    failed = [RowFailure(key, "WorkerKilled", message, final=True) for key in keys]
    return Done(context.settlement(run, RowResults(failed=failed)))
