"""Turn the results of a job's rows into one Settlement. Pure.

A row is dead after ``retry.maxAttempts`` failures or when its effect raises Reject: ``retries_and_dead_rows`` decides that.
A row that crashes its workers is dead-lettered by jobs/poison_job.py.

``build_settlement`` guarantees this invariant: for a job that is not a retry, applied + skipped + unconfirmed + retry + dead
+ rows of ``jobs`` + rows of ``rest`` = its rows + extra. The queue does not check it: it checks that the claim is still
owned, and adds the numbers to the sweep's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from kubesweep.api.plan import RetryPolicy
from kubesweep.errors import Reject, RowError
from kubesweep.queue.model import MESSAGE, Claim, FailedRow, Job, JobKind, Key, Retry, Settlement
from kubesweep.text import clip, printable
from kubesweep_worker.flow_control.backoff import MAX_ROW_DELAY, bounded_delay, retry_delay
from kubesweep_worker.sources.base import WRITE_REFUSED, Keys, Range, Scope, Written

MAX_ERROR = 128  # characters of an error class
MAX_PATH = 200  # characters of a file's path
STILL_STALE = "StillStale"
UNWRITTEN = frozenset({WRITE_REFUSED, STILL_STALE})
STILL_STALE_MESSAGE = "the row still matches after the write: write.update sets no value that match excludes"


def defect(error: BaseException) -> RowError:
    """An exception that Kubesweep does not expect, as the failure of the row that provoked it."""
    name = type(error).__name__
    return RowError(
        "WorkerDefect", f"the worker failed with an unexpected {name}; its log has the traceback: report it"
    )


def raised_at(error: BaseException | None) -> str:
    """``/app/support/sweeps.py:42``, or an empty string for an error without a traceback."""
    at = error.__traceback__ if error is not None else None
    if at is None:
        return ""
    while at.tb_next is not None:
        at = at.tb_next
    return printable(f"{at.tb_frame.f_code.co_filename[-MAX_PATH:]}:{at.tb_lineno}")


@dataclass(frozen=True, slots=True)
class RowFailure:
    """One row that failed. ``retry_after``: its own delay in seconds; ``final``: no further attempt; ``cause``: the exception
    behind the failure, for the log; ``effect_key``: the Idempotency-Key under which its effect succeeded."""

    key: Key
    error: str
    message: str
    retry_after: float | None = None
    final: bool = False
    cause: BaseException | None = field(default=None, compare=False, repr=False)
    effect_key: str = ""

    @classmethod
    def of(cls, key: Key, error: RowError) -> RowFailure:
        final = isinstance(error, Reject)
        return cls(key, error.error, clip(str(error), MESSAGE), error.retry_after, final, error.__cause__)

    @property
    def row(self) -> FailedRow:
        error, message = clip(self.error, MAX_ERROR), clip(self.message, MESSAGE)
        return FailedRow(self.key, error, message, raised_at(self.cause), self.effect_key)


class RowResults(msgspec.Struct):
    """What a run has done so far. It may leave out rows; ``build_settlement`` counts those as skipped or unconfirmed."""

    applied: int = 0
    skipped: int = 0
    failed: list[RowFailure] = msgspec.field(default_factory=list)
    unspent: list[RowFailure] = msgspec.field(default_factory=list)  # retried under the same attempt number
    locked: list[Key] = msgspec.field(default_factory=list)
    endless: bool = False  # the write leaves rows matching under other keys, which are unknown
    refused: int = 0  # rows that the write left unchanged; they are in ``failed`` too
    latest_refusal: RowFailure | None = None

    def add(self, written: Written) -> None:
        """Add the result of one write."""
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
        self.failed.append(RowFailure.of(key, error))
        if error.error in UNWRITTEN:
            self.refused += 1
            self.latest_refusal = self.failed[-1]


def failed_before(job: Job) -> bool:
    """Whether the job's rows spent an attempt before: then they failed while the database or the receiver served others."""
    return job.is_retry and job.attempt > 1


def scope_of(job: Job) -> Scope:
    if job.kind is JobKind.KEYS:
        return Keys(job.keys)
    return Range(job.low, job.high, job.rows)


def keys_job(job: Job, keys: tuple[Key, ...], **changes: object) -> Job:
    """A job for exactly ``keys`` that inherits everything else from ``job``."""
    wanted = frozenset(keys) if job.effects_done else ()
    effects_done = tuple(done for done in job.effects_done if done[0] in wanted)
    fields = {
        "kind": JobKind.KEYS,
        "keys": keys,
        "low": None,
        "high": None,
        "rows": len(keys),
        "effects_done": effects_done,
        "crashes": 0,
        **changes,
    }
    return msgspec.structs.replace(job, **fields)


def retries_and_dead_rows(
    failed: list[RowFailure], attempt: int, policy: RetryPolicy, random: Callable[[], float]
) -> tuple[tuple[Retry, ...], tuple[FailedRow, ...]]:
    """Split failures into retries and dead rows: a row is dead after ``policy.max_attempts`` attempts, or where it is final.

    Failed rows share one Retry; rows that requested their own delay share one with rows of a similar delay.
    """
    dead = tuple(f.row for f in failed if f.final or attempt >= policy.max_attempts)
    alive = [f for f in failed if not (f.final or attempt >= policy.max_attempts)]
    out = []
    asked = [f for f in alive if bounded_delay(f.retry_after, MAX_ROW_DELAY)]
    plain = tuple(f.row for f in alive if not bounded_delay(f.retry_after, MAX_ROW_DELAY))
    if plain:
        out.append(Retry(plain, attempt + 1, retry_delay(attempt, policy.backoff, policy.max_backoff, random)))
    return (*out, *by_delay(asked, attempt + 1)), dead


def by_delay(asked: list[RowFailure], attempt: int, least: float = 0.0) -> list[Retry]:
    """Group rows by their requested delay, so that a few jobs serve many rows. A row is retried no earlier than requested, and
    later by at most a quarter of the delay or a second."""
    delays = sorted((max(least, bounded_delay(f.retry_after, MAX_ROW_DELAY)), i) for i, f in enumerate(asked))
    groups: list[list[tuple[float, int]]] = []
    for delay, i in delays:
        if not groups or delay > max(1.25 * groups[-1][0][0], groups[-1][0][0] + 1.0):
            groups.append([])
        groups[-1].append((delay, i))
    return [Retry(tuple(asked[i].row for _, i in group), attempt, group[-1][0]) for group in groups]


def unspent_retries(
    failed: list[RowFailure], attempt: int, policy: RetryPolicy, random: Callable[[], float]
) -> list[Retry]:
    """Retries under the same attempt number for rows that did not cause their failure, so that the sweep can finish without them."""
    return by_delay(failed, attempt, least=retry_delay(4, policy.backoff, policy.max_backoff, random))


def build_settlement(
    claim: Claim,
    results: RowResults,
    policy: RetryPolicy,
    random: Callable[[], float],
    *,
    jobs: tuple[Job, ...] = (),
    rest: Job | None = None,
) -> Settlement:
    """The Settlement of ``claim.job``. With ``rest``, rows that the results leave out remain in it."""
    job = claim.job
    retry, dead = retries_and_dead_rows(results.failed, job.attempt, policy, random)
    if results.unspent:
        retry = (*retry, *unspent_retries(results.unspent, job.attempt, policy, random))
    counted = results.applied + results.skipped
    if retry or dead or jobs:
        counted += len(dead) + sum(len(r.rows) for r in retry) + sum(j.rows for j in jobs)
    missing = max(0, job.rows - counted)
    extra = 0 if job.is_retry else max(0, counted - job.rows)
    if rest is not None:
        rest, missing = msgspec.structs.replace(rest, rows=missing), 0
    unconfirmed = missing if claim.redelivered else 0
    return Settlement(
        claim=claim,
        applied=results.applied,
        skipped=results.skipped + missing - unconfirmed,
        unconfirmed=unconfirmed,
        extra=extra,
        retry=retry,
        dead=dead,
        jobs=jobs,
        rest=rest,
    )
