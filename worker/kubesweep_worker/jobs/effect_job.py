"""A range or keys job with an effect, in sub-batches.

For each sub-batch of at most 50 rows: run the effects, write exactly the keys whose effect succeeded, settle the progress.
A crash repeats at most one sub-batch, under the same Idempotency-Keys. No transaction is open while an effect runs. Rows
that are skipped or refused are not written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec

from kubesweep.api.plan import Effect as EffectPlan
from kubesweep.errors import LeaseLost, Outage, ScopeOutage
from kubesweep.queue.model import Job, JobKind, Key
from kubesweep_worker.effects.base import EffectOutage
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.jobs.batch_job import locked_rows
from kubesweep_worker.jobs.context import Done, JobContext, Release, Result
from kubesweep_worker.jobs.rows.batch_delivery import batch_rows, deliver_sub_batch
from kubesweep_worker.jobs.rows.bisection import Interrupted, write_keys
from kubesweep_worker.jobs.rows.delivery import FEW, DeliveryResult
from kubesweep_worker.jobs.rows.refused_writes import never_ends_failure
from kubesweep_worker.jobs.rows.settlement import RowFailure, RowResults, keys_job
from kubesweep_worker.jobs.rows.sub_batch import RowReader, SubBatch
from kubesweep_worker.phases import EFFECT, READ
from kubesweep_worker.settings import WorkerSettings
from kubesweep_worker.sources.base import Keys, Predicate

SETTLE_INTERVAL = 0.2  # seconds; sub-batches that were written whole are settled together


def sub_batch_rows(settings: WorkerSettings, effect: EffectPlan) -> int:
    """Rows of one sub-batch: at most ``settings.sub_batch``, fewer where slow effects would take over half the deadline."""
    timeout = effect.webhook.timeout if effect.webhook else effect.timeout
    calls_in_time = max(1, math.floor(settings.deadline / 2 / timeout))
    return max(1, min(settings.sub_batch, calls_in_time * effect.concurrency * batch_rows(effect)))


@dataclass(frozen=True, slots=True)
class SubBatchResult:
    """A sub-batch after its effects. Keys that are not in ``handled`` remain in the job."""

    ok: tuple[Key, ...]
    results: RowResults
    low: Key | None  # a range job continues after this key
    handled: frozenset[Key]
    outage: Outage | None
    idempotency_keys: Mapping[Key, str]  # those under which the effects of ``ok`` succeeded
    interrupted: bool = False  # rows were not started, because of a stop or a pause
    split_off: tuple[Job, ...] = ()  # jobs for rows that failed whole
    all_failed: bool = False


def sort_sub_batch(job: Job, keys: tuple[Key, ...], delivered: DeliveryResult, *, last: bool = True) -> SubBatchResult:
    """Sort the rows of a sub-batch by what happens to them. ``last``: the job has no other rows.

    After an outage or a drain, a range continues after the last row before the first undelivered one. Rows after that
    one that succeeded are written and no longer match. Rows after it that were skipped are delivered again.
    """
    results = RowResults(failed=list(delivered.failed), unspent=list(delivered.unspent))
    split_off = _split_off(job, delivered, last=last)
    pending = frozenset((*delivered.undelivered, *delivered.not_started)) - {k for one in split_off for k in one.keys}
    first_pending = next((i for i, key in enumerate(keys) if key in pending), len(keys))
    low = keys[first_pending - 1] if first_pending else job.low
    before = set(keys[:first_pending])
    skipped = [key for key in delivered.skipped if job.kind is JobKind.KEYS or key in before]
    results.skipped = len(skipped)
    handled = {*delivered.ok, *skipped, *(f.key for f in results.failed), *(f.key for f in results.unspent)}
    handled.update(key for one in split_off for key in one.keys)
    return SubBatchResult(
        tuple(delivered.ok),
        results,
        low,
        frozenset(handled),
        delivered.outage,
        delivered.idempotency_keys,
        bool(delivered.not_started),
        split_off,
        delivered.all_failed,
    )


def _split_off(job: Job, delivered: DeliveryResult, *, last: bool) -> tuple[Job, ...]:
    """Separate jobs for rows that all failed: in groups small enough to show which rows fail, or, after the second failure
    of the whole job, to find out from the rows after them whether the receiver is unavailable."""
    rows = tuple(delivered.undelivered)
    if delivered.split:
        return tuple(keys_job(job, rows[at : at + FEW]) for at in range(0, len(rows), FEW))
    whole = delivered.all_failed and delivered.outage is not None
    if whole and job.whole_failures and not job.is_retry and not last:
        return (keys_job(job, rows, whole_failures=job.whole_failures + 1),)
    return ()


def rest_of(job: Job, part: SubBatchResult) -> Job:
    """What remains of the job after a sub-batch; the settlement computes its number of rows."""
    effects_done = tuple(done for done in job.effects_done if done[0] not in part.handled)
    whole_failures = job.whole_failures + 1 if part.all_failed and part.outage is not None else 0
    job = msgspec.structs.replace(job, effects_done=effects_done, whole_failures=whole_failures)
    if job.kind is JobKind.KEYS:
        keys = tuple(key for key in job.keys if key not in part.handled)
        return msgspec.structs.replace(job, keys=keys)
    return msgspec.structs.replace(job, low=part.low)


@dataclass(slots=True)
class Unsettled:
    """Sub-batches that were written whole and that the queue does not count yet. ``run.claim.job`` continues behind them, with the
    number of rows that the queue has."""

    applied: int = 0
    since: float = 0.0  # monotonic

    async def settle(self, context: JobContext, run: JobRun) -> None:
        if self.applied:
            results, self.applied = RowResults(applied=self.applied), 0
            await context.settle_progress(run, context.settlement(run, results, rest=run.claim.job))


async def run_effect(context: JobContext, run: JobRun) -> Result:
    """Raises Outage, SweepFailure, LeaseLost."""
    unsettled = Unsettled()
    try:
        return await _run_sub_batches(context, run, unsettled)
    except LeaseLost:
        raise
    except Exception:
        run.checkpoint()
        await unsettled.settle(context, run)
        raise


async def _run_sub_batches(context: JobContext, run: JobRun, unsettled: Unsettled) -> Result:
    assert context.plan.effect is not None
    size = sub_batch_rows(context.settings, context.plan.effect)
    cutoff = run.claim.job.cutoff or await context.source.now()
    reader = RowReader(context, run, cutoff, size)
    while True:
        run.uninterruptible = False
        run.checkpoint()
        run.enter(READ)
        if context.draining:
            return await _release(context, run, unsettled)
        await _start_effect(context)
        if context.health.waits:
            await unsettled.settle(context, run)  # the wait may be long
        async with context.health.admitted(run):
            if (result := await _next_sub_batch(context, run, cutoff, reader, unsettled)) is not None:
                return result


async def _next_sub_batch(
    context: JobContext, run: JobRun, cutoff: str, reader: RowReader, unsettled: Unsettled
) -> Result | None:
    """None where the job has further rows."""
    batch = await reader.next()
    if not batch.keys:
        return Done(context.settlement(run, RowResults(applied=unsettled.applied)))
    if context.draining:
        return await _release(context, run, unsettled)
    run.uninterruptible = True
    return await _run_sub_batch(context, run, cutoff, batch, unsettled)


async def _release(context: JobContext, run: JobRun, unsettled: Unsettled) -> Result:
    await unsettled.settle(context, run)
    return Release(run.claim)


async def _start_effect(context: JobContext) -> None:
    assert context.effect is not None
    try:
        await context.effect.start()
    except Outage as outage:
        raise EffectOutage(outage) from outage


async def _run_sub_batch(
    context: JobContext, run: JobRun, cutoff: str, batch: SubBatch, unsettled: Unsettled
) -> Result | None:
    """Deliver, write and settle one sub-batch; returns the job's result with the last one."""
    job = run.claim.job
    run.enter(EFFECT)
    delivered = await deliver_sub_batch(context, run, cutoff, batch.rows)
    delivered.failed.extend(batch.failed)
    last = batch.last or (job.kind is JobKind.KEYS and len(batch.keys) == len(job.keys))
    part = sort_sub_batch(job, batch.keys, delivered, last=last)
    await _write(context, run, part, cutoff)
    endless = part.results.endless and not part.results.applied
    failure = never_ends_failure() if endless else await context.refused_writes.sweep_failure(job, part.results)
    if context.plan.write is not None:
        _remember_effects(part)
    rest = rest_of(job, part)
    if job.is_retry and part.all_failed and part.results.unspent:
        rest = _retry_rest(rest, part)
    locked = locked_rows(msgspec.structs.replace(job, is_retry=True), part.results, part.idempotency_keys)
    jobs = (*part.split_off, *locked)
    last = not part.interrupted and (batch.last or (rest.kind is JobKind.KEYS and not rest.keys))
    if not last and part.results.applied == len(batch.keys) and _may_settle_later(context, unsettled):
        unsettled.applied += part.results.applied
        run.claim = msgspec.structs.replace(run.claim, job=rest)
        return None
    part.results.applied, unsettled.applied = part.results.applied + unsettled.applied, 0
    if last and part.outage is None and failure is None:
        return Done(context.settlement(run, part.results, jobs=jobs), succeeded=not part.all_failed)
    await context.settle_progress(run, context.settlement(run, part.results, jobs=jobs, rest=rest))
    if failure is not None:
        raise failure
    if part.outage is not None:
        raise EffectOutage(part.outage) from part.outage
    return None


def _may_settle_later(context: JobContext, unsettled: Unsettled) -> bool:
    """After a crash, rows that were written are counted as unconfirmed until they are settled; no effect is repeated for them."""
    now = context.settings.monotonic()
    if not unsettled.applied:
        unsettled.since = now
    return now - unsettled.since < SETTLE_INTERVAL


def _retry_rest(rest: Job, part: SubBatchResult) -> Job:
    """The cause is unknown: rows that were not tried are retried together with those that were."""
    why, done = part.results.unspent[-1], dict(rest.effects_done)
    part.results.unspent += [RowFailure(key, why.error, why.message, effect_key=done.get(key, "")) for key in rest.keys]
    return msgspec.structs.replace(rest, keys=(), effects_done=())


def _remember_effects(part: SubBatchResult) -> None:
    """Rows whose effect succeeded and whose write failed: their next attempt only writes."""
    failed = part.results.failed
    for at, failure in enumerate(failed):
        if failure.key in part.idempotency_keys:
            failed[at] = replace(failure, effect_key=part.idempotency_keys[failure.key])


def _unwritten(job: Job, part: SubBatchResult, stop: Interrupted) -> Job:
    """The job whose write stopped half-way. Rows that were committed are not counted, so the next delivery must not count
    them as skipped. The next delivery only writes the others."""
    effects_done = tuple({**dict(job.effects_done), **part.idempotency_keys}.items())
    whole_failures = job.whole_failures + isinstance(stop.cause, ScopeOutage)
    committed = job.may_have_committed or part.results.applied > 0
    return msgspec.structs.replace(
        job, may_have_committed=committed, whole_failures=whole_failures, effects_done=effects_done
    )


async def _write(context: JobContext, run: JobRun, part: SubBatchResult, cutoff: str) -> None:
    """Write the rows whose effect succeeded. Without a write, verify that the handler left them no longer stale."""
    if not part.ok:
        return
    results, job = part.results, run.claim.job
    if context.plan.write is None:
        still = set(await context.source.keys(Keys(part.ok), Predicate(cutoff)))
        results.applied += len(part.ok) - len(still)
        message = (
            "the handler returned, but the row still matches; a sweep without write needs a handler that changes it"
        )
        results.failed.extend(RowFailure(key, "StillStale", message) for key in part.ok if key in still)
        return
    failed, locked = len(results.failed), len(results.locked)
    try:
        await write_keys(context, run, part.ok, cutoff, results)
    except Interrupted as stop:
        run.claim = msgspec.structs.replace(run.claim, job=_unwritten(job, part, stop))
        raise stop.cause from stop
    counted = (results.applied, len(results.failed) - failed, len(results.locked) - locked)
    results.skipped += max(0, len(part.ok) - sum(counted))
