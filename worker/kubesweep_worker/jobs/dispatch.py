"""Run one claimed job and turn any error into a result. Nothing that a job raises reaches the loop.

The class of an error decides:

=============  =======================================================================================================
Outage         the job is released, and claiming pauses (``JobContext.pause_claiming``)
SweepFailure   the sweep fails
LeaseLost      the job is dropped, neither settled nor released: see ``lost`` in in_flight.py
any other      the job is bisected, until the row that provokes the error is alone and refused
=============  =======================================================================================================
"""

from __future__ import annotations

import asyncio
import logging

import msgspec

from kubesweep.errors import LeaseLost, Outage, RowError, SweepFailure
from kubesweep.queue.model import MESSAGE, Claim, FailedRow, JobKind, Retry, Settlement, SweepState
from kubesweep.text import clip
from kubesweep_worker.effects.base import EffectFailure
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.jobs.batch_job import run_batch
from kubesweep_worker.jobs.check_job import run_check
from kubesweep_worker.jobs.context import Done, Drop, JobContext, Release, Result
from kubesweep_worker.jobs.effect_job import run_effect
from kubesweep_worker.jobs.other_origin import end_other_origin, is_other_origin
from kubesweep_worker.jobs.plan_job import run_plan
from kubesweep_worker.jobs.plan_match import PlanMatch, match_plan
from kubesweep_worker.jobs.poison_job import bisect_job, bisected, give_up, stale_keys
from kubesweep_worker.jobs.redelivery import RedeliveryPolicy, redelivery_policy, with_crash
from kubesweep_worker.jobs.rows.reading import match_fails
from kubesweep_worker.jobs.rows.settlement import RowFailure, RowResults, defect

log = logging.getLogger("kubesweep.worker")
NOT_THE_SOURCE = frozenset({"NeverEnds", "WorkerDefect"})  # failures that say nothing about the source


async def run_job(context: JobContext, run: JobRun) -> Result:
    """Work on one claim to its end; raises nothing but a second cancellation."""
    try:
        return await _classified(context, run)
    except LeaseLost as lost:
        log.warning("lease lost: %s", lost, extra={"job": run.name})
        return Drop()
    except asyncio.CancelledError:
        return Release(_may_have_committed(run))


async def _classified(context: JobContext, run: JobRun) -> Result:
    try:
        try:
            result = await _run(context, run)
        except RowError as error:  # raised by a query for the rows, not by a write
            raise match_fails(error) from error
    except Outage as outage:
        context.pause_claiming(outage)
        await context.findings.report_outage(outage)
        return Release(_may_have_committed(run) if outage.maybe_applied else run.claim)
    except SweepFailure as failure:
        return await _fail(context, run, failure)
    except LeaseLost:
        raise
    except MemoryError:
        no_memory = Outage("OutOfMemory", "the worker is out of memory; give it more or lower limits.batchRows")
        context.pause_claiming(no_memory)
        await context.findings.report_outage(no_memory)
        return Release(_may_have_committed(run))
    except Exception as error:
        return await _isolate_defect(context, run, error)
    await _report_success(context, run, result)
    return result


async def _isolate_defect(context: JobContext, run: JobRun, error: Exception) -> Result:
    """After an unexpected exception: bisect the job, so that the other rows continue. A single row that is left is refused. A
    plan job has no rows, so its sweep fails."""
    job, refused = run.claim.job, defect(error)
    refused.__cause__ = error
    try:
        if job.kind not in (JobKind.RANGE, JobKind.KEYS):
            log.error("unexpected exception in the worker", exc_info=error, extra={"job": run.name})
            raise SweepFailure(refused.error, str(refused))
        if len(job.keys) == 1:
            return Done(context.settlement(run, RowResults(failed=[RowFailure.of(job.keys[0], refused)])))
        keys = await stale_keys(context, run)
        parts = () if len(keys) < 2 else bisected(job, keys, suspect=False)
        failed = [RowFailure.of(key, refused) for key in keys] if len(keys) == 1 else []
        return Done(context.settlement(run, RowResults(failed=failed), jobs=parts))
    except Outage as outage:
        context.pause_claiming(outage)
        return Release(_may_have_committed(run))
    except SweepFailure as failure:
        return await _fail(context, run, failure)
    except LeaseLost:
        raise
    except Exception:
        log.exception("unexpected exception in the worker", extra={"job": run.name})
        return await _fail(context, run, SweepFailure(refused.error, str(refused)))


async def _report_success(context: JobContext, run: JobRun, result: Result) -> None:
    succeeded = isinstance(result, Done) or (isinstance(result, Drop) and result.succeeded)
    if run.claim.job.kind is JobKind.CHECK or not succeeded:
        return
    await context.findings.report_success("SourceReady")
    if context.effect is not None and isinstance(result, Done) and result.settlement.applied:
        await context.findings.report_success("Effect")


def _may_have_committed(run: JobRun) -> Claim:
    """The claim, marked: some of its rows may be committed."""
    return msgspec.structs.replace(run.claim, job=msgspec.structs.replace(run.claim.job, may_have_committed=True))


async def _run(context: JobContext, run: JobRun) -> Result:
    claim = run.claim
    match match_plan(claim.job.plan, context.plan_version):
        case PlanMatch.OLD_WORKER:
            return _release_newer_job(context, run)
        case PlanMatch.OLD_JOB:
            return await _supersede(context, run)
        case PlanMatch.SAME:
            pass
    if await is_other_origin(context, run):
        return await end_other_origin(context, run)
    if context.plan.dry_run and claim.job.kind in (JobKind.RANGE, JobKind.KEYS):
        return _skip_in_dry_run(run)
    match redelivery_policy(claim):
        case RedeliveryPolicy.GIVE_UP:
            return await give_up(context, run)
        case RedeliveryPolicy.BISECT:
            return await bisect_job(context, run)
        case RedeliveryPolicy.ALONE if (job := with_crash(claim.job)) is not None:
            await context.settle_progress(run, Settlement(claim=claim, rest=job))
            run.crash_recorded = True
        case _:
            pass
    if claim.job.kind is JobKind.PLAN:
        return await run_plan(context, run)
    if claim.job.kind is JobKind.CHECK:
        return await run_check(context, run)
    return await (run_batch if context.effect is None else run_effect)(context, run)


def _release_newer_job(context: JobContext, run: JobRun) -> Result:
    """The job belongs to a newer plan: this worker is about to be replaced, and must not claim jobs of its successors."""
    context.no_claims_until = context.settings.monotonic() + context.settings.old_plan_pause
    log.warning(
        "met a job of a newer plan: this worker is out of date, and its claiming pauses",
        extra={"mine": context.plan_version.hash, "theirs": run.claim.job.plan.hash if run.claim.job.plan else ""},
    )
    return Release(run.claim)


def _skip_in_dry_run(run: JobRun) -> Result:
    """A replay has no plan, so a DryRun worker may claim it. It writes nothing, and its rows become eligible again."""
    log.warning("mode is DryRun: rows that were to be retried are left unchanged", extra={"job": run.name})
    return Done(Settlement(claim=run.claim, skipped=run.claim.job.rows))


async def _supersede(context: JobContext, run: JobRun) -> Result:
    """The job was planned with a plan that this worker's plan replaces: a sweep of the new plan finds its rows again."""
    job = run.claim.job
    if job.kind is JobKind.CHECK:
        return Done(Settlement(claim=run.claim))
    if job.is_retry:
        return Done(Settlement(claim=run.claim, skipped=job.rows))
    message = "the schedule was changed while this sweep ran; a new sweep uses the new plan"
    if await context.end_sweep(run, SweepState.SUPERSEDED, "PlanChanged", message):
        opened = await context.open_replacement(job.sweep)
        log.info("superseded a sweep of an older plan", extra={"sweep": job.sweep, "next": opened.sweep})
    return Drop()


async def _fail(context: JobContext, run: JobRun, failure: SweepFailure) -> Result:
    """Only an edit helps. A planned job fails its sweep; a retry is delayed and spends no attempt."""
    job = run.claim.job
    if failure.reason not in NOT_THE_SOURCE or job.kind is JobKind.CHECK:
        kind = "Effect" if isinstance(failure, EffectFailure) else "SourceReady"
        await context.findings.report(kind, False, failure.reason, str(failure))
    log.error("%s: %s", failure.reason, failure, extra={"job": run.name})
    if job.kind is JobKind.CHECK:
        return Done(Settlement(claim=run.claim))
    if job.is_retry:
        rows = tuple(FailedRow(key, failure.reason, clip(str(failure), MESSAGE)) for key in job.keys)
        again = Retry(rows, job.attempt, context.plan.retry.max_backoff)
        return Done(Settlement(claim=run.claim, retry=(again,)))
    await context.end_sweep(run, SweepState.FAILED, failure.reason, str(failure))
    return Drop()
