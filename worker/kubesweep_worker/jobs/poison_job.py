"""What to do with a job that keeps killing its workers: cut it in two, and bury the one row that is left."""

from __future__ import annotations

import logging

from kubesweep.errors import RowError
from kubesweep.queue.model import Job, JobKind, Key, Settlement, SweepState
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.jobs.context import Desk, Done, Gone, Result
from kubesweep_worker.jobs.rows.reading import match_fails
from kubesweep_worker.jobs.rows.settlement import Failure, Tally, keys_job, scope_of

log = logging.getLogger("kubesweep.worker")


async def stale_keys(desk: Desk, run: JobRun) -> tuple[Key, ...]:
    job = run.claim.job
    cutoff = job.cutoff or await desk.source.now()
    try:
        return await desk.source.keys(scope_of(job), cutoff, await desk.excluded(job))
    except RowError as error:
        raise match_fails(error) from error


def halves(job: Job, keys: tuple[Key, ...], *, suspect: bool) -> tuple[Job, ...]:
    """Two jobs for ``keys``; some of them may be committed."""
    half = (len(keys) + 1) // 2
    parts = [part for part in (keys[:half], keys[half:]) if part]
    return tuple(keys_job(job, part, suspect=suspect, may_have_committed=True) for part in parts)


async def halve(desk: Desk, run: JobRun) -> Result:
    """Replace the job by two suspects. Rows that are not stale any more may be the work of those who crashed."""
    return _split(desk, run, await stale_keys(desk, run))


def _split(desk: Desk, run: JobRun, keys: tuple[Key, ...]) -> Result:
    log.warning("this job killed its workers: cut in two, to run alone", extra={"job": run.name, "stale": len(keys)})
    return Done(desk.settlement(run, Tally(), jobs=halves(run.claim.job, keys, suspect=True)))


async def bury(desk: Desk, run: JobRun) -> Result:
    """The end of a job that killed a worker whenever it ran, alone."""
    claim, times = run.claim, run.claim.job.crashes
    if claim.job.kind is JobKind.PLAN:
        message = f"the worker died {times} times while it planned alone; look at its last logs and its memory limit"
        await desk.end_sweep(run, SweepState.FAILED, "WorkerKilled", message)
        return Gone()
    if claim.job.kind is JobKind.CHECK:
        message = f"the worker died {times} times while it looked at the source alone; look at its last logs"
        await desk.report("SourceReady", False, "WorkerKilled", message)
        return Done(Settlement(claim=claim))
    message = (
        f"the worker died {times} times while it worked on this row alone; look at its last logs and its memory limit, "
        "then replay the row with `kubesweep dead retry`"
    )
    keys = await stale_keys(desk, run)
    if len(keys) > 1:  # rows turned stale inside its range: which one it was is not known yet
        return _split(desk, run, keys)
    log.error("buried a row that kills workers", extra={"job": run.name, "times": times})
    return Done(desk.settlement(run, Tally(failed=[Failure(key, "WorkerKilled", message, final=True) for key in keys])))
