"""A sweep: the request that starts it, the answer, its state and its counters."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from enum import StrEnum

import msgspec

from kubesweep.queue.model.identity import Key, PlanVersion, ScheduleRef


class SweepRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request to start a sweep.

    Requests with a nominal time are deduplicated by ``tick``. A request without one, such as a person's, has the time it
    was made and is deduplicated by ``dedup_key``. ``tick`` None: now, by the queue's clock.
    """

    tick: float | None
    plan: PlanVersion
    mode: str = "Enforce"
    deadline: float | None = None  # startingDeadlineSeconds
    retention: float = 7 * 86400.0  # older dead letters are purged first; their rows become eligible again
    dedup_key: str | None = None

    def sweep_id(self, ref: ScheduleRef) -> str:
        """The id of the sweep that this request starts. With ``dedup_key`` it is the same for each repetition."""
        if self.dedup_key is None:
            return uuid.uuid4().hex
        return uuid.uuid5(uuid.NAMESPACE_URL, f"{ref.prefix}/{ref.uid}/{self.dedup_key}").hex


class OpenResult(StrEnum):
    ENQUEUED = "enqueued"
    DUPLICATE = "duplicate"  # this tick or a later one is already known
    FORBIDDEN = "forbidden"  # the previous sweep is not settled: skipped
    LATE = "late"  # older than startingDeadlineSeconds: missed


class Opened(msgspec.Struct, frozen=True):
    """The answer of ``open_sweep``."""

    answer: OpenResult
    sweep: str  # id of the new sweep, or of the one that prevents it; empty if there is none
    ahead: float = 0.0  # seconds that the tick was ahead of the queue's clock, where it was counted as now instead

    @property
    def warning(self) -> str:
        """A sentence about clocks that differ, or an empty text."""
        return (
            f"the tick is {self.ahead:,.0f} s ahead of the queue's clock and counts as now: set the clocks"
            if self.ahead
            else ""
        )


class SweepState(StrEnum):
    PLANNING = "Planning"
    RUNNING = "Running"
    AWAITING_APPROVAL = "AwaitingApproval"
    COMPLETED = "Completed"
    HALTED = "Halted"
    SUPERSEDED = "Superseded"
    LOST = "Lost"  # never written by a queue: reported by a caller that saw a running sweep vanish
    FAILED = "Failed"

    @property
    def settled(self) -> bool:
        return self not in (SweepState.PLANNING, SweepState.RUNNING, SweepState.AWAITING_APPROVAL)


END_STATES = frozenset({SweepState.FAILED, SweepState.HALTED, SweepState.SUPERSEDED, SweepState.AWAITING_APPROVAL})


class StaleRows(msgspec.Struct, frozen=True):
    """What a plan step found out about the stale rows of its sweep. Excluded rows are not among them."""

    rows: int | None = (
        None  # all that were stale when it began, counted or estimated; None: as the sweep has it already
    )
    oldest: float | None = None  # when the oldest of them became stale; None: there is none, or see ``unknown``
    unknown: str = ""  # why ``oldest`` is not known, and what to do
    estimated: bool = False  # ``rows`` is an estimate of the database's query planner
    newest: float | None = None  # when the newest of them became stale; None: as the sweep has it already
    samples: tuple[Key, ...] = ()  # keys of some of them; empty: as the sweep has them already


class Sweep(msgspec.Struct, frozen=True, kw_only=True):
    """planned = applied + skipped + unconfirmed + retrying + dead + the rows that are still open, at every moment."""

    id: str
    tick: float
    plan: PlanVersion
    mode: str = "Enforce"
    state: SweepState = SweepState.PLANNING
    reason: str = ""
    message: str = ""
    cutoff: str | None = None
    started: float = 0.0
    finished: float | None = None
    planned: int = 0
    applied: int = 0
    skipped: int = 0
    unconfirmed: int = 0
    retrying: int = 0
    dead: int = 0
    open_jobs: int = 0  # planned jobs and plan jobs that are not settled
    capped: bool = False
    stopped: str = ""  # see Window
    samples: tuple[Key, ...] = ()
    stale: int | None = None  # see StaleRows.rows
    oldest: float | None = None  # see StaleRows, of the latest plan step
    oldest_unknown: str = ""
    estimated: bool = False
    newest: float | None = None
    approved: float | None = None  # when a person approved it: it ran nothing from ``started`` until then

    @property
    def shown_state(self) -> SweepState:
        """The state for people: a sweep that writes rows is Running, although its later windows are still planned."""
        writes = self.state is SweepState.PLANNING and self.planned and self.mode == "Enforce"
        return SweepState.RUNNING if writes else self.state

    @property
    def settled_rows(self) -> int:
        return self.applied + self.skipped + self.unconfirmed + self.retrying + self.dead

    @property
    def all_stale(self) -> int | None:
        """The rows that were stale when it began, if it has ended and planned fewer of them; None: it planned all, or it is not known."""
        return self.stale if self.state.settled and self.stale is not None and self.stale > self.planned else None

    @property
    def succeeded(self) -> bool:
        """True where it Completed and either applied a row or had no failing rows.

        Completed alone is not enough: all rows that it found may be dead or waiting for a retry.
        """
        return self.state is SweepState.COMPLETED and (
            bool(self.applied + self.unconfirmed) or not self.retrying + self.dead
        )

    @property
    def balanced(self) -> bool:
        return self.planned == self.settled_rows

    @property
    def tried_all(self) -> bool:
        """True where every row before ``stopped`` was tried, so that the next sweep may begin there.

        A sweep that Halted or Failed at its end counts like a Completed one. Otherwise its successor would begin at the same
        place, plan the same rows, and never reach the rows after them. A sweep that ended early does not count: it dropped
        planned jobs, and is not balanced, or its plan job, and is not capped.
        """
        if self.state in (SweepState.HALTED, SweepState.FAILED):
            return self.capped and self.balanced
        return self.state is SweepState.COMPLETED


def last_decided(sweeps: Iterable[Sweep]) -> Sweep | None:
    """The latest sweep that ended by itself, of sweeps newest first. One that is running, or was superseded, decides nothing."""
    return next((one for one in sweeps if one.state.settled and one.state is not SweepState.SUPERSEDED), None)
