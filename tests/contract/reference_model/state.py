"""Its data, and what several operations do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from kubesweep.queue.model import (
    Baseline,
    Claim,
    Job,
    Key,
    OpenResult,
    PlanVersion,
    SweepState,
)

OUTCOMES = ("applied", "skipped", "unconfirmed", "retrying", "dead")


@dataclass
class Entry:
    job: Job
    ready: float
    queued: int = 0  # its position among the waiting ones
    delayed: bool = False
    deliveries: int = 0
    owner: Claim | None = None
    lease: float = 0.0

    @property
    def planned(self) -> bool:
        return bool(self.job.sweep) and not self.job.is_retry


@dataclass
class SweepRecord:
    id: str
    tick: float
    plan: PlanVersion
    state: SweepState = SweepState.PLANNING
    cutoff: str | None = None
    finished: float | None = None
    planned: int = 0
    applied: int = 0
    skipped: int = 0
    unconfirmed: int = 0
    retrying: int = 0
    dead: int = 0
    deaths: dict[str, int] = field(default_factory=dict)
    end_reason: str = ""  # the reason for which it will Halt or Fail at its end

    @property
    def settled_rows(self) -> int:
        return sum(getattr(self, name) for name in OUTCOMES)


@dataclass
class DeadLetterRecord:
    error: str
    sweep: str
    at: float


class State:
    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.forget()

    def forget(self) -> None:
        self.known = False
        self.paused = False
        self.last_tick: float | None = None
        self.ticks = dict.fromkeys(OpenResult, 0)
        self.blocked = False  # retries are not claimed
        self.sweeps: list[SweepRecord] = []  # newest first
        self.entries: list[Entry] = []
        self.attempts: dict[Key, list[str]] = {}  # of every excluded row
        self.dead_letters: dict[Key, DeadLetterRecord] = {}
        self.baseline: Baseline | None = None
        self.tokens: float | None = None
        self.rate: float | None = None
        self.tokens_at = 0.0
        self.places = 0

    def find_sweep(self, sweep: str) -> SweepRecord | None:
        return next((record for record in self.sweeps if record.id == sweep), None)

    def find_open_sweep(self, sweep: str) -> SweepRecord | None:
        record = self.find_sweep(sweep)
        return record if record is not None and not record.state.settled else None

    def open_entries(self, sweep: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.planned and entry.job.sweep == sweep]

    def retrying(self) -> list[Key]:
        return [key for entry in self.entries if entry.job.is_retry for key in entry.job.keys]

    def oldest_ready(self) -> float | None:
        """The time of the due retries and of the first waiting job. If the clock was set back, others may seem older."""
        idle = [entry for entry in self.entries if entry.owner is None]
        line = [entry for entry in idle if not entry.delayed]
        due = [entry.ready for entry in idle if entry.delayed and self.is_due(entry)]
        first = min(line, key=lambda entry: entry.queued, default=None)
        return min([*due, *([] if first is None else [first.ready])], default=None)

    def is_due(self, entry: Entry) -> bool:
        """Whether a job that no worker has may be claimed."""
        if not entry.delayed:
            return True
        return entry.ready <= self.clock() and not (self.blocked and entry.job.is_retry)

    def entry_of(self, claim: Claim) -> Entry | None:
        fence = (claim.id, claim.consumer, claim.delivery)
        for entry in self.entries:
            if entry.owner is not None and (entry.owner.id, entry.owner.consumer, entry.owner.delivery) == fence:
                return entry
        return None

    def budget(self, rate: float) -> float:
        if self.tokens is None:
            return rate
        if self.clock() < self.tokens_at:
            return min(rate, max(0.0, self.tokens))
        return min(rate, self.tokens + (self.clock() - self.tokens_at) * rate)

    def refund(self, rows: int, rate: float | None) -> None:
        if rate is not None and rows:
            self.tokens, self.tokens_at, self.rate = min(rate, self.budget(rate) + rows), self.clock(), rate

    def _leased_until(self) -> float | None:
        """When the last lease on a planned job of an ended sweep ends."""
        ended = [entry for entry in self.entries if entry.planned and self.find_open_sweep(entry.job.sweep) is None]
        leases = [entry.lease for entry in ended if entry.owner is not None and entry.lease > self.clock()]
        return max(leases, default=None)

    def _admit(self) -> None:
        for entry in self.entries:
            if entry.planned and entry.delayed:
                entry.ready = self._leased_until() or min(entry.ready, self.clock())

    def _enqueue(self, job: Job, place: int | None = None) -> None:
        delayed = self.blocked and job.is_retry
        self.entries.append(Entry(job, self.clock(), self._next_place() if place is None else place, delayed))

    def _next_place(self) -> int:
        self.places += 1
        return self.places

    def _end(self, record: SweepRecord, state: SweepState) -> None:
        record.state = state
        record.finished = None if state is SweepState.AWAITING_APPROVAL else self.clock()
        gone = [entry for entry in self.open_entries(record.id) if entry.owner is None]
        self.entries = [entry for entry in self.entries if entry not in gone]

    def _block_retries(self) -> None:
        self.blocked = True
        for entry in self.entries:
            if entry.job.is_retry and entry.owner is None:
                entry.delayed = True

    def _finish(self, record: SweepRecord) -> bool:
        if record.state not in (SweepState.PLANNING, SweepState.RUNNING) or self.open_entries(record.id):
            return False
        ends = {"TooManyFailedRows": SweepState.HALTED, "Flood": SweepState.HALTED, "": SweepState.COMPLETED}
        lapses = record.end_reason != "TooManyFailedRows" and record.applied > 0
        self._end(record, SweepState.COMPLETED if lapses else ends.get(record.end_reason, SweepState.FAILED))
        return True
