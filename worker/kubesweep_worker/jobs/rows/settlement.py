"""What became of the rows of a job, as one Settlement that adds up.

The law that the queue checks: for a job that is not held, applied + skipped + unconfirmed + retry + dead + rows of
``jobs`` + rows of ``rest`` = its rows + extra. It is kept here, in pure functions, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from kubesweep.api.plan import RetryPolicy
from kubesweep.errors import Reject, RowError
from kubesweep.queue.model import MESSAGE, Claim, FailedRow, Job, JobKind, Key, Retry, Settlement
from kubesweep.text import clip, printable
from kubesweep_worker.flow_control.backoff import LONGEST, heeded, retry_delay
from kubesweep_worker.sources.base import WRITE_REFUSED, Keys, Range, Scope, Written

ERROR = 128  # characters of an error class
WHERE = 200  # characters of a file's path
STILL_STALE = "StillStale"
UNWRITTEN = frozenset({WRITE_REFUSED, STILL_STALE})
STILL_STALE_MESSAGE = "the row still matches after the write; write.update leaves it as match wants it"


def defect(error: BaseException) -> RowError:
    """An exception that no code of ours expects, as the failure of the row that provoked it."""
    name = type(error).__name__
    return RowError(
        "WorkerDefect", f"the worker failed in a way it does not know ({name}); its log has the traceback: report it"
    )


def raised_at(error: BaseException | None) -> str:
    """``/app/support/sweeps.py:42``, nothing for an error without a traceback."""
    at = error.__traceback__ if error is not None else None
    if at is None:
        return ""
    while at.tb_next is not None:
        at = at.tb_next
    return printable(f"{at.tb_frame.f_code.co_filename[-WHERE:]}:{at.tb_lineno}")


@dataclass(frozen=True, slots=True)
class Failure:
    """One row that was refused. ``retry_after``: the row asked for its own delay; ``final``: no other attempt;
    ``cause``: the exception behind the refusal, for the log; ``told``: the Idempotency-Key under which its effect
    succeeded."""

    key: Key
    error: str
    message: str
    retry_after: float | None = None
    final: bool = False
    cause: BaseException | None = field(default=None, compare=False, repr=False)
    told: str = ""

    @classmethod
    def of(cls, key: Key, error: RowError) -> Failure:
        final = isinstance(error, Reject)
        return cls(key, error.error, clip(str(error), MESSAGE), error.retry_after, final, error.__cause__)

    @property
    def row(self) -> FailedRow:
        error, message = clip(self.error, ERROR), clip(self.message, MESSAGE)
        return FailedRow(self.key, error, message, raised_at(self.cause), self.told)


class Tally(msgspec.Struct):
    """What a run has done so far; rows that it says nothing about are missing, and the settlement decides what they are."""

    applied: int = 0
    skipped: int = 0
    failed: list[Failure] = msgspec.field(default_factory=list)
    unspent: list[Failure] = msgspec.field(default_factory=list)  # tried again under the same attempt number
    locked: list[Key] = msgspec.field(default_factory=list)
    endless: bool = False  # the write leaves rows matching under other keys: nobody can say which
    refused: int = 0  # rows that were to be written and are as they were; they are in ``failed`` too
    why: Failure | None = None  # the latest of them

    def add(self, written: Written) -> None:
        """Count what one write did."""
        self.applied += written.applied
        self.locked.extend(written.locked)
        error, why = WRITE_REFUSED, written.why
        if written.still_stale:
            self.endless = self.endless or not written.refused
            error, why = STILL_STALE, STILL_STALE_MESSAGE
        for key in written.refused:
            self.fail(key, RowError(error, why))

    def fail(self, key: Key, error: RowError) -> None:
        """One row failed."""
        self.failed.append(Failure.of(key, error))
        if error.error in UNWRITTEN:
            self.refused += 1
            self.why = self.failed[-1]


def scope_of(job: Job) -> Scope:
    if job.kind is JobKind.KEYS:
        return Keys(job.keys)
    return Range(job.low, job.high, job.rows)


def keys_job(job: Job, keys: tuple[Key, ...], **changes: object) -> Job:
    """A job for exactly ``keys`` that inherits everything else from ``job``."""
    mine = frozenset(keys) if job.effects_done else ()
    told = tuple(one for one in job.effects_done if one[0] in mine)
    fields = {
        "kind": JobKind.KEYS,
        "keys": keys,
        "low": None,
        "high": None,
        "rows": len(keys),
        "effects_done": told,
        "crashes": 0,
        **changes,
    }
    return msgspec.structs.replace(job, **fields)


def retries(
    failed: list[Failure], attempt: int, policy: RetryPolicy, random: Callable[[], float]
) -> tuple[tuple[Retry, ...], tuple[FailedRow, ...]]:
    """Split failures into retries and dead rows.

    Rows that failed leave in one Retry, rows that asked for their own delay with those that asked for about the same.
    """
    if not failed:
        return (), ()
    dead = tuple(f.row for f in failed if f.final or attempt >= policy.max_attempts)
    alive = [f for f in failed if not (f.final or attempt >= policy.max_attempts)]
    out = []
    asked = [f for f in alive if heeded(f.retry_after, LONGEST)]
    plain = tuple(f.row for f in alive if not heeded(f.retry_after, LONGEST))
    if plain:
        out.append(Retry(plain, attempt + 1, retry_delay(attempt, policy.backoff, policy.max_backoff, random)))
    return (*out, *by_delay(asked, attempt + 1)), dead


def by_delay(asked: list[Failure], attempt: int, least: float = 0.0) -> list[Retry]:
    """Rows with the delays that they ask for, never sooner, and at most a quarter or a second later: with the longest of
    those that ask for about the same, so that a few jobs do for many rows."""
    delays = sorted((max(least, heeded(f.retry_after, LONGEST)), i) for i, f in enumerate(asked))
    groups: list[list[tuple[float, int]]] = []
    for delay, i in delays:
        if not groups or delay > max(1.25 * groups[-1][0][0], groups[-1][0][0] + 1.0):
            groups.append([])
        groups[-1].append((delay, i))
    return [Retry(tuple(asked[i].row for _, i in group), attempt, group[-1][0]) for group in groups]


def unspent_retries(
    failed: list[Failure], attempt: int, policy: RetryPolicy, random: Callable[[], float]
) -> list[Retry]:
    """Rows that nobody blames: held back under the same attempt number, so that the sweep can finish without them."""
    return by_delay(failed, attempt, least=retry_delay(4, policy.backoff, policy.max_backoff, random))


def settlement(
    claim: Claim,
    tally: Tally,
    policy: RetryPolicy,
    random: Callable[[], float],
    *,
    jobs: tuple[Job, ...] = (),
    rest: Job | None = None,
) -> Settlement:
    """The Settlement of ``claim.job``. With ``rest``, every row that the tally does not name goes on in it."""
    job = claim.job
    retry, dead = retries(tally.failed, job.attempt, policy, random)
    if tally.unspent:
        retry = (*retry, *unspent_retries(tally.unspent, job.attempt, policy, random))
    named = tally.applied + tally.skipped
    if retry or dead or jobs:
        named += len(dead) + sum(len(r.rows) for r in retry) + sum(j.rows for j in jobs)
    missing = max(0, job.rows - named)
    extra = 0 if job.is_retry else max(0, named - job.rows)
    if rest is not None:
        rest, missing = msgspec.structs.replace(rest, rows=missing), 0
    unconfirmed = missing if claim.redelivered else 0
    return Settlement(
        claim=claim,
        applied=tally.applied,
        skipped=tally.skipped + missing - unconfirmed,
        unconfirmed=unconfirmed,
        extra=extra,
        retry=retry,
        dead=dead,
        jobs=jobs,
        rest=rest,
    )
