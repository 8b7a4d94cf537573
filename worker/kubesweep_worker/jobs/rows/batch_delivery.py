"""Deliver the rows of one sub-batch in calls for many rows each (``effect.webhook.batchRows``).

The rows are divided in their order, so a job that runs again after a crash sends the same rows in the same calls, under the same
ids. A call that is refused (4xx) is repeated once, row by row, so that one bad row spends no attempt of its neighbours. A call that
fails (5xx) is one failure of the receiver. If the receiver serves other calls, its rows are split off into jobs of FEW rows, which
send each row alone: that shows which row is the cause.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from kubesweep.api.plan import Effect
from kubesweep.queue.model import Job, JobKind
from kubesweep_worker.effects.base import BatchEffect, BatchRefused, Delivery, RowOutcome
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.jobs.context import JobContext
from kubesweep_worker.jobs.rows.delivery import FEW, DeliveryResult, SubBatchDelivery, deliver_all, in_parallel
from kubesweep_worker.sources.base import SourceRow

__all__ = ["batch_rows", "deliver_sub_batch"]


def batch_rows(effect: Effect) -> int:
    """The most rows of one call."""
    return effect.webhook.batch_rows if effect.webhook is not None else 1


async def deliver_sub_batch(context: JobContext, run: JobRun, cutoff: str, rows: list[SourceRow]) -> DeliveryResult:
    """Deliver every row, in ``effect.concurrency`` calls at once; never raises for a row."""
    assert context.plan.effect is not None
    most = batch_rows(context.plan.effect)
    if most == 1:
        return await deliver_all(context, run, cutoff, rows)
    delivery = BatchDelivery(context, run, cutoff, rows, _rows_of_a_call(run.claim.job, most))
    await delivery.deliver_calls(context.plan.effect.concurrency)
    return delivery.conclude()


def _rows_of_a_call(job: Job, most: int) -> int:
    """A few rows by their keys are a retry, or were split off because a call for more rows failed: each is sent alone."""
    return 1 if job.kind is JobKind.KEYS and job.rows <= FEW else most


class BatchDelivery(SubBatchDelivery):
    def __init__(self, context: JobContext, run: JobRun, cutoff: str, rows: list[SourceRow], most: int) -> None:
        super().__init__(context, run, cutoff, [])
        self.batched = most > 1
        wanted = [delivery for row in rows if (delivery := self.delivery_of(row)) is not None]
        self.calls = deque(wanted[at : at + most] for at in range(0, len(wanted), most))
        self.refused: list[Delivery] = []  # rows of refused calls

    async def deliver_calls(self, parallel: int) -> None:
        await in_parallel(self.deliver_rows, min(parallel, len(self.calls)), self.calls)
        self.calls.extend([each] for each in self.refused)
        self.refused.clear()
        await in_parallel(self.deliver_rows, min(parallel, len(self.calls)), self.calls)

    async def deliver_rows(self) -> None:
        """Send calls one after the other until none is left; several of these run in parallel."""
        while self.calls:
            call = self.calls.popleft()
            if self.context.draining:
                self.result.not_started.extend(each.key for each in call)
            elif self.aborted:
                self.result.undelivered.extend(each.key for each in call)
            else:
                await self.attempt(call)
                await asyncio.sleep(0)

    async def send(self, call: Sequence[Delivery]) -> Sequence[RowOutcome] | None:
        effect = self.context.effect
        assert isinstance(effect, BatchEffect)
        try:
            return await effect.deliver_batch(call)
        except BatchRefused:
            self.refused.extend(call)
            return None
