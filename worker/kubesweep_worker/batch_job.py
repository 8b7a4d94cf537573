"""A range or keys job without an effect: one statement in one transaction. See effect_job for the other kind."""

from __future__ import annotations

import msgspec

from kubesweep.errors import RowError, SweepFailure
from kubesweep.queue.model import Job, JobKind
from kubesweep_worker.desk import Desk, Done, Result
from kubesweep_worker.hands import JobRun
from kubesweep_worker.isolate import Interrupted, write_keys, write_once
from kubesweep_worker.outcome import Failure, Tally, keys_job, scope_of
from kubesweep_worker.sources.base import WRITE_REFUSED, Keys

LOCKED_MESSAGE = "the row is locked by another transaction of the application; no attempt is spent"


def never_ends() -> SweepFailure:
    return SweepFailure(
        "NeverEnds",
        "rows still match after the write, so this sweep would never end: let write.update set a column of match "
        "to a value that no longer matches (or add a match condition that the written rows fail)",
    )


def match_fails(error: RowError) -> SweepFailure:
    """A condition that fails on a row cannot even be asked about it: only an edit of match helps."""
    return SweepFailure(
        "MatchFails", f"the conditions of match fail on some row ({error.error}: {error}); correct the sql under match"
    )


async def run_batch(desk: Desk, run: JobRun) -> Result:
    """Raises Outage, SweepFailure, LeaseLost, Interrupted (after settling what was achieved)."""
    job = run.claim.job
    cutoff = job.cutoff or await desk.source.now()
    held = await desk.held(job)
    scope, tally = scope_of(job), Tally()
    run.checkpoint()
    try:
        await write_once(desk.source, scope, cutoff, held, tally)
    except RowError:
        try:
            keys = scope.keys if isinstance(scope, Keys) else await desk.source.keys(scope, cutoff, held)
        except RowError as error:
            raise match_fails(error) from error
        try:
            await write_keys(desk.source, keys, cutoff, held, tally, run)
        except Interrupted as stop:
            await settle_part(desk, run, stop)
            raise stop.cause from stop
    refused = never_ends() if tally.never_ends(job) else await desk.refusals.of_all(job, tally)
    if refused is not None:
        tally.failed = [failure for failure in tally.failed if failure.error != WRITE_REFUSED]
        await desk.progress(run, desk.settlement(run, tally, rest=job))
        raise refused
    jobs = locked_rows(job, tally)
    return Done(desk.settlement(run, tally, jobs=jobs))


async def settle_part(desk: Desk, run: JobRun, stop: Interrupted) -> None:
    """Settle what an interrupted job achieved; ``run.claim`` keeps the keys that were not reached."""
    job = run.claim.job
    jobs = locked_rows(job, stop.tally)
    rest = msgspec.structs.replace(keys_job(job, stop.remaining), maybe=True)
    part = desk.settlement(run, stop.tally, jobs=jobs, rest=rest)
    await desk.progress(run, part)


def locked_rows(job: Job, tally: Tally) -> tuple[Job, ...]:
    """Where rows stayed locked on the second try: one keys job for them, or, when they were all that this keys job had
    (or it is held anyway), a retry that spends no attempt, so that the sweep can finish without them."""
    locked = tuple(tally.locked)
    tally.locked = []
    if not locked:
        return ()
    if job.held or (job.kind is JobKind.KEYS and len(locked) >= len(job.keys)):
        tally.unspent.extend(Failure(key, "Locked", LOCKED_MESSAGE) for key in locked)
        return ()
    return (keys_job(job, locked),)
