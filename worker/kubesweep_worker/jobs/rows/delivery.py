"""Run the effects of one sub-batch in parallel, and decide what caused the infrastructure failures among them.

A receiver that fails for some rows and serves others refuses those rows: they spend an attempt, or one poison row would
block its sweep for ever. A receiver that fails for most rows is unavailable: the job is released and no attempt is spent, or an
outage would dead-letter good rows. ``attribute_failures`` decides; docs/adr/0011 and 0102 have the reasons.

effects/webhook_response.py classifies a webhook's status, such as 5xx, as an infrastructure failure (Outage) or the row's (RowError).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from kubesweep.errors import LeaseLost, Outage, RowError, Skip, SweepFailure
from kubesweep.queue.model import Job, Key
from kubesweep_worker.effects.base import Delivery, NotStarted, RowOutcome, as_row_error, idempotency_key
from kubesweep_worker.flow_control.backoff import MAX_ROW_DELAY, bounded_delay
from kubesweep_worker.flow_control.receiver_health import MAX_FAILURES_IN_A_ROW
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.jobs.context import JobContext
from kubesweep_worker.jobs.rows.settlement import RowFailure, failed_before
from kubesweep_worker.sources.base import SourceRow

YIELD_INTERVAL = 0.005  # seconds for which effects that never await may keep the event loop
FEW = 5  # a sub-batch of at most this many rows proves nothing about the receiver
MAX_CONSECUTIVE_FAILURES = 5  # failed probes in a row, after which a few rows are retried apart from their job
# Whole failures of a job, after which its rows are retried apart from it, once the receiver serves others.
GIVES_WAY_AFTER = 2
# Errors by which a receiver as a whole is unavailable, rather than that it cannot process one row.
UNAVAILABLE = frozenset({"Http502", "Http503", "Http504", "Http408", "Http425", "Http429", "Timeout", "Unreachable"})


@dataclass(slots=True)
class DeliveryResult:
    ok: list[Key] = field(default_factory=list)
    skipped: list[Key] = field(default_factory=list)
    failed: list[RowFailure] = field(default_factory=list)
    unspent: list[RowFailure] = field(default_factory=list)  # retried under the same attempt number
    undelivered: list[Key] = field(default_factory=list)  # failed, or with an unknown result: delivered again
    not_started: list[Key] = field(default_factory=list)  # because of a stop or a pause: delivered again
    outage: Outage | None = None
    idempotency_keys: dict[Key, str] = field(default_factory=dict)  # of each row in ``ok``
    already_done: int = 0  # rows in ``ok`` whose effect had succeeded before
    all_failed: bool = False
    split: bool = False  # the rows in ``undelivered`` are retried in groups of FEW


class FailureCause(Enum):
    ROWS = auto()  # they spend an attempt
    RECEIVER = auto()  # the job is released, and no attempt is spent
    UNKNOWN = auto()  # the rows are retried under the same attempt number
    SPLIT = auto()  # the rows are retried in groups of FEW


def attribute_failures(
    *,
    undelivered: int,
    answered: int,
    reason: str,
    job: Job,
    serves_others: bool,
    consecutive_failures: int,
    retry_requested: bool,
) -> FailureCause:
    """What caused ``undelivered`` infrastructure failures, at least one, while ``answered`` calls succeeded or were refused?

    ``serves_others``: the receiver served other rows lately. ``consecutive_failures``: outages in a row without a job that
    succeeded. ``retry_requested``: the receiver sent Retry-After, which a few rows can wait for apart from their job.
    """
    total = undelivered + answered
    if undelivered <= answered:
        return FailureCause.UNKNOWN if consecutive_failures and not failed_before(job) else FailureCause.ROWS
    if failed_before(job):
        refused = serves_others or (reason not in UNAVAILABLE and not consecutive_failures)
        return FailureCause.ROWS if refused else FailureCause.UNKNOWN
    if total <= FEW:
        if serves_others:
            return FailureCause.ROWS
        many = max(consecutive_failures, job.whole_failures) >= MAX_CONSECUTIVE_FAILURES
        return FailureCause.UNKNOWN if job.is_retry or retry_requested or many else FailureCause.RECEIVER
    if job.is_retry:
        return FailureCause.SPLIT if serves_others else FailureCause.RECEIVER
    gives_way = serves_others and job.whole_failures >= GIVES_WAY_AFTER
    whole_job = job.whole_failures >= MAX_CONSECUTIVE_FAILURES and job.rows <= total
    return FailureCause.UNKNOWN if gives_way or whole_job else FailureCause.RECEIVER


class SubBatchDelivery:
    """Each row in a call of its own. ``batch_delivery.BatchDelivery`` delivers many in one call."""

    batched = False  # the calls have many rows, so their failure does not say which row is the cause

    def __init__(self, context: JobContext, run: JobRun, cutoff: str, rows: list[SourceRow]) -> None:
        self.context, self.run, self.cutoff = context, run, cutoff
        self.rows = deque(rows)
        self.result = DeliveryResult()
        self.outages: dict[Key, Outage] = {}
        self.failed_since_answer: list[tuple[Key, ...]] = []  # the rows of each call
        self.failed_before = failed_before(run.claim.job)
        self.serves_others = context.receiver_health.serves_others
        self.effects_done = dict(run.claim.job.effects_done)
        self.yielded = context.settings.monotonic()  # when other tasks could run last
        self.aborted = False  # the receiver is unavailable: the remaining rows are not tried

    async def deliver_rows(self) -> None:
        """Deliver rows one after the other until none is left; several of these run in parallel."""
        while self.rows:
            row = self.rows.popleft()
            if self.context.draining:
                self.result.not_started.append(row.key)
            elif self.aborted:
                self.result.undelivered.append(row.key)
            else:
                if (delivery := self.delivery_of(row)) is not None:
                    await self.attempt((delivery,))
                await self._let_others_run()

    async def _let_others_run(self) -> None:
        """Handlers that never await must not delay a stop, or the other jobs."""
        if (now := self.context.settings.monotonic()) - self.yielded >= YIELD_INTERVAL:
            await asyncio.sleep(0)
            self.yielded = now

    def delivery_of(self, row: SourceRow) -> Delivery | None:
        """None where the effect succeeded before, so only the write is missing, and where the row has no Idempotency-Key."""
        job = self.run.claim.job
        try:
            idempotency = idempotency_key(self.context.plan.uid, row.key, row.stamp)
        except Exception as error:  # concerns this row only
            self.result.failed.append(RowFailure.of(row.key, as_row_error(error)))
            return None
        if self.effects_done.get(row.key) == idempotency:
            self.result.already_done += 1
            self._succeeded(row.key, idempotency)
            return None
        return Delivery(row.key, row.values, idempotency, self.cutoff, job.attempt, job.sweep, self._begin)

    async def attempt(self, call: Sequence[Delivery]) -> None:
        """One call of the effect, as soon as the limits allow it."""
        keys = tuple(each.key for each in call)
        try:
            async with self.context.effect_slots:
                if self.context.draining or not await self._may_start(len(call)):
                    self.result.not_started.extend(keys)
                    return
                self.run.touch()  # waiting for a slot is not a hang
                self.run.call_begins()
                try:
                    outcomes = await self.context.effect_slots.measure(self.send(call))
                finally:
                    self.run.call_ends()
        except NotStarted:
            self.result.not_started.extend(keys)
            return
        except Outage as outage:
            self._record_outage(keys, outage)
            return
        except (SweepFailure, LeaseLost):
            raise
        except Exception as error:  # an effect's exception concerns its rows only
            self.result.failed.extend(RowFailure.of(key, as_row_error(error)) for key in keys)
        else:
            for each, outcome in zip(call, outcomes or (), strict=outcomes is not None):
                self._record(each, outcome)
        self.failed_since_answer.clear()
        self.context.receiver_health.record(True)

    async def send(self, call: Sequence[Delivery]) -> Sequence[RowOutcome] | None:
        """The outcome of each row; None: the receiver answered, but the rows have to be sent again."""
        assert self.context.effect is not None
        try:
            await self.context.effect.deliver(call[0])
        except (Skip, RowError) as outcome:
            return (outcome,)
        return (None,)

    async def _may_start(self, rows: int) -> bool:
        """Wait until the rate limit lets all rows start. False where the worker stops, or the health pauses the sweep, first."""
        if (limiter := self.context.rate_limiter) is not None:
            for _ in range(rows):
                if not await limiter.acquire(self.run):
                    return False
        return True

    def _record(self, delivery: Delivery, outcome: RowOutcome) -> None:
        if outcome is None:
            self._succeeded(delivery.key, delivery.idempotency_key)
        elif isinstance(outcome, Skip):
            self.result.skipped.append(delivery.key)
        else:
            self.result.failed.append(RowFailure.of(delivery.key, outcome))

    def _succeeded(self, key: Key, idempotency: str) -> None:
        self.result.ok.append(key)
        self.result.idempotency_keys[key] = idempotency

    def _begin(self) -> None:
        if self.context.draining:
            raise NotStarted

    def _record_outage(self, keys: tuple[Key, ...], outage: Outage) -> None:
        """One call for these rows failed."""
        self.outages.update(dict.fromkeys(keys, outage))
        self.failed_since_answer.append(keys)
        if self.failed_before:  # rows that always fail prove nothing about the receiver
            unavailable = len(self.failed_since_answer) >= MAX_FAILURES_IN_A_ROW
        else:
            self.context.receiver_health.record(False)
            unavailable = self.context.receiver_health.failing
        self.aborted = self.aborted or (unavailable and outage.reason in UNAVAILABLE)

    def _typical_outage(self) -> Outage:
        """The one with the median Retry-After, so that a single row's long delay does not pause all rows."""
        by_delay = sorted(self.outages.values(), key=lambda o: bounded_delay(o.retry_after, MAX_ROW_DELAY))
        return by_delay[(len(by_delay) - 1) // 2]

    def conclude(self) -> DeliveryResult:
        result, job = self.result, self.run.claim.job
        if not self.outages:
            return result
        answered = len(result.ok) - result.already_done + len(result.skipped) + len(result.failed)
        typical = self._typical_outage()
        cause = attribute_failures(
            undelivered=len(self.outages) + len(result.undelivered),
            answered=answered,
            reason=typical.reason,
            job=job,
            serves_others=self.serves_others,
            consecutive_failures=self.context.claim_breaker.consecutive_failures,
            retry_requested=bounded_delay(typical.retry_after, MAX_ROW_DELAY) > 0,
        )
        if cause in (FailureCause.ROWS, FailureCause.UNKNOWN) and self.batched:
            # Which row of a call is the cause shows when each is sent alone. Together they would fail for ever.
            cause = FailureCause.SPLIT
        self._sort(cause, typical, answered)
        unknown = cause is FailureCause.UNKNOWN and result.all_failed
        if result.undelivered and not result.split:
            result.outage = typical
        elif self.context.receiver_health.failing and not self.failed_before and not unknown:
            self.context.pause_claiming(typical)
        return result

    def _sort(self, cause: FailureCause, typical: Outage, answered: int) -> None:
        """Put each failed row into the list that says what happens to it."""
        result = self.result
        result.all_failed = not answered
        result.split = cause is FailureCause.SPLIT
        # Many failures after the last answer are the beginning of an outage.
        outage_began = answered and len(self.failed_since_answer) > FEW and not self.failed_before
        in_outage = {key for call in self.failed_since_answer for key in call} if outage_began else set()
        for key, outage in self.outages.items():
            failure = RowFailure(key, outage.reason, str(outage), outage.retry_after)
            if cause in (FailureCause.RECEIVER, FailureCause.SPLIT) or key in in_outage:
                result.undelivered.append(key)
            else:
                (result.failed if cause is FailureCause.ROWS else result.unspent).append(failure)
        if not result.split and (self.failed_before or (cause is FailureCause.UNKNOWN and result.all_failed)):
            result.unspent += [
                RowFailure(k, typical.reason, str(typical), typical.retry_after) for k in result.undelivered
            ]
            result.undelivered.clear()


async def deliver_all(context: JobContext, run: JobRun, cutoff: str, rows: list[SourceRow]) -> DeliveryResult:
    """Deliver every row, ``effect.concurrency`` in parallel; never raises for a row. The lists are in order of completion."""
    assert context.plan.effect is not None
    delivery = SubBatchDelivery(context, run, cutoff, rows)
    await in_parallel(delivery.deliver_rows, min(context.plan.effect.concurrency, len(rows)), delivery.rows)
    return delivery.conclude()


async def in_parallel(work: Callable[[], Coroutine[Any, Any, None]], tasks: int, left: Collection[object]) -> None:
    """Run ``work`` in this many tasks at once, until nothing is ``left``. The others start once the first one awaits something: work
    that never does needs one."""

    async def start_others() -> None:
        if left:
            for _ in range(tasks - 1):
                group.create_task(work())

    if tasks <= 1:
        return await work()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(start_others())
            await work()
    except ExceptionGroup as several:  # callers decide by the class of the error
        raise several.exceptions[0] from several
