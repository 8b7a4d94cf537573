"""What a worker may do with the queue. The rules for every operation are in service.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from kubesweep.queue.model import (
    Budget,
    Claim,
    Claims,
    DeadLetter,
    ErrorGroup,
    ExcludedRows,
    Finding,
    Key,
    Limits,
    Pace,
    RowState,
    Sample,
    ScheduleRef,
    Settled,
    Settlement,
    SharedSample,
    StaleRows,
    Stats,
    SweepState,
    Window,
)

__all__ = ["Closable", "Statistics", "WorkerQueue"]


class Closable(Protocol):
    async def close(self) -> None:
        """Close the connections. Claims stay with their consumer until their leases end. Closing twice is harmless."""
        ...


class Statistics(Closable, Protocol):
    """What both workers and operators may read."""

    async def stats(self, refs: Sequence[ScheduleRef]) -> tuple[Stats, ...]:
        """One answer for each reference, in the same order, in one round trip."""
        ...

    async def excluded(self, ref: ScheduleRef, origin: str = "") -> ExcludedRows:
        """The rows that no plan picks up. With an ``origin``, rows of other origins are only counted.

        Excluded rows without an origin belong to every origin.
        """
        ...

    async def error_groups(
        self, ref: ScheduleRef, most: int = 20, *, state: RowState | None = RowState.DEAD
    ) -> tuple[ErrorGroup, ...]:
        """Dead letters by error class and origin, the largest group first, at most ``most`` groups.

        ``state`` selects rows in retry instead, or with None all excluded rows.
        """
        ...

    async def dead_letters(
        self,
        ref: ScheduleRef,
        *,
        error: str | None = None,
        keys: Sequence[Key] | None = None,
        most: int = 100,
        state: RowState | None = RowState.DEAD,
    ) -> tuple[DeadLetter, ...]:
        """Dead letters, newest first. ``state`` as in ``error_groups``. A row in retry has the time of its last attempt.

        ``error`` and ``keys`` select excluded rows. If both are given, a row must match both. Empty ``keys`` select nothing.
        """
        ...


class WorkerQueue(Statistics, Protocol):
    """What a worker may do: take jobs, settle them, and report what it found out about the database."""

    async def claim(self, ref: ScheduleRef, consumer: str, want: int, limits: Limits) -> Claims:
        """Take up to ``want`` jobs under a lease of ``limits.lease`` seconds.

        Order: jobs whose lease expired (their delivery count grows), then due retries by their due time, then waiting jobs,
        oldest first.

        - Nothing is taken while the schedule is paused or the row budget is in debt. The rows of each job are debited, and
          the job that leads into debt is the last one.
        - Waiting or expired planned jobs of a settled sweep are dropped.
        - From when a sweep awaits approval, retries are blocked: none is taken, until the sweep is approved or a sweep plans a
          window with a baseline. Those that are claimed already go on, and join the others when their lease ends.
        - An unknown schedule answers ``lost``.
        - An expired claim belongs to its owner until another claim takes the job: until then it can be extended, settled or
          released. With ``limits.own_expired_only`` the caller takes only its own expired claims.
        - A lease longer than ``LONGEST_LEASE`` leases (the clock was set back) is shortened to one lease from now.
        """
        ...

    async def claim_next(self, ref: ScheduleRef, consumer: str, want: int, limits: Limits, timeout: float) -> Claims:
        """``wait`` for up to ``timeout`` seconds, then ``claim``, with no delay between the two. May find nothing.

        If the call is cancelled, the jobs that it took are released and not counted.
        """
        ...

    async def wait(self, ref: ScheduleRef, timeout: float) -> None:
        """Return when a claim may find something, after ``timeout`` seconds at the latest. May return early."""
        ...

    async def extend(self, ref: ScheduleRef, claims: Sequence[Claim], lease: float) -> tuple[str, ...]:
        """Heartbeat: each lease ends ``lease`` seconds from now. Returns the ids that the caller no longer owns."""
        ...

    async def settle(
        self, ref: ScheduleRef, consumer: str, settlements: Sequence[Settlement], want: int, limits: Limits
    ) -> Settled:
        """Settle, then claim up to ``want`` jobs, in one round trip. A settlement of a lost claim changes nothing.

        Rows:

        - Rows of ``retry`` and ``dead`` enter the excluded set with their attempt; rows of ``dead`` become dead letters.
        - A failing row that another job or a dead letter already excludes stays there and counts as skipped.
        - Rows of an ``is_retry`` job leave the excluded set unless they are in ``retry``, ``dead``, ``rest`` or ``jobs``.
        - A retry's job has the plan and cutoff of the job in which its rows failed. If the latest sweep is of another plan,
          there is no retry: the rows count as skipped and are no longer excluded.
        - The row budget gets back the rows that were not tried (``Settlement.refund``).

        Jobs:

        - ``rest`` replaces the job's body and renews its lease.
        - ``jobs`` wait like new ones (delivery 1). For a settled sweep only retries are enqueued.
        - A check job is settled without any counts.

        How a sweep ends, decided once for each call, after all its settlements were counted:

        - TooManyFailedRows: a failing row that would exceed ``halt_above`` excluded rows of its origin is not recorded. It
          counts as skipped, stays eligible, and Halts the sweep: its waiting jobs are dropped.
        - Flood: ``FLOOD`` rows of one error class died and none was applied. It Halts the sweep too, even a Completed one
          whose rows died when they were retried.
        - With ``halt_at_end`` the sweep runs on with such a reason, and Halts when its last planned job is settled.
        - ``Settlement.sweep_failure`` gives the sweep that reason, unless it has TooManyFailedRows already. The sweep Fails
          when its last planned job is settled and no row was applied.
        - A sweep that halts is not reported as finished.
        """
        ...

    async def advance(self, ref: ScheduleRef, claim: Claim, window: Window) -> bool:
        """Settle a plan job: enqueue ``Window.entries`` and record cutoff, planned, capped, samples and the schedule's baseline.

        False where the claim is lost or the sweep is settled. Then nothing is enqueued, and the claim ends.

        The last window makes the sweep Running, or Completed if nothing of it is left to do; no answer reports that end. At
        most ``MAX_SAMPLES`` samples are kept.
        """
        ...

    async def end_sweep(self, ref: ScheduleRef, claim: Claim, state: SweepState, reason: str, message: str) -> bool:
        """Settle ``claim`` and end its sweep as Failed, Halted or Superseded, or (a plan job) set it to AwaitingApproval.

        False where the claim is lost or the sweep was already settled; an owned claim ends in both cases.

        - Waiting planned jobs are dropped. Claimed ones can still be settled and are counted.
        - The claim of a retry is released instead of deleted, because no other job has its rows. It is due again in
          ``RETRY_PAUSE`` seconds.
        - AwaitingApproval keeps the cutoff of earlier windows, or else that of ``claim.job``. The rows of dropped jobs are
          subtracted from ``planned``, because they are planned again after the approval.
        """
        ...

    async def release(self, ref: ScheduleRef, claims: Sequence[Claim]) -> tuple[str, ...]:
        """Return unfinished jobs. Nothing is counted: the next delivery has the same number.

        - The body of ``claim.job`` is enqueued, so the caller can release the rest of a job or set ``may_have_committed``.
        - The job is ready at once, after all waiting jobs. A planned job of a settled sweep is deleted instead.
        - The row budget gets back ``Claim.refund``.

        Returns the ids of lost claims.
        """
        ...

    async def reserve(self, ref: ScheduleRef, rows: int, limits: Limits) -> Budget:
        """Debit rows that no claim counted, or whose time passed unused. Returns the budget before the debit.

        The n-th of these rows may be tried (n - budget) / rowsPerSecond seconds after the budget's time. Nothing is debited
        while the budget owes more than ``limits.debt``. A negative number is a refund, like ``Settlement.refund``.
        """
        ...

    async def report(self, ref: ScheduleRef, finding: Finding) -> None:
        """Keep the latest finding of each kind, at most ``MAX_FINDINGS`` kinds; ``at`` 0 means now.

        Ignored for an unknown schedule.
        """
        ...

    async def record_stale(self, ref: ScheduleRef, sweep: str, found: StaleRows) -> None:
        """Keep with a sweep what a plan step found out, also with one that is settled. Ignored for an unknown sweep."""
        ...

    async def pace(self, ref: ScheduleRef) -> Pace | None:
        """What an operator set last; None where none did. With separate users, workers cannot write it."""
        ...

    async def share_sample(
        self, ref: ScheduleRef, database: str, consumer: str, sample: Sample | None = None
    ) -> SharedSample:
        """The latest health sample of a database, shared by all schedules of the namespace. Stores ``sample`` before, if given.

        ``database``: any text. One consumer has the turn to measure, until it does not ask for ``TURN`` seconds.
        """
        ...

    async def approved(self, ref: ScheduleRef) -> str | None:
        """The id of the sweep that was approved last. With separate users, workers and producers cannot write it."""
        ...
