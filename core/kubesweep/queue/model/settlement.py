"""How a worker reports the result of a job, and what the queue answers."""

from __future__ import annotations

import msgspec

from kubesweep.queue.model.identity import Key
from kubesweep.queue.model.jobs import Claim, Claims, Job


class FailedRow(msgspec.Struct, frozen=True):
    key: Key
    error: str  # error class; dead letters are grouped by it
    message: str  # at most MESSAGE characters, which the caller ensures; never row data
    where: str = ""  # file and line where a handler's exception was raised
    effect_key: str = ""  # the Idempotency-Key under which its effect succeeded; empty: it did not


class Retry(msgspec.Struct, frozen=True):
    """Rows that failed together and are tried again together: one keys job, ``delay`` seconds from now."""

    rows: tuple[FailedRow, ...]
    attempt: int  # the number of the coming attempt
    delay: float


class Settlement(msgspec.Struct, frozen=True):
    """The result of a job, or of the part of it that is done. Counted only if the caller still owns the job.

    For a job that is not ``is_retry``: applied + skipped + unconfirmed + retry rows + dead rows + rows of ``jobs`` + rows of
    ``rest`` = its ``rows`` + ``extra``.
    """

    claim: Claim
    applied: int = 0
    skipped: int = 0
    unconfirmed: int = 0
    # Rows that the plan had not counted because they turned stale later. Added to planned.
    extra: int = 0
    retry: tuple[Retry, ...] = ()
    dead: tuple[FailedRow, ...] = ()
    # Jobs that replace a part of this one (after a bisection, or for rows that the application locked).
    jobs: tuple[Job, ...] = ()
    # The caller keeps the claim and continues with this job. Without it the claim ends.
    rest: Job | None = None
    # Kept for the schedule and returned with every later claim. None: unchanged.
    batch_hint: str | None = None
    # (reason, message): the sweep Fails for this at its end if no row was applied.
    sweep_failure: tuple[str, str] | None = None
    # Rows that have used up their share of the row budget. None: applied, retry and dead.
    spent: int | None = None

    @property
    def refund(self) -> int:
        """Rows that return to the row budget. Below 0: more rows were tried than the claim debited."""
        spent = self.spent
        if spent is None:
            spent = self.applied + len(self.dead)
            if self.retry:
                spent += sum(len(group.rows) for group in self.retry)
        left = self.rest.rows if self.rest is not None else 0
        return self.claim.job.rows - left - spent


class RowCounts(msgspec.Struct, frozen=True):
    """Rows by outcome. A row counts as retrying each time that it fails and is to be tried again."""

    applied: int = 0
    skipped: int = 0
    unconfirmed: int = 0
    retrying: int = 0
    dead: int = 0


class Settled(msgspec.Struct, frozen=True):
    """The answer of ``settle``."""

    lost: tuple[str, ...] = ()  # ids of claims that the caller no longer owned: their settlements were not counted
    finished: tuple[str, ...] = ()  # sweeps that this call finished; each is reported once
    halted: tuple[str, ...] = ()  # sweeps that this call ended as Halted or Failed
    claims: Claims = Claims()
    rows: RowCounts = RowCounts()  # that this call counted, whether or not the queue still remembers their sweep
