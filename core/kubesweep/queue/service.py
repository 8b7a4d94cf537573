"""The operations of the queue, as Protocols split by who may call them: producer, worker (worker_queue.py), operator.

The split is the same as the users of docs/redis-acl.md, and tests/integration/test_redis_rights.py compares the two.
:class:`QueueService` has all operations, for a program that plays every part, such as a local run.

Rules for every operation:

- It is atomic: it happens as a whole or not at all.
- It is fenced: an operation on a claim takes effect only while the caller owns the claim. A process that paused too long
  cannot undo what other processes did meanwhile.
- It raises ``Outage`` where the queue cannot be used, and no other error is expected.

The database is the source of truth, and the queue can be lost. An implementation that lost its data answers *lost* and
creates nothing by itself: only ``open_sweep`` and ``enqueue_check`` create a schedule.

Origins. The key of an excluded row names a row of one database and table, its origin (``Job.origin``). The same key of
another origin is another row.

Counters. They change in the same operation that changes the job. A sweep is finished when it has no plan job and no planned
job left, and the operation that takes the last one reports it, once. Jobs with ``is_retry`` (retries, replays) do not keep a
sweep open. Their rows count as retrying, and each later result moves a row from retrying to its own counter, for as long as
the queue remembers the sweep.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from kubesweep.errors import Damaged
from kubesweep.queue.model import (
    Baseline,
    Job,
    Key,
    Opened,
    Pace,
    PlanVersion,
    ScheduleRef,
    Settled,
    Stats,
    SweepRequest,
)
from kubesweep.queue.worker_queue import Closable, Statistics, WorkerQueue

__all__ = ["Job", "Opened", "OperatorQueue", "ProducerQueue", "QueueService", "Settled", "WorkerQueue", "stats_of_each"]


class ProducerQueue(Closable, Protocol):
    """What a producer may do, such as the CronJob's pod: start sweeps."""

    async def open_sweep(self, ref: ScheduleRef, request: SweepRequest) -> Opened:
        """Start a sweep with one plan job. Creates the schedule. A schedule has at most one unsettled sweep.

        The answer is the first of these that applies:

        - duplicate: the tick is not later than the last one. A request with ``dedup_key`` gets a tick after the last one
          instead, and is a duplicate where its sweep is remembered; the answer then names that sweep.
        - late: tick + deadline lies in the past.
        - forbidden: the previous sweep is not settled, and the request has no newer plan. With a newer plan the previous
          sweep becomes Superseded, and its waiting jobs are dropped.
        - enqueued.

        Every answer is counted. Every answer but duplicate sets ``last_tick``, which only moves forward.

        Clocks: a tick more than ``AHEAD`` seconds ahead of the queue's clock counts as now, so that it does not make
        duplicates of the ticks until then. A last tick that far ahead (the clock was set back) is ignored.

        A new sweep also does this:

        - While jobs of ended sweeps are claimed, its plan job is delayed until they are settled or their leases end.
        - Unclaimed retries of another plan end. Their rows leave the excluded set and count as skipped, and the new sweep
          finds them.
        - Dead letters older than the retention are purged, a bounded number for each call.
        - The queue remembers this sweep and ``HISTORY`` older ones.
        """
        ...


class OperatorQueue(ProducerQueue, Statistics, Protocol):
    """What the controller and a person at a terminal may do. They start and control sweeps, but take no jobs.

    ``error`` and ``keys`` select excluded rows as in ``dead_letters``.
    """

    async def enqueue_check(self, ref: ScheduleRef, plan: PlanVersion) -> bool:
        """Enqueue a check job, unless one with this plan's hash waits or runs. Creates the schedule. False where none was enqueued."""
        ...

    async def approve(self, ref: ScheduleRef, sweep: str | None = None) -> str | None:
        """Approve the sweep that awaits it; ``sweep`` None: whichever it is. Returns its id, or None if there is none.

        The sweep is planned from the start, with its cutoff, and :meth:`WorkerQueue.approved` returns its id. Retries that
        were blocked are due.
        """
        ...

    async def pause(self, ref: ScheduleRef, paused: bool) -> None:
        """While a schedule is paused nothing is claimed. All other operations work. Ignored for an unknown schedule."""
        ...

    async def restore_baseline(self, ref: ScheduleRef, baseline: Baseline) -> None:
        """Set ``Stats.baseline`` of a schedule that has none, because the queue lost it. Ignored for an unknown schedule."""
        ...

    async def set_pace(self, ref: ScheduleRef, pace: Pace) -> None:
        """Limit each claim and reservation to its rate (0: use ``pause``), and wake workers. Ignored for an unknown schedule."""
        ...

    async def schedules(self) -> tuple[ScheduleRef, ...]:
        """The schedules that this queue has, sorted. Best effort, for people at a terminal."""
        ...

    async def replay(self, ref: ScheduleRef, *, error: str | None = None, keys: Sequence[Key] | None = None) -> int:
        """Retry dead letters at once, with fresh attempts and the same Idempotency-Keys. Returns the number of rows.

        - The rows stay excluded and keep their history. Each job has at most ``MAX_JOB_KEYS`` rows of one sweep.
        - Rows in retry that are not due yet become due, with fresh attempts too.
        - While a sweep awaits approval, all of them are blocked, as every retry is (``Stats.retries_blocked``).
        - Rows of an origin other than ``Stats.origin`` are left alone: their keys name rows of another table.
        """
        ...

    async def purge(self, ref: ScheduleRef, *, error: str | None = None, keys: Sequence[Key] | None = None) -> int:
        """Delete dead letters, and unclaimed rows in retry: their rows are eligible again. Returns the number of rows.

        Counters of sweeps keep the dead rows, and count those in retry as skipped.
        """
        ...

    async def forget(self, ref: ScheduleRef) -> None:
        """Delete everything that the queue has of a schedule."""
        ...


class QueueService(WorkerQueue, OperatorQueue, Protocol):
    """All operations of the queue, for a program that plays every part, such as a local run."""


async def stats_of_each(queue: Statistics, refs: Sequence[ScheduleRef]) -> tuple[Stats, ...]:
    """As ``queue.stats``, but a damaged schedule does not hide the others: its answer has only ``damage``. Raises ``Outage``."""
    if not refs:
        return ()
    try:
        return await queue.stats(refs)
    except Damaged as damaged:
        if len(refs) == 1:
            return (Stats(damage=str(damaged)),)
    found = [await stats_of_each(queue, [ref]) for ref in refs]
    return tuple(stats for (stats,) in found)
