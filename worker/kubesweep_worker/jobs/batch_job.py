"""A range or keys job without an effect: one statement in one transaction. effect_job.py runs jobs with an effect."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from kubesweep.errors import RowError, ScopeOutage
from kubesweep.queue.model import Job, JobKind, Key
from kubesweep_worker.flow_control.write_admission import TooLarge
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.jobs.context import Done, JobContext, Result
from kubesweep_worker.jobs.rows.bisection import Interrupted, write_keys, write_once
from kubesweep_worker.jobs.rows.reading import read_keys
from kubesweep_worker.jobs.rows.refused_writes import never_ends_failure
from kubesweep_worker.jobs.rows.settlement import UNWRITTEN, RowFailure, RowResults, keys_job, scope_of
from kubesweep_worker.sources.base import Predicate, Scope

LOCKED_MESSAGE = "the row is locked by another transaction of the application; no attempt is spent"


async def run_batch(context: JobContext, run: JobRun) -> Result:
    """Raises Outage, SweepFailure, LeaseLost, Interrupted (after it settled what was written)."""
    job = run.claim.job
    cutoff = job.cutoff or await context.source.now()
    predicate = await context.predicate(job, cutoff)
    scope, results = scope_of(job), RowResults()
    run.checkpoint()
    try:
        whole, failed = False, None
        # Decided once: a size that drops during the write is no reason to write the job again.
        if job.rows <= context.batch_size.most:
            whole, failed = await _write_whole_job(context, run, scope, predicate, results)
        if not whole:
            keys = await read_keys(context, run, scope, predicate)
            # By now the range may have other stale keys.
            await write_keys(context, run, keys, cutoff, results, failed=failed)
    except Interrupted as stop:
        await settle_interrupted(context, run, stop)
        raise stop.cause from stop
    if results.endless and not results.applied:
        await context.settle_progress(run, context.settlement(run, results, rest=job))
        raise never_ends_failure()
    failure = await context.refused_writes.sweep_failure(job, results)
    if failure is not None:
        skip_refused(results)
    jobs = locked_rows(job, results)
    made = context.settlement(run, results, jobs=jobs)
    if failure is not None:
        made = msgspec.structs.replace(made, sweep_failure=(failure.reason, str(failure)))
    return Done(made)


def skip_refused(results: RowResults) -> None:
    """Count refused rows as skipped: they share one cause with all others so far, so they spend no attempt and stay eligible.
    The sweep continues, because later rows may be writable and no effect is repeated."""
    others = [failure for failure in results.failed if failure.error not in UNWRITTEN]
    results.skipped += len(results.failed) - len(others)
    results.failed = others


async def _write_whole_job(
    context: JobContext, run: JobRun, scope: Scope, predicate: Predicate, results: RowResults
) -> tuple[bool, RowError | ScopeOutage | None]:
    """The whole job in one statement. Returns whether it was written, and an error that a smaller scope may avoid."""
    try:
        await write_once(context, run, scope, predicate, results)
    except TooLarge:
        return False, None
    except (RowError, ScopeOutage) as error:
        return False, error
    context.record_write()
    return True, None


async def settle_interrupted(context: JobContext, run: JobRun, stop: Interrupted) -> None:
    """Settle what an interrupted job wrote; ``run.claim`` keeps the keys that were not reached."""
    job = run.claim.job
    jobs = locked_rows(job, stop.results)
    whole_failures = job.whole_failures + isinstance(stop.cause, ScopeOutage)
    rest = keys_job(job, stop.remaining, may_have_committed=True, whole_failures=whole_failures)
    part = context.settlement(run, stop.results, jobs=jobs, rest=rest)
    await context.settle_progress(run, part)


def locked_rows(job: Job, results: RowResults, idempotency_keys: Mapping[Key, str] | None = None) -> tuple[Job, ...]:
    """What happens to rows that stayed locked on the second try: they get a keys job of their own.

    Where they are all rows of a keys job, or the job is a retry, they are retried instead and spend no attempt, so that the
    sweep can finish without them. ``idempotency_keys``: those under which their effects succeeded.
    """
    locked = tuple(results.locked)
    results.locked = []
    if not locked:
        return ()
    if job.is_retry or (job.kind is JobKind.KEYS and len(locked) >= len(job.keys)):
        done = idempotency_keys or {}
        results.unspent.extend(
            RowFailure(key, "Locked", LOCKED_MESSAGE, effect_key=done.get(key, "")) for key in locked
        )
        return ()
    return (keys_job(job, locked),)
