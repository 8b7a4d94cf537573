"""From a claim to a result: whose plan it is, how carefully it runs, which kind of job, and what its error means.

The classes of errors decide: Outage gives the job back and shuts the gate, SweepFailure ends the sweep, LeaseLost drops
everything. Nothing that a job raises reaches the loop.
"""

from __future__ import annotations

import asyncio
import logging

import msgspec

from kubesweep.errors import LeaseLost, Outage, RowError, SweepFailure
from kubesweep.queue.model import MESSAGE, Claim, FailedRow, JobKind, Retry, Settlement, SweepState
from kubesweep.text import clip
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.jobs.batch_job import run_batch
from kubesweep_worker.jobs.check_job import run_check
from kubesweep_worker.jobs.context import Desk, Done, Gone, Result, Return
from kubesweep_worker.jobs.effect_job import run_effect
from kubesweep_worker.jobs.foreign_rows import is_elsewhere, leave
from kubesweep_worker.jobs.plan_job import run_plan
from kubesweep_worker.jobs.poison_job import bury, halve, halves, stale_keys
from kubesweep_worker.jobs.redelivery import Care, Version, begins, care, version
from kubesweep_worker.jobs.rows.reading import match_fails
from kubesweep_worker.jobs.rows.settlement import Failure, Tally, defect

log = logging.getLogger("kubesweep.worker")
NOT_THE_SOURCE = frozenset({"NeverEnds", "WorkerDefect"})  # the sweep's own reason says it


async def run_job(desk: Desk, run: JobRun) -> Result:
    """Work on one claim to its end; raises nothing but a second cancellation."""
    try:
        return await _classified(desk, run)
    except LeaseLost as lost:
        log.warning("lease lost: %s", lost, extra={"job": run.name})
        return Gone()
    except asyncio.CancelledError:
        return Return(_maybe(run))


async def _classified(desk: Desk, run: JobRun) -> Result:
    try:
        try:
            result = await _run(desk, run)
        except RowError as error:  # outside of a write: asking about the rows failed
            raise match_fails(error) from error
    except Outage as outage:
        desk.shut(outage)
        await desk.report_outage(outage)
        return Return(_maybe(run) if outage.maybe_applied else run.claim)
    except SweepFailure as failure:
        return await _fail(desk, run, failure)
    except LeaseLost:
        raise
    except MemoryError:
        full = Outage("OutOfMemory", "the worker is out of memory; give it more or lower limits.batchRows")
        desk.shut(full)
        await desk.report_outage(full)
        return Return(_maybe(run))
    except Exception as error:
        return await _contain(desk, run, error)
    await _well(desk, run, result)
    return result


async def _contain(desk: Desk, run: JobRun, error: Exception) -> Result:
    """After a defect: halve the job, so that its neighbours go on; a row that is left alone with it is refused. A step of
    planning has no rows to tell apart, so it ends its sweep."""
    job, refused = run.claim.job, defect(error)
    refused.__cause__ = error
    try:
        if job.kind not in (JobKind.RANGE, JobKind.KEYS):
            log.error("a defect of the worker", exc_info=error, extra={"job": run.name})
            raise SweepFailure(refused.error, str(refused))
        if len(job.keys) == 1:
            return Done(desk.settlement(run, Tally(failed=[Failure.of(job.keys[0], refused)])))
        keys = await stale_keys(desk, run)
        parts = () if len(keys) < 2 else halves(job, keys, suspect=False)
        failed = [Failure.of(key, refused) for key in keys] if len(keys) == 1 else []
        return Done(desk.settlement(run, Tally(failed=failed), jobs=parts))
    except Outage as outage:
        desk.shut(outage)
        return Return(_maybe(run))
    except SweepFailure as failure:
        return await _fail(desk, run, failure)
    except LeaseLost:
        raise
    except Exception:
        log.exception("a defect of the worker", extra={"job": run.name})
        return await _fail(desk, run, SweepFailure(refused.error, str(refused)))


async def _well(desk: Desk, run: JobRun, result: Result) -> None:
    if run.claim.job.kind is JobKind.CHECK or not (
        isinstance(result, Done) or (isinstance(result, Gone) and result.worked)
    ):
        return
    await desk.well("SourceReady")
    if desk.effect is not None and isinstance(result, Done) and result.settlement.applied:
        await desk.well("Effect")


def _maybe(run: JobRun) -> Claim:
    """The claim, saying that some of its rows may be committed."""
    return msgspec.structs.replace(run.claim, job=msgspec.structs.replace(run.claim.job, may_have_committed=True))


async def _run(desk: Desk, run: JobRun) -> Result:
    claim = run.claim
    match version(claim.job.plan, desk.mine):
        case Version.OLD_WORKER:
            return _step_aside(desk, run)
        case Version.OLD_JOB:
            return await _supersede(desk, run)
        case Version.SAME:
            pass
    if await is_elsewhere(desk, run):
        return await leave(desk, run)
    if desk.plan.dry_run and claim.job.kind in (JobKind.RANGE, JobKind.KEYS):
        return _leave_alone(run)
    match care(claim):
        case Care.BURY:
            return await bury(desk, run)
        case Care.HALVE:
            return await halve(desk, run)
        case Care.ALONE if (job := begins(claim.job)) is not None:
            await desk.progress(run, Settlement(claim=claim, rest=job))
            run.begun = True
        case _:
            pass
    if claim.job.kind is JobKind.PLAN:
        return await run_plan(desk, run)
    if claim.job.kind is JobKind.CHECK:
        return await run_check(desk, run)
    return await (run_batch if desk.effect is None else run_effect)(desk, run)


def _step_aside(desk: Desk, run: JobRun) -> Result:
    """The job belongs to a newer plan: this worker is about to be replaced and must not eat what others wait for."""
    desk.quiet_until = desk.settings.monotonic() + desk.settings.old_plan_pause
    log.warning(
        "met a job of a newer plan: this worker is out of date and claims nothing for a while",
        extra={"mine": desk.mine.hash, "theirs": run.claim.job.plan.hash if run.claim.job.plan else ""},
    )
    return Return(run.claim)


def _leave_alone(run: JobRun) -> Result:
    """A replay belongs to no plan, so it may meet a DryRun, which writes nothing: its rows are eligible again, as if new."""
    log.warning("mode is DryRun: rows that were to be tried again are left as they are", extra={"job": run.name})
    return Done(Settlement(claim=run.claim, skipped=run.claim.job.rows))


async def _supersede(desk: Desk, run: JobRun) -> Result:
    """The job was cut for a plan that ours replaces: its rows are for the new plan to find again."""
    job = run.claim.job
    if job.kind is JobKind.CHECK:
        return Done(Settlement(claim=run.claim))
    if job.is_retry:
        return Done(Settlement(claim=run.claim, skipped=job.rows))
    message = "the schedule was changed while this sweep ran; a new sweep goes by the new plan"
    if await desk.end_sweep(run, SweepState.SUPERSEDED, "PlanChanged", message):
        opened = await desk.open_instead_of(job.sweep)
        log.info("superseded a sweep of an older plan", extra={"sweep": job.sweep, "next": opened.sweep})
    return Gone()


async def _fail(desk: Desk, run: JobRun, failure: SweepFailure) -> Result:
    """Only an edit helps. A planned job takes its sweep with it; a held one waits, without spending an attempt."""
    job = run.claim.job
    if failure.reason not in NOT_THE_SOURCE:
        kind = "Effect" if failure.reason.startswith("Handler") else "SourceReady"
        await desk.report(kind, False, failure.reason, str(failure))
    log.error("%s: %s", failure.reason, failure, extra={"job": run.name})
    if job.kind is JobKind.CHECK:
        return Done(Settlement(claim=run.claim))
    if job.is_retry:
        rows = tuple(FailedRow(key, failure.reason, clip(str(failure), MESSAGE)) for key in job.keys)
        again = Retry(rows, job.attempt, desk.plan.retry.max_backoff)
        return Done(Settlement(claim=run.claim, retry=(again,)))
    await desk.end_sweep(run, SweepState.FAILED, failure.reason, str(failure))
    return Gone()
