"""What travels through the queue. Keys, never data: a job that is lost or delivered twice harms nobody.

Every class is a frozen msgspec Struct, so that one definition serves Python, the SQLite file and Redis. Times are
seconds since the epoch (float), durations are seconds (float), keys are tuples of the database's own text.
"""

from __future__ import annotations

import uuid
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

Key = tuple[str, ...]


class ScheduleRef(msgspec.Struct, frozen=True, order=True):
    """Which schedule a move is about. ``uid`` tells a re-created schedule of the same name from the deleted one."""

    install: str
    namespace: str
    name: str
    uid: str

    @property
    def prefix(self) -> str:
        """The hash tag that all keys of this schedule share: ``{ks:<install>/<namespace>/<name>/<uid8>}``."""
        return f"{{ks:{self.install}/{self.namespace}/{self.name}/{self.uid[:8]}}}"

    @classmethod
    def local(cls, namespace: str, name: str) -> ScheduleRef:
        """The reference of a schedule that lives in a file: its uid follows from its name, so that every process agrees."""
        uid = uuid.uuid5(uuid.NAMESPACE_URL, f"kubesweep.dev/local/{namespace}/{name}")
        return cls("local", namespace, name, str(uid))


class PlanVersion(msgspec.Struct, frozen=True):
    """Which compiled plan a job was cut for. Equal hashes are the same plan, whatever their generation."""

    generation: int
    hash: str

    def same(self, other: PlanVersion) -> bool:
        return self.hash == other.hash

    def newer_than(self, other: PlanVersion) -> bool:
        """True where this plan replaces ``other``. Of two plans of one generation each counts as newer, so none waits."""
        return not self.same(other) and self.generation >= other.generation


class JobKind(StrEnum):
    PLAN = "plan"  # cut the next window; low is the cursor (None: from the start)
    RANGE = "range"  # the stale rows in (low, high]; low None: from the start, high None: to the end
    KEYS = "keys"  # the stale rows among keys
    CHECK = "check"  # look at the source and report findings; belongs to no sweep


class Job(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of a queue entry."""

    kind: JobKind
    plan: PlanVersion | None = None  # None (a replay): whatever plan the worker has
    sweep: str = ""  # id of the sweep that counts this job; empty for a check
    cutoff: str | None = None  # the database's own clock, as its text; None: take it now
    low: Key | None = None
    high: Key | None = None
    keys: tuple[Key, ...] = ()
    rows: int = 0  # planned rows that this job still has to account for
    attempt: int = 1  # which attempt of the rows this job is
    is_retry: bool = False  # its rows are excluded from planning already: it does not keep the sweep open
    origin: str = (
        ""  # of its keys: which database, schema, table and key columns (see sources/origin.py); empty: unknown
    )
    suspect: bool = False  # half of a job that kept killing its workers: always alone, halved at the next crash
    crashes: int = 0  # times that a worker began it alone and was not heard of again, for which it may be buried
    may_have_committed: bool = False  # an earlier delivery may have committed: rows that are not stale are unconfirmed
    effects_done: tuple[
        tuple[Key, str], ...
    ] = ()  # rows whose effect succeeded already, and under which Idempotency-Key
    whole_failures: int = 0  # times that it was given back because all of it failed
    planned: int = 0  # plan jobs: rows planned by the chain so far
    wrap: Key | None = None  # plan jobs: the chain began behind this key, and goes on from the first key up to it
    cap: int = 0  # plan jobs: rows that the sweep may plan; 0: not counted yet


class Claim(msgspec.Struct, frozen=True):
    """A job in the caller's hands. The fence of every later move is (id, consumer, delivery)."""

    id: str
    consumer: str
    delivery: int  # 1 for the first; an expired lease adds one, giving back does not
    job: Job
    spent: int = 0  # of a claim that is given back: rows that have used up their share of the row budget

    @property
    def redelivered(self) -> bool:
        """True where somebody may have committed a part of this job before."""
        return self.delivery > 1 or self.job.may_have_committed

    @property
    def refund(self) -> int:
        """Rows that the row budget gets back when the claim is given back."""
        return self.job.rows - self.spent


class Budget(msgspec.Struct, frozen=True):
    """The row budget when a move began: so many rows may be tried at once, and each one behind them 1 / rowsPerSecond
    seconds later."""

    rows: float = 0.0
    time: float | None = None  # of the move, by the queue's clock; None: the queue does not know this schedule


class Claims(msgspec.Struct, frozen=True):
    """The answer of a claim."""

    jobs: tuple[Claim, ...] = ()
    paused: bool = False
    wait: float | None = None  # seconds until the row budget is out of debt
    next_delayed: float | None = None  # when the earliest retry that nobody took is due (time, not duration)
    next_in: float | None = None  # seconds until then by the queue's clock, which need not be the caller's
    excluded_version: int = 0  # changes whenever the excluded set does
    batch_hint: str = ""  # see Settlement
    lost: bool = False  # the queue knows nothing of this schedule (never opened, or it lost everything)
    budget: Budget | None = None  # before ``jobs`` were debited; None: there is no rate


class FailedRow(msgspec.Struct, frozen=True):
    key: Key
    error: str  # error class: dead letters are grouped by it
    message: str  # bounded by the caller to MESSAGE characters; never row data
    where: str = ""  # file and line where a handler's exception was raised
    effect_key: str = ""  # the Idempotency-Key under which its effect succeeded; empty: it did not


class Retry(msgspec.Struct, frozen=True):
    """Rows that failed together and are tried again together: one keys job, ``delay`` seconds from now."""

    rows: tuple[FailedRow, ...]
    attempt: int  # the number of the coming attempt
    delay: float


class Settlement(msgspec.Struct, frozen=True):
    """What became of a job, or of the part of it that is done. Counted only if the caller still owns the job.

    For a job that is not ``is_retry``: applied + skipped + unconfirmed + retry rows + dead rows + rows of ``jobs`` + rows of
    ``rest`` = its ``rows`` + ``extra``.
    """

    claim: Claim
    applied: int = 0
    skipped: int = 0
    unconfirmed: int = 0
    extra: int = 0  # rows dealt with that the plan had not counted (they turned stale later): added to planned
    retry: tuple[Retry, ...] = ()
    dead: tuple[FailedRow, ...] = ()
    jobs: tuple[Job, ...] = ()  # replace a part of this job (halves, rows locked by the application)
    rest: Job | None = None  # the caller keeps the claim and goes on with this; without it the claim ends
    batch_hint: str | None = None  # kept for the schedule and part of every later answer to a claim; None: as before
    sweep_failure: tuple[str, str] | None = (
        None  # (reason, message): the sweep Fails for it at its end if none was applied
    )
    spent: int | None = None  # rows that have used up their share of the row budget; None: applied, retry and dead

    @property
    def refund(self) -> int:
        """Rows that the row budget gets back; below 0: more were tried than the claim debited."""
        spent = self.spent
        if spent is None:
            spent = self.applied + len(self.dead)
            if self.retry:
                spent += sum(len(group.rows) for group in self.retry)
        left = self.rest.rows if self.rest is not None else 0
        return self.claim.job.rows - left - spent


class Window(msgspec.Struct, frozen=True):
    """What one plan job cut: its jobs and its own continuation go into the queue in one step."""

    cutoff: str
    jobs: tuple[Job, ...] = ()
    next: Job | None = None
    origin: str = ""  # of the keys that its jobs have, see ``Job.origin``
    planned: int = 0
    capped: bool = False  # the sweep's cap is reached: the rest waits for the next tick
    stopped: str = ""  # with capped: ``row_text`` of the key where the next sweep begins; empty: at the first one
    samples: tuple[Key, ...] = ()  # DryRun: some keys that would be swept

    @property
    def entries(self) -> tuple[Job, ...]:
        """What to enqueue, in order: the continuation amid its window's jobs, so that the next window is being cut while
        the workers still have half of this one, and none of them waits for a planner."""
        if self.next is None:
            return self.jobs
        half = len(self.jobs) // 2
        return (*self.jobs[:half], self.next, *self.jobs[half:])


class OpenResult(StrEnum):
    ENQUEUED = "enqueued"
    DUPLICATE = "duplicate"  # this tick or a later one was seen before
    FORBIDDEN = "forbidden"  # the sweep before it is not settled: skipped
    LATE = "late"  # older than startingDeadlineSeconds: missed


class SweepState(StrEnum):
    PLANNING = "Planning"
    RUNNING = "Running"
    AWAITING_APPROVAL = "AwaitingApproval"  # waits for approval
    COMPLETED = "Completed"
    HALTED = "Halted"
    SUPERSEDED = "Superseded"
    LOST = "Lost"  # never written by a queue: said by whoever saw a running sweep vanish
    FAILED = "Failed"

    @property
    def settled(self) -> bool:
        return self not in (SweepState.PLANNING, SweepState.RUNNING, SweepState.AWAITING_APPROVAL)


class Sweep(msgspec.Struct, frozen=True, kw_only=True):
    """planned = applied + skipped + unconfirmed + retrying + dead + what is still ``open``, at every moment."""

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

    @property
    def settled_rows(self) -> int:
        return self.applied + self.skipped + self.unconfirmed + self.retrying + self.dead

    @property
    def succeeded(self) -> bool:
        """True where it came to its end and did what it was for. Completed is not enough: all that it found may have failed,
        or waits for its retry."""
        return self.state is SweepState.COMPLETED and (
            bool(self.applied + self.unconfirmed) or not self.retrying + self.dead
        )

    @property
    def balanced(self) -> bool:
        return self.planned == self.settled_rows

    @property
    def tried_all(self) -> bool:
        """True where no row before ``stopped`` was left without its turn. A sweep that Halted or Failed at its end is as
        good as a Completed one: a successor that began where it had begun would plan the same rows, and none behind them,
        for ever. One that ended early dropped planned jobs, and is not balanced, or its plan job, and is not capped."""
        if self.state in (SweepState.HALTED, SweepState.FAILED):
            return self.capped and self.balanced
        return self.state is SweepState.COMPLETED


class TickCounts(msgspec.Struct, frozen=True):
    enqueued: int = 0
    duplicate: int = 0
    forbidden: int = 0
    late: int = 0


class Finding(msgspec.Struct, frozen=True):
    """Something a worker learned about the world. The latest of each ``kind`` is kept."""

    kind: str  # "SourceReady", "Effect", ... (at most 64 kinds)
    ok: bool
    reason: str
    message: str
    plan: PlanVersion
    at: float = 0.0


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """One schedule at a glance; a schedule that the queue does not know has ``known`` False and zeros."""

    known: bool = False
    ready: int = 0  # jobs that a claim may take now; a retry that is due counts here
    running: int = 0  # jobs in somebody's hands, until their lease expired and another claim took them
    delayed: int = 0  # retries that are not due yet, and a plan job that waits for the jobs of ended sweeps
    excluded: int = 0  # rows in retry or dead, which no sweep plans
    dead: int = 0  # rows
    oldest_ready: float | None = None  # when the longest waiting ready job became ready
    first_lease: float | None = None  # when the first lease ends, unless its owner extends it before
    paused: bool = False
    last_tick: float | None = None
    ticks: TickCounts = TickCounts()
    sweep: Sweep | None = None  # the latest
    history: tuple[Sweep, ...] = ()  # newest first, without the latest; at most HISTORY
    findings: tuple[Finding, ...] = ()
    origin: str = ""  # of the rows that were planned last, see ``Job.origin``


class Attempt(msgspec.Struct, frozen=True):
    at: float
    error: str
    message: str
    where: str = ""  # file and line where it was raised; kept of the latest attempt
    effect_key: str = ""  # see FailedRow


class RowState(StrEnum):
    DEAD = "dead"
    RETRYING = "retrying"


class DeadLetter(msgspec.Struct, frozen=True):
    """an excluded row with its history; one in retry too, where that is asked for."""

    key: Key
    error: str
    message: str
    at: float
    sweep: str
    attempts: tuple[Attempt, ...]  # oldest first, at most ATTEMPTS
    origin: str = ""  # see ``Job.origin``


class ErrorGroup(msgspec.Struct, frozen=True):
    error: str
    count: int
    message: str  # of the latest
    first: float
    last: float
    samples: tuple[Key, ...]  # at most 3
    origin: str = ""  # see ``Job.origin``; one group has one origin


class ExcludedRows(NamedTuple):
    """The excluded set as a job of one origin sees it."""

    version: int  # see ``Claims.excluded_version``
    keys: frozenset[Key]
    foreign: int = 0  # excluded rows of other origins, which are not among ``keys``


class SweepRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The wish to start a sweep. ``tick`` is the nominal time that the dedupe goes by; a wish without one (a person's) has
    the time it was made, and in ``once`` a name of its own that the dedupe goes by instead. None: now, by the queue's clock."""

    tick: float | None
    plan: PlanVersion
    mode: str = "Enforce"
    deadline: float | None = None  # startingDeadlineSeconds
    retention: float = 7 * 86400.0  # dead letters older than this are purged first (their rows become eligible again)
    dedup_key: str | None = None

    def sweep_id(self, ref: ScheduleRef) -> str:
        """The id of the sweep that this wish makes: a fresh one, or with ``once`` the same each time it is wished."""
        if self.dedup_key is None:
            return uuid.uuid4().hex
        return uuid.uuid5(uuid.NAMESPACE_URL, f"{ref.prefix}/{ref.uid}/{self.dedup_key}").hex


class Limits(msgspec.Struct, frozen=True):
    """What claim and settle must respect; all but ``spare_expired`` is the same for every worker of one plan version."""

    rows_per_second: float | None = None
    halt_above: int = 1000  # excluded rows of one origin; one more failing row is not recorded and Halts the sweep
    lease: float = 30.0
    burst: float | None = None  # rows that an unused budget saves up; None: those of one second
    halt_at_end: bool = (
        False  # a sweep Halts at its end, when every row was tried; until then its reason says that it will
    )
    spare_expired: bool = False  # the caller was cut off from the queue: whoever's lease expired may have been so too

    @property
    def saved(self) -> float:
        """The most rows that the budget ever holds."""
        return self.burst or self.rows_per_second or 0.0

    @property
    def debt(self) -> float:
        """What the budget may owe, in rows, before it reserves no more: those of one second."""
        return max(1.0, self.rows_per_second or 0.0)


HISTORY = 10
ATTEMPTS = 20
AHEAD = (
    300.0  # seconds that a tick, or the last one, may be ahead of the queue's clock; one further ahead counts as now
)
LONGEST_LEASE = 4  # times the caller's lease: one that ends later was given before the clock was set back
BEHIND = 0.001  # seconds from the last tick to that of a wish with ``once`` that was made before it
FLOOD = 50  # dead rows of one error class with none applied: the sweep Halts
MAX_JOB_KEYS = 1000  # rows in one job of a replay
MESSAGE = 1024  # characters of what is told of a failure
MAX_FINDINGS = 64  # kinds of findings that are kept; a further one pushes the oldest out
MAX_SAMPLES = 20  # sample keys that a sweep remembers
RETRY_PAUSE = 60.0  # seconds that a retry rests when its sweep is ended by it
HALTING = frozenset(
    {"TooManyFailedRows", "Flood"}
)  # reasons for which a sweep that runs Halts at its end; for others it Fails
END_STATES = frozenset({SweepState.FAILED, SweepState.HALTED, SweepState.SUPERSEDED, SweepState.AWAITING_APPROVAL})

_encode_key = msgspec.json.Encoder().encode
_decode_key = msgspec.json.Decoder(Key)


def key_text(key: Key) -> str:
    """A key as one line of text, for sets and for people: ``["42"]``, ``["eu","17"]``."""
    return _encode_key(key).decode()


def parse_key(text: str) -> Key:
    """The inverse of :func:`key_text`; also takes a bare value, so that ``42`` means ``["42"]``."""
    try:
        return _decode_key.decode(text)
    except msgspec.DecodeError:
        return (text,)


def to_json(value: Any) -> bytes:
    return msgspec.json.encode(value)
