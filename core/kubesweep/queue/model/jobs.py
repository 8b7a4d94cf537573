"""Jobs, and how workers get them: claims, limits, and the windows that plan jobs produce."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from kubesweep.queue.model.baseline import Baseline
from kubesweep.queue.model.identity import Key, PlanVersion
from kubesweep.queue.model.pace import Pace


class JobKind(StrEnum):
    PLAN = "plan"  # cut the next window; low is the cursor (None: from the start)
    RANGE = "range"  # the stale rows in (low, high]; low None: from the start, high None: to the end
    KEYS = "keys"  # the stale rows among keys
    CHECK = "check"  # inspect the source and report findings; belongs to no sweep


class Job(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of a queue entry."""

    kind: JobKind
    # The plan that the worker must use. None (a replay): the plan that the worker has.
    plan: PlanVersion | None = None
    # The id of the sweep that counts this job. Empty for a check.
    sweep: str = ""
    # The database's clock, as its own text. None: the worker reads the clock.
    cutoff: str | None = None
    low: Key | None = None
    high: Key | None = None
    keys: tuple[Key, ...] = ()
    # Planned rows that this job still has to account for.
    rows: int = 0
    # The number of the attempt that this job makes for its rows.
    attempt: int = 1
    # Its rows are already excluded from planning, so it does not keep the sweep open.
    is_retry: bool = False
    # The database, schema, table and key columns of its keys (see sources/origin.py). Empty: unknown.
    origin: str = ""
    # One of the two jobs that replace a job whose workers crashed. It runs alone, and is bisected at the next crash.
    suspect: bool = False
    # Times that a worker started it alone and never answered. Too many make its row a dead letter.
    crashes: int = 0
    # An earlier delivery may have committed, so rows that are not stale count as unconfirmed.
    may_have_committed: bool = False
    # Rows whose effect already succeeded, each with its Idempotency-Key.
    effects_done: tuple[tuple[Key, str], ...] = ()
    # Times that it was released because all of it failed.
    whole_failures: int = 0
    # Plan jobs: rows planned by the chain so far.
    planned: int = 0
    # Plan jobs: the chain started after this key, and continues from the first key up to it.
    wrap: Key | None = None
    # Plan jobs: rows that the sweep may plan. 0: not counted yet.
    cap: int = 0


class Claim(msgspec.Struct, frozen=True):
    """A job that the caller owns. The fence of every later operation on it is (id, consumer, delivery)."""

    id: str
    consumer: str
    delivery: int  # 1 for the first; an expired lease adds one, a release does not
    job: Job
    spent: int = 0  # of a claim that is released: rows that have used up their share of the row budget

    @property
    def redelivered(self) -> bool:
        """True where an earlier delivery may have committed a part of this job."""
        return self.delivery > 1 or self.job.may_have_committed

    @property
    def refund(self) -> int:
        """Rows that a release returns to the row budget."""
        return self.job.rows - self.spent


class Budget(msgspec.Struct, frozen=True):
    """The row budget before an operation. ``rows`` may be tried at once, each further row 1 / rowsPerSecond seconds later."""

    rows: float = 0.0
    time: float | None = None  # of the operation, by the queue's clock; None: the schedule is unknown


class Claims(msgspec.Struct, frozen=True):
    """The answer of a claim."""

    jobs: tuple[Claim, ...] = ()
    paused: bool = False
    wait: float | None = None  # seconds until the row budget is out of debt
    next_delayed: float | None = None  # when the earliest retry that is not claimed is due (a time, not a duration)
    next_in: float | None = None  # seconds until then by the queue's clock, which may differ from the caller's
    excluded_version: int = 0  # changes whenever the excluded set does
    batch_hint: str = ""  # see Settlement
    lost: bool = False  # the schedule is unknown: it was never opened, or the queue lost its data
    pace: Pace | None = None  # None: it was never set, so the plan's applies
    budget: Budget | None = None  # before ``jobs`` were debited; None: there is no rate
    # For runs of ``jobs`` that became ready together, in their order: the number of jobs, and the seconds since then.
    waits: tuple[tuple[int, float], ...] = ()


class Limits(msgspec.Struct, frozen=True):
    """What claim and settle must respect. All but ``own_expired_only`` is the same for every worker of one plan version."""

    # The queue enforces the lower of this one and of the pace's.
    rows_per_second: float | None = None
    # Excluded rows of one origin. One more failing row is not recorded and Halts the sweep.
    halt_above: int = 1000
    lease: float = 30.0
    # Rows that an unused budget saves up. None: those of one second.
    burst: float | None = None
    # The sweep Halts at its end, after every row was tried. Until then it runs with the reason.
    halt_at_end: bool = False
    # The caller was cut off from the queue, and other owners of expired leases may have been too: take only its own.
    own_expired_only: bool = False

    @property
    def saved(self) -> float:
        """The most rows that the budget ever saves up."""
        return self.burst or self.rows_per_second or 0.0

    @property
    def debt(self) -> float:
        """Rows that the budget may owe before it reserves no more: those of one second."""
        return max(1.0, self.rows_per_second or 0.0)


class Window(msgspec.Struct, frozen=True):
    """What one plan job produced. Its jobs and its continuation enter the queue in one step."""

    cutoff: str
    jobs: tuple[Job, ...] = ()
    next: Job | None = None
    origin: str = ""  # of the keys of its jobs, see ``Job.origin``
    planned: int = 0
    capped: bool = False  # the sweep's cap is reached: the other rows wait for the next tick
    stopped: str = ""  # with capped: ``row_text`` of the key where the next sweep begins; empty: at the first one
    samples: tuple[Key, ...] = ()  # DryRun: keys of some rows that would be swept
    baseline: Baseline | None = None  # what the sweep is made of; None: as the queue has it

    @property
    def entries(self) -> tuple[Job, ...]:
        """The jobs to enqueue, in this order, with the continuation in the middle.

        The next window is then planned while the workers still have half of this one, so no worker waits for a planner.
        """
        if self.next is None:
            return self.jobs
        half = len(self.jobs) // 2
        return (*self.jobs[:half], self.next, *self.jobs[half:])
