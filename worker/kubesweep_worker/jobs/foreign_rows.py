"""Jobs and held rows of another database, table or key than this worker's: keys that name other rows here.

They come of an edit of ``source``, of another URL with the same queue, or of two workers that disagree. Nothing is applied
by such a key. The rows are not lost: they are stale still, and the table that they belong to finds them again.
"""

from __future__ import annotations

import logging

from kubesweep.queue.model import ExcludedRows, FailedRow, JobKind, Settlement, SweepState
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.jobs.context import Desk, Done, Gone, Result

log = logging.getLogger("kubesweep.worker")


async def is_elsewhere(desk: Desk, run: JobRun) -> bool:
    """Whether the job's keys belong somewhere else. Raises Outage, SweepFailure: the source knows its origin."""
    job = run.claim.job
    return bool(job.origin) and job.kind is not JobKind.CHECK and job.origin != await desk.source.origin()


async def leave(desk: Desk, run: JobRun) -> Result:
    """A retry's rows leave the held set, a replay's become dead letters again, a planned job's sweep is planned anew."""
    job, here = run.claim.job, await desk.source.origin()
    log.warning("a job of another table was left alone", extra={"job": run.name, "theirs": job.origin, "mine": here})
    if not job.is_retry:
        return await _replace_sweep(desk, run, here)
    if job.plan is not None:
        return Done(Settlement(claim=run.claim, skipped=job.rows))
    why = f"the row belongs to {job.origin}, and the schedule sweeps {here} now; it can be tried again there, or purged"
    dead = tuple(FailedRow(key, "OtherTable", why) for key in job.keys)
    return Done(Settlement(claim=run.claim, dead=dead))


async def _replace_sweep(desk: Desk, run: JobRun, here: str) -> Result:
    job = run.claim.job
    message = f"the sweep was planned in {job.origin}, and this worker's URL and source lead to {here}"
    if job.origin in desk.strangers:
        message += "; workers of one schedule must all have the same URL"
        await desk.end_sweep(run, SweepState.FAILED, "SourceChanged", message)
        return Gone()
    desk.strangers.add(job.origin)
    if await desk.end_sweep(run, SweepState.SUPERSEDED, "SourceChanged", message):
        await desk.open_instead_of(job.sweep)
    return Gone()


def report_foreign_rows(excluded: ExcludedRows, here: str) -> None:
    """Say once a sweep that some held rows are not this table's."""
    if excluded.foreign:
        rows = "1 row" if excluded.foreign == 1 else f"{excluded.foreign} rows"
        log.warning(
            "%s in retry or dead belong to another database, table or key than %s: they are set aside and exclude no row "
            "here; `kubesweep dead list` shows where they belong",
            rows,
            here,
        )
