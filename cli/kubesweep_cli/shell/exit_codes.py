"""What the shell is told. The class of an error decides the code, nobody looks at its text."""

from __future__ import annotations

from enum import IntEnum

from kubesweep.errors import KubesweepError, Outage, SpecError, SweepFailure
from kubesweep.queue.model import Sweep, SweepState

__all__ = ["Exit", "Nothing", "Unreachable", "code_of_error", "code_of_sweep"]

_BAD = frozenset({SweepState.FAILED, SweepState.HALTED, SweepState.LOST, SweepState.AWAITING_APPROVAL})


class Exit(IntEnum):
    CLEAN = 0
    ROWS_DIED = 1  # or a check warned, or what was asked for is not there
    USAGE = 2  # or the spec, or the table that the spec names
    UNREACHABLE = 3  # database or queue
    INTERRUPTED = 130


class Nothing(KubesweepError):
    """What was asked for is not there (no sweep waits for approval, no such dead letter): exit code 1."""


class Unreachable(KubesweepError):
    """The database refused to talk to us before anything was started: exit code 3."""


def code_of_error(error: BaseException) -> Exit:
    """Anything that nobody foresaw is a 1, so that it is never taken for a clean end."""
    if isinstance(error, KeyboardInterrupt):
        return Exit.INTERRUPTED
    if isinstance(error, (Outage, Unreachable)):
        return Exit.UNREACHABLE
    if isinstance(error, (SpecError, SweepFailure)):
        return Exit.USAGE
    return Exit.ROWS_DIED


def code_of_sweep(sweep: Sweep | None) -> Exit:
    """A sweep is clean where it came to its end and no row of it died."""
    if sweep is None or sweep.dead or sweep.state in _BAD:
        return Exit.ROWS_DIED
    return Exit.CLEAN
