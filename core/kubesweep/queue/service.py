"""QueueService: the moves of the queue. Each is atomic, and each is fenced: it takes effect only if the caller still
owns what it moves, so that a process that was away too long cannot undo what others did meanwhile.

The queue is disposable, the database is the truth. An implementation that lost everything answers *lost* and creates
nothing by itself; only ``open_sweep`` brings a schedule into being.

Origins. The key of an excluded row names a row of one database and table. Whoever settles says which (``Job.origin``); the same
key of another origin is another row.

Accounting. Counters change only inside the move that moves the job. A sweep is finished when it has no plan job and no
planned job left, and the move that takes the last one says so, once. Jobs with ``is_retry`` set (retries, replays) do not
keep a sweep open: their rows are counted as retrying, and each later outcome moves one from retrying to where it belongs, as
long as the queue remembers the sweep.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from kubesweep.queue.model import (
    Budget,
    Claim,
    Claims,
    DeadLetter,
    ErrorGroup,
    ExcludedRows,
    Finding,
    Job,
    Key,
    Limits,
    OpenResult,
    PlanVersion,
    RowState,
    ScheduleRef,
    Settlement,
    Stats,
    SweepRequest,
    SweepState,
    Window,
)


class Opened(msgspec.Struct, frozen=True):
    answer: OpenResult
    sweep: str  # id of the new sweep, or of the one in the way; empty if none
    ahead: float = 0.0  # seconds that the tick was ahead of the queue's clock, where it was counted as now instead

    @property
    def warning(self) -> str:
        """A sentence about clocks that differ, empty where they agree."""
        return (
            f"the tick is {self.ahead:,.0f} s ahead of the queue's clock and counts as now: set the clocks"
            if self.ahead
            else ""
        )


class Settled(msgspec.Struct, frozen=True):
    lost: tuple[str, ...] = ()  # ids of claims that were not the caller's any more: nothing of theirs was counted
    finished: tuple[str, ...] = ()  # sweeps that this call finished; said exactly once
    halted: tuple[str, ...] = ()  # sweeps that this call ended as Halted or Failed
    claims: Claims = Claims()


class QueueService(Protocol):
    """Every method raises ``Outage`` where the queue cannot be reached; nothing else is expected to be raised.

    ``error`` and ``keys`` choose excluded rows; both given, a row must fit both; empty ``keys`` choose nothing.
    """

    async def close(self) -> None:
        """Let go of the connection, not of the claims. Closing twice is harmless."""
        ...

    async def open_sweep(self, ref: ScheduleRef, wish: SweepRequest) -> Opened:
        """Start a sweep with one plan job. At most one unsettled sweep a schedule; ``last_tick`` only moves forward.

        duplicate: tick <= last_tick; for a wish with ``once``, which takes a tick behind last_tick where its own is not: its
        sweep is remembered (and is the answer's). late: tick + deadline < now. forbidden: the sweep before is not settled (unless the
        wish carries a newer plan: that one becomes Superseded and its waiting jobs go). Every answer but duplicate moves
        last_tick. Checked in that order. A tick more than ``AHEAD`` seconds ahead of the queue's clock counts as now, so that it
        does not make duplicates of those until then; a last_tick that far ahead (the clock was set back) counts for nothing.
        A sweep that begins while jobs of ended sweeps are in somebody's hands is planned
        after these are settled or their leases end: until then its plan job is delayed. Retries that were cut for another plan and that nobody works on end: their rows leave
        the excluded set and count as skipped, so that the new sweep finds them. Each answer is counted. Purges dead letters older than the retention (bounded
        per call). Remembers this sweep and ``HISTORY`` older ones.
        """
        ...

    async def claim(self, ref: ScheduleRef, consumer: str, want: int, limits: Limits) -> Claims:
        """Take up to ``want`` jobs under a lease of ``limits.lease`` seconds.

        In this order: jobs whose lease expired (their delivery count grows), then due retries by their due time, then
        waiting jobs by the time since when they are ready, oldest first. Nothing while paused or while the row budget is in debt;
        the rows of each job are debited, and the one that leads into debt is the last. Waiting or expired planned jobs of a sweep that is
        settled are dropped, never handed out. Claims nothing and says ``lost`` where the schedule is unknown. An expired
        claim is its owner's until somebody else took it: it may still be extended, settled or given back, and with
        ``limits.spare_expired`` the caller takes none but its own. A lease that ends later
        than ``LONGEST_LEASE`` leases from now (the clock was set back) ends one lease from now.
        """
        ...

    async def extend(self, ref: ScheduleRef, claims: Sequence[Claim], lease: float) -> tuple[str, ...]:
        """Heartbeat: each claim's lease ends ``lease`` seconds from now. Returns the ids that are no longer the caller's."""
        ...

    async def settle(
        self, ref: ScheduleRef, consumer: str, settlements: Sequence[Settlement], want: int, limits: Limits
    ) -> Settled:
        """Settle and then claim up to ``want`` jobs in one round trip. A settlement whose claim is lost changes nothing.

        A settlement with ``rest`` replaces the job's body and renews its lease. Rows of ``retry`` enter the excluded set
        (their attempt is recorded), rows of ``dead`` become dead letters; both stay excluded. Rows of a ``is_retry`` job that are
        neither retried, dead nor in ``rest``/``jobs`` leave the excluded set. The row budget gets
        back what was not tried (``Settlement.refund``), of claims that are the caller's.
        A failing row that would be one more than ``halt_above`` excluded rows of its origin is not recorded: it counts as skipped,
        stays eligible, and Halts the sweep (state Halted, waiting jobs go; reason TooManyFailedRows). So does a flood: ``FLOOD``
        rows of one error class of it died and none was applied; both are judged once per call, after all its settlements
        were counted, and a sweep that halts is not finished besides. With ``halt_at_end`` the sweep runs on with that reason
        and Halts when its last planned job is settled. Of a settlement with ``fails`` it has that reason, unless it is to Halt
        as TooManyFailedRows, and Fails when its last planned job is settled and none was applied. A Completed sweep becomes Halted
        where such a flood shows only after its rows were tried again.

        ``jobs`` wait like new ones (delivery 1); of a sweep that is settled only retries are kept, its retries too. A
        failing row that is excluded by another job or dead letter already stays there and counts as skipped here. A retry's
        job has the plan and the cutoff of the job its rows failed in; where the latest sweep is of another plan there is none:
        its rows count as skipped and are excluded no longer. A check job is settled without any counts.
        """
        ...

    async def advance(self, ref: ScheduleRef, claim: Claim, window: Window) -> bool:
        """Settle a plan job: enqueue its jobs and, amid them (``Window.entries``), its continuation; record cutoff, planned, capped, samples.

        False where the claim is lost or the sweep is settled (then nothing is enqueued and the claim is gone). The sweep
        becomes Running with the last window, and Completed at once where nothing of it is left to do (nobody else is
        told of that one). At most ``MAX_SAMPLES`` samples are kept.
        """
        ...

    async def end_sweep(self, ref: ScheduleRef, claim: Claim, state: SweepState, reason: str, message: str) -> bool:
        """Settle ``claim`` and end its sweep as Failed, Halted or Superseded, or park it as AwaitingApproval (by a plan job).

        Its waiting planned jobs go; claimed ones may still settle and are counted. False where the claim is lost or the
        sweep was already settled (the claim is gone all the same if it was the caller's). The claim of a retry is not deleted, as
        its rows would be in no hands: it goes back, due in ``HELD_PAUSE`` seconds. AwaitingApproval keeps the cutoff of the windows
        before, or else the one in ``claim.job``; rows of jobs that go are taken off ``planned``, as they are planned again.
        """
        ...

    async def release(self, ref: ScheduleRef, claims: Sequence[Claim]) -> tuple[str, ...]:
        """Return jobs unfinished; counts nothing: the next delivery has the same number. The body of ``claim.job`` is what
        goes back (so that a caller can hand back what is left of a job, or set ``maybe``). It is ready at once, behind all
        that waits already. A planned job of a settled sweep is deleted instead. The row budget gets back ``Claim.refund``.
        Returns the ids that were lost.
        """
        ...

    async def reserve(self, ref: ScheduleRef, rows: int, limits: Limits) -> Budget:
        """Debit rows that no claim counted, or whose time passed unused, from the row budget. Returns the budget before: the
        n-th of them may be tried (n - budget) / rowsPerSecond seconds after the budget's time. Nothing is debited where the budget owes more than
        ``limits.debt``: whoever owes it may give it back, and a turn that was given by then would stay behind it. A negative number is
        given back, like ``Settlement.refund``."""
        ...

    async def wait(self, ref: ScheduleRef, timeout: float) -> None:
        """Return when a claim may find something new, at the latest after ``timeout`` seconds. May return early."""
        ...

    async def claim_next(self, ref: ScheduleRef, consumer: str, want: int, limits: Limits, timeout: float) -> Claims:
        """``wait``, then ``claim``, with nothing between the two. May find nothing. If it is cancelled, what it took
        meanwhile goes back, uncounted."""
        ...

    async def enqueue_check(self, ref: ScheduleRef, plan: PlanVersion, *, again: bool = False) -> bool:
        """Enqueue a check job, once per plan hash; with ``again`` also later, unless one of this plan waits or runs. False
        where none was enqueued. May create the schedule."""
        ...

    async def approve(self, ref: ScheduleRef, sweep: str | None = None) -> str | None:
        """Release the sweep that awaits approval (``None``: whichever does): it is planned from the start, with its cutoff, and is the one
        that :meth:`approved` names. The id of the sweep, None if none does."""
        ...

    async def approved(self, ref: ScheduleRef) -> str | None:
        """The id of the sweep that was approved last. Where the queue has users of least rights, those of workers and producers
        cannot write it."""
        ...

    async def pause(self, ref: ScheduleRef, paused: bool) -> None:
        """While paused nothing is claimed; everything else goes on. Ignored for an unknown schedule."""
        ...

    async def report(self, ref: ScheduleRef, finding: Finding) -> None:
        """Keep the latest finding of each kind, at most ``MAX_FINDINGS`` (then the oldest goes); ``at`` 0 means now.
        Ignored for an unknown schedule."""
        ...

    async def excluded(self, ref: ScheduleRef, origin: str = "") -> ExcludedRows:
        """The rows that no plan picks up. With an ``origin`` those of other origins are only counted; excluded rows without one
        belong to each."""
        ...

    async def stats(self, refs: Sequence[ScheduleRef]) -> tuple[Stats, ...]:
        """One answer for each reference, in order, in one round trip."""
        ...

    async def schedules(self) -> tuple[ScheduleRef, ...]:
        """The schedules that this queue knows, for people at a terminal; best effort, sorted."""
        ...

    async def error_groups(
        self, ref: ScheduleRef, most: int = 20, *, state: RowState | None = RowState.DEAD
    ) -> tuple[ErrorGroup, ...]:
        """Dead letters by error class and origin, most first. ``state`` chooses rows in retry instead, None all excluded rows."""
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
        """Dead letters, newest first. ``state`` as in ``error_groups``; a row in retry has the time of its last attempt."""
        ...

    async def replay(self, ref: ScheduleRef, *, error: str | None = None, keys: Sequence[Key] | None = None) -> int:
        """Try dead letters again at once, with fresh attempts and the same keys (they stay excluded, their history too), in
        keys jobs of at most ``MAX_JOB_KEYS`` rows of one sweep. Rows in retry that are not due yet are due at once, with
        fresh attempts too. Returns how many rows. Rows of another origin than ``Stats.origin`` stay as they are: their keys
        name rows of another table."""
        ...

    async def purge(self, ref: ScheduleRef, *, error: str | None = None, keys: Sequence[Key] | None = None) -> int:
        """Forget dead letters, and rows in retry that no worker has: their rows are eligible again. Counters of sweeps keep
        the dead, and count those in retry as skipped. Returns how many rows."""
        ...

    async def forget(self, ref: ScheduleRef) -> None:
        """Remove everything that the queue knows of a schedule."""
        ...


__all__ = ["Job", "Opened", "QueueService", "Settled"]
