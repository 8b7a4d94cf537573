"""The one exception tree: the class of an error decides what happens, nobody looks at its text.

=================  ==========================================================================================
SpecError          the YAML is wrong; nothing was started (exit code 2)
SweepFailure       only a change of spec, schema or rights cures it: the sweep Fails with one condition
Outage             the world is unwell: work is given back whole, no attempt is spent, claiming pauses
Damaged            an Outage of one schedule: its keys in the queue hold what others wrote
ScopeOutage        an Outage that a smaller scope may avoid: a lock, or a statement that timed out
RowError           this row, and only it, is refused: spends an attempt, then becomes a dead letter
LeaseLost          the queue no longer counts the caller as the owner of a job: stop working on it
=================  ==========================================================================================
"""

from __future__ import annotations

import math

__all__ = [
    "Damaged",
    "KubesweepError",
    "LeaseLost",
    "Outage",
    "Reject",
    "RetryAfter",
    "RowError",
    "ScopeOutage",
    "Skip",
    "SpecError",
    "SweepFailure",
]


class KubesweepError(Exception):
    """The root of every error that Kubesweep raises on purpose."""


class SpecError(KubesweepError):
    """A SweepSchedule, Secret or option is wrong. ``code`` is stable and listed in docs/errors.md."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class SweepFailure(KubesweepError):
    """The sweep cannot go on until somebody changes something.

    ``reason`` is a CamelCase word for a condition (``TableMissing``, ``NeverEnds``), the message a sentence that
    says what to do.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Outage(KubesweepError):
    """Database, queue or receiver cannot be used now; trying again later is the whole cure.

    ``maybe_applied`` is True where a write was sent and its answer never came: the rows may be committed.
    ``retry_after`` is how many seconds the other side asked to be left alone, if it said so.
    """

    def __init__(
        self, reason: str, message: str, *, maybe_applied: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.maybe_applied = maybe_applied
        self.retry_after = retry_after


class ScopeOutage(Outage):
    """An outage that may be limited to the rows of one statement: they are locked, or too slow or too many for one
    statement. A smaller scope may succeed, so a write divides its rows before it counts as an outage."""


class Damaged(Outage):
    """What the queue keeps of one schedule is not what Kubesweep wrote there: that schedule's trouble alone."""


class RowError(KubesweepError):
    """This row was refused. ``error`` is the error class that dead letters are grouped by."""

    def __init__(self, error: str, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.error = error
        self.retry_after = retry_after


class Reject(RowError):
    """Raised by a handler: this row will never work; it becomes a dead letter at once."""

    def __init__(self, why: str) -> None:
        super().__init__("Rejected", why)


class RetryAfter(RowError):
    """Raised by a handler: try this row again after ``seconds``; spends an attempt."""

    def __init__(self, seconds: float, why: str = "asked to be retried later") -> None:
        """``seconds`` may be the text of a Retry-After header that has seconds. Raises ValueError or TypeError for what is
        no finite number: in a handler that is this row's failure."""
        delay = float(seconds)
        if not math.isfinite(delay):
            raise ValueError(f"RetryAfter takes a finite number of seconds, not {seconds!r}")
        super().__init__("RetryAfter", why, retry_after=max(0.0, delay))


class Skip(KubesweepError):
    """Raised by a handler: leave this row as it is; it is not written and counts as skipped."""


class LeaseLost(KubesweepError):
    """Somebody else owns the job now, or the sweep is gone: write nothing more for it."""
