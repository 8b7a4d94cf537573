"""A range or keys job without an effect: one statement in one transaction. See effect_job for the other kind."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from kubesweep.errors import RowError, ScopeOutage
from kubesweep.queue.model import Job, JobKind, Key
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.jobs.context import Desk, Done, Result
from kubesweep_worker.jobs.rows.bisection import Interrupted, write_keys, write_once
from kubesweep_worker.jobs.rows.reading import read_keys
from kubesweep_worker.jobs.rows.refused_writes import never_ends
from kubesweep_worker.jobs.rows.settlement import UNWRITTEN, Failure, Tally, keys_job, scope_of
from kubesweep_worker.sources.base import Scope

LOCKED_MESSAGE = "the row is locked by another transaction of the application; no attempt is spent"


async def run_batch(desk: Desk, run: JobRun) -> Result:
    """Raises Outage, SweepFailure, LeaseLost, Interrupted (after settling what was achieved)."""
    job = run.claim.job
    cutoff = job.cutoff or await desk.source.now()
    excluded = await desk.excluded(job)
    scope, tally = scope_of(job), Tally()
    run.checkpoint()
    try:
        failed = None
        if job.rows <= desk.batch.most:
            failed = await _try_once(desk, run, scope, cutoff, excluded, tally)
        if failed is not None or job.rows > desk.batch.most:
            keys = await read_keys(desk, run, scope, cutoff, excluded)
            # The keys of a range may be others by now.
            await write_keys(desk, run, keys, cutoff, tally, failed=failed)
    except Interrupted as stop:
        await settle_part(desk, run, stop)
        raise stop.cause from stop
    if tally.endless and not tally.applied:
        await desk.progress(run, desk.settlement(run, tally, rest=job))
        raise never_ends()
    fails = await desk.refusals.of_all(job, tally)
    if fails is not None:
        spare_refused(tally)
    jobs = locked_rows(job, tally)
    made = desk.settlement(run, tally, jobs=jobs)
    return Done(made if fails is None else msgspec.structs.replace(made, sweep_failure=(fails.reason, str(fails))))


def unrefused(tally: Tally) -> list[Failure]:
    return [failure for failure in tally.failed if failure.error not in UNWRITTEN]


def spare_refused(tally: Tally) -> None:
    """Rows that share a cause with all others so far spend no attempt and stay eligible. The sweep goes on, because the rows
    behind them may be free, and nobody outside is called in vain."""
    failed = unrefused(tally)
    tally.skipped += len(tally.failed) - len(failed)
    tally.failed = failed


async def _try_once(
    desk: Desk, run: JobRun, scope: Scope, cutoff: str, excluded: frozenset[Key], tally: Tally
) -> RowError | ScopeOutage | None:
    """The whole job in one statement. What it raises where a smaller scope may succeed."""
    job = run.claim.job
    try:
        await write_once(desk.source, scope, cutoff, excluded, tally)
    except (RowError, ScopeOutage) as error:
        return error
    desk.wrote()
    desk.batch.clean(job.rows)
    return None


async def settle_part(desk: Desk, run: JobRun, stop: Interrupted) -> None:
    """Settle what an interrupted job achieved; ``run.claim`` keeps the keys that were not reached."""
    job = run.claim.job
    jobs = locked_rows(job, stop.tally)
    whole_failures = job.whole_failures + isinstance(stop.cause, ScopeOutage)
    rest = keys_job(job, stop.remaining, may_have_committed=True, whole_failures=whole_failures)
    part = desk.settlement(run, stop.tally, jobs=jobs, rest=rest)
    await desk.progress(run, part)


def locked_rows(job: Job, tally: Tally, stamps: Mapping[Key, str] | None = None) -> tuple[Job, ...]:
    """Where rows stayed locked on the second try: one keys job for them, or, when they were all that this keys job had
    (or it is held anyway), a retry that spends no attempt, so that the sweep can finish without them. ``stamps``: the
    Idempotency-Keys under which effects succeeded."""
    locked = tuple(tally.locked)
    tally.locked = []
    if not locked:
        return ()
    if job.is_retry or (job.kind is JobKind.KEYS and len(locked) >= len(job.keys)):
        told = stamps or {}
        tally.unspent.extend(Failure(key, "Locked", LOCKED_MESSAGE, told=told.get(key, "")) for key in locked)
        return ()
    return (keys_job(job, locked),)
