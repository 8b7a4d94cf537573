"""The exception tree. The class of an error decides how it is handled, never its text.

=================  ==========================================================================================
SpecError          the YAML is wrong; nothing was started (exit code 2)
SweepFailure       only a change of spec, schema or rights fixes it: the sweep Fails with one condition
Outage             database, queue or receiver fails: jobs are released, no attempt is spent, claiming pauses
Damaged            an Outage of one schedule: another program wrote to its keys in the queue
ScopeOutage        an Outage that a smaller scope may avoid: a lock, or a statement that timed out
RowError           only this row is refused: it spends an attempt, and after the last one is a dead letter
LeaseLost          the worker may neither settle nor release the job: stop working on it
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
    """The base class of all errors of Kubesweep."""


class SpecError(KubesweepError):
    """A SweepSchedule, Secret or option is wrong. ``code`` is stable and listed in docs/errors.md."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class SweepFailure(KubesweepError):
    """The sweep cannot continue until a person changes something.

    ``reason`` is a CamelCase word for a condition (``TableMissing``, ``NeverEnds``), and the message says what to do.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Outage(KubesweepError):
    """Database, queue or receiver cannot be used now. Retry later.

    ``maybe_applied`` is True where a write was sent and its answer was lost, so the rows may be committed. ``retry_after`` is
    the number of seconds that the other side asked to wait, if it did.
    """

    def __init__(
        self, reason: str, message: str, *, maybe_applied: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.maybe_applied = maybe_applied
        self.retry_after = retry_after


class ScopeOutage(Outage):
    """An outage that may be limited to the rows of one statement: they are locked, or too slow or too many for it.

    A smaller scope may succeed, so a write is first repeated with fewer rows, before this counts as an outage.
    """


class Damaged(Outage):
    """The queue has data of one schedule that Kubesweep did not write. Other schedules are not affected."""


class RowError(KubesweepError):
    """This row was refused. ``error`` is the error class that dead letters are grouped by."""

    def __init__(self, error: str, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.error = error
        self.retry_after = retry_after


class Reject(RowError):
    """Raised by a handler: this row can never succeed. It becomes a dead letter at once."""

    def __init__(self, why: str) -> None:
        super().__init__("Rejected", why)


class RetryAfter(RowError):
    """Raised by a handler: try this row again after ``seconds``. It spends an attempt."""

    def __init__(self, seconds: float, why: str = "asked to be retried later") -> None:
        """``seconds`` may be the text of a Retry-After header in seconds.

        Raises ValueError or TypeError if it is no finite number. In a handler, the row fails with that error.
        """
        delay = float(seconds)
        if not math.isfinite(delay):
            raise ValueError(f"RetryAfter takes a finite number of seconds, not {seconds!r}")
        super().__init__("RetryAfter", why, retry_after=max(0.0, delay))


class Skip(KubesweepError):
    """Raised by a handler: do not write this row. It counts as skipped."""


class LeaseLost(KubesweepError):
    """The worker may neither settle nor release the job, and must write nothing more for it.

    Raised before the next statement where the queue reported that another worker owns the job or that its sweep has ended, or
    where a settlement of a part of the job stayed unanswered. Raised too where the queue rejects such a settlement.
    """
