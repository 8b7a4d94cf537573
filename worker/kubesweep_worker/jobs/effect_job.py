"""A range or keys job with an effect, in sub-batches: effects of at most 50 rows, then one write of exactly the keys
that succeeded, then progress is settled. A crash repeats at most one sub-batch, under the same Idempotency-Keys.

No transaction is open while an effect runs. Rows that are skipped or refused are not written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec

from kubesweep.api.plan import Effect as EffectPlan
from kubesweep.errors import Outage, ScopeOutage
from kubesweep.queue.model import Job, JobKind, Key
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.jobs.batch_job import locked_rows
from kubesweep_worker.jobs.context import Desk, Done, EffectOutage, Result, Return
from kubesweep_worker.jobs.rows.bisection import Interrupted, write_keys
from kubesweep_worker.jobs.rows.delivery import FEW, Delivered, deliver_all
from kubesweep_worker.jobs.rows.refused_writes import never_ends
from kubesweep_worker.jobs.rows.settlement import Failure, Tally, keys_job
from kubesweep_worker.jobs.rows.sub_batch import offered
from kubesweep_worker.settings import WorkerSettings
from kubesweep_worker.sources.base import Keys


def sub_batch_rows(settings: WorkerSettings, effect: EffectPlan) -> int:
    """Rows of one sub-batch: at most ``settings.sub_batch``, fewer where slow effects would outlast half a deadline."""
    timeout = effect.webhook.timeout if effect.webhook else effect.timeout
    rounds = max(1, math.floor(settings.deadline / 2 / timeout))
    return max(1, min(settings.sub_batch, rounds * effect.concurrency))


@dataclass(frozen=True, slots=True)
class Part:
    """One sub-batch after its effects: ``rows`` are dealt with, the rest of it (an outage) is not."""

    ok: tuple[Key, ...]
    tally: Tally
    low: Key | None  # a range job goes on behind this key
    handled: frozenset[Key]
    outage: Outage | None
    stamps: Mapping[Key, str]  # the Idempotency-Keys under which the effects of ``ok`` succeeded
    left: bool = False  # rows were not begun, because the worker stops
    apart: tuple[Job, ...] = ()  # jobs for rows that failed whole
    whole: bool = False  # nothing got through


def part_of(job: Job, keys: tuple[Key, ...], delivered: Delivered, *, last: bool = True) -> Part:
    """Sort a sub-batch. In an outage or a drain a range goes on behind the last row before the first unreached one; what
    succeeded behind that is written too and no longer matches, what was skipped there is offered again. ``last``: the job
    has no other rows."""
    tally = Tally(failed=list(delivered.failed), unspent=list(delivered.unspent))
    apart = _apart(job, delivered, last=last)
    down = frozenset((*delivered.down, *delivered.left)) - {key for one in apart for key in one.keys}
    first_down = next((i for i, key in enumerate(keys) if key in down), len(keys))
    low = keys[first_down - 1] if first_down else job.low
    before = set(keys[:first_down])
    skipped = [key for key in delivered.skipped if job.kind is JobKind.KEYS or key in before]
    tally.skipped = len(skipped)
    named = {*delivered.ok, *skipped, *(f.key for f in tally.failed), *(f.key for f in tally.unspent)}
    named.update(key for one in apart for key in one.keys)
    return Part(
        tuple(delivered.ok),
        tally,
        low,
        frozenset(named),
        delivered.outage,
        delivered.stamps,
        bool(delivered.left),
        apart,
        delivered.whole,
    )


def _apart(job: Job, delivered: Delivered, *, last: bool) -> tuple[Job, ...]:
    """Jobs of their own for rows that failed whole: in groups that prove something, or, for the second time, to let the
    rows behind them show whether the receiver is away."""
    down = tuple(delivered.down)
    if delivered.split:
        return tuple(keys_job(job, down[at : at + FEW]) for at in range(0, len(down), FEW))
    if delivered.whole and delivered.outage is not None and job.whole_failures and not job.is_retry and not last:
        return (keys_job(job, down, whole_failures=job.whole_failures + 1),)
    return ()


def rest_of(job: Job, part: Part) -> Job:
    """What is left of the job after a sub-batch; its number of rows is the settlement's business."""
    told = tuple(one for one in job.effects_done if one[0] not in part.handled)
    whole_failures = job.whole_failures + 1 if part.whole and part.outage is not None else 0
    job = msgspec.structs.replace(job, effects_done=told, whole_failures=whole_failures)
    if job.kind is JobKind.KEYS:
        keys = tuple(key for key in job.keys if key not in part.handled)
        return msgspec.structs.replace(job, keys=keys)
    return msgspec.structs.replace(job, low=part.low)


async def run_effect(desk: Desk, run: JobRun) -> Result:
    """Raises Outage, SweepFailure, LeaseLost."""
    assert desk.effect is not None
    assert desk.plan.effect is not None
    size = sub_batch_rows(desk.settings, desk.plan.effect)
    cutoff = run.claim.job.cutoff or await desk.source.now()
    while True:
        run.gentle = False
        run.checkpoint()
        if desk.draining:
            return Return(run.claim)
        job = run.claim.job
        try:
            await desk.effect.start()
        except Outage as outage:
            raise EffectOutage(outage) from outage
        batch = await offered(desk, run, cutoff, size)
        if not batch.keys:
            return Done(desk.settlement(run, Tally()))
        if desk.draining:
            return Return(run.claim)
        run.gentle = True
        delivered = await deliver_all(desk, run, cutoff, batch.rows)
        delivered.failed.extend(batch.failed)
        last = batch.last or (job.kind is JobKind.KEYS and len(batch.keys) == len(job.keys))
        part = part_of(job, batch.keys, delivered, last=last)
        await _write(desk, run, part, cutoff)
        endless = part.tally.endless and not part.tally.applied
        refused = never_ends() if endless else await desk.refusals.of_all(job, part.tally)
        if desk.plan.write is not None:
            _remember(part)
        rest = rest_of(job, part)
        if job.is_retry and part.whole and part.tally.unspent:
            rest = _hold_all(rest, part)
        jobs = (*part.apart, *locked_rows(msgspec.structs.replace(job, is_retry=True), part.tally, part.stamps))
        last = not part.left and (batch.last or (rest.kind is JobKind.KEYS and not rest.keys))
        if last and part.outage is None and refused is None:
            return Done(desk.settlement(run, part.tally, jobs=jobs), worked=not part.whole)
        await desk.progress(run, desk.settlement(run, part.tally, jobs=jobs, rest=rest))
        if refused is not None:
            raise refused
        if part.outage is not None:
            raise EffectOutage(part.outage) from part.outage


def _hold_all(rest: Job, part: Part) -> Job:
    """Nobody is to blame: the rows that were not tried leave with those that were."""
    why, told = part.tally.unspent[-1], dict(rest.effects_done)
    part.tally.unspent += [Failure(key, why.error, why.message, told=told.get(key, "")) for key in rest.keys]
    return msgspec.structs.replace(rest, keys=(), effects_done=())


def _remember(part: Part) -> None:
    """Rows whose effect succeeded and whose write did not go straight to the write at their next attempt."""
    failed = part.tally.failed
    for at, failure in enumerate(failed):
        if failure.key in part.stamps:
            failed[at] = replace(failure, told=part.stamps[failure.key])


def _unwritten(job: Job, part: Part, stop: Interrupted) -> Job:
    """The job whose write stopped half-way. What was committed is not counted, so the next delivery must not take it for
    skipped; what was not goes straight to the write."""
    told = tuple({**dict(job.effects_done), **part.stamps}.items())
    whole_failures = job.whole_failures + isinstance(stop.cause, ScopeOutage)
    maybe = job.may_have_committed or part.tally.applied > 0
    return msgspec.structs.replace(job, may_have_committed=maybe, whole_failures=whole_failures, effects_done=told)


async def _write(desk: Desk, run: JobRun, part: Part, cutoff: str) -> None:
    """Write the rows whose effect succeeded, or, without a write, see that the handler left them not stale."""
    if not part.ok:
        return
    tally, job = part.tally, run.claim.job
    if desk.plan.write is None:
        still = set(await desk.source.keys(Keys(part.ok), cutoff, ()))
        tally.applied += len(part.ok) - len(still)
        message = (
            "the handler returned, but the row still matches; a sweep without write needs a handler that changes it"
        )
        tally.failed.extend(Failure(key, "StillStale", message) for key in part.ok if key in still)
        return
    failed, locked = len(tally.failed), len(tally.locked)
    try:
        await write_keys(desk, run, part.ok, cutoff, tally)
    except Interrupted as stop:
        run.claim = msgspec.structs.replace(run.claim, job=_unwritten(job, part, stop))
        raise stop.cause from stop
    new = (tally.applied, len(tally.failed) - failed, len(tally.locked) - locked)
    tally.skipped += max(0, len(part.ok) - sum(new))
