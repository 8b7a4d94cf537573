"""Exit codes. The class of an error decides its code, never its text."""

from __future__ import annotations

from enum import IntEnum

from kubesweep.errors import KubesweepError, Outage, SpecError, SweepFailure
from kubesweep.queue.model import Sweep, SweepState

__all__ = ["Exit", "NotFound", "Unreachable", "code_of_error", "code_of_sweep"]

_BAD = frozenset({SweepState.FAILED, SweepState.HALTED, SweepState.LOST, SweepState.AWAITING_APPROVAL})


class Exit(IntEnum):
    CLEAN = 0
    FAILURE = 1  # rows died, a sweep did not complete, check warned, or nothing was found
    USAGE = 2  # wrong arguments, spec or table
    UNREACHABLE = 3  # database or queue
    INTERRUPTED = 130  # 128 + SIGINT, as shells count
    TERMINATED = 143  # 128 + SIGTERM


class NotFound(KubesweepError):
    """No sweep waits for approval, or no dead letter matches: exit code 1."""


class Unreachable(KubesweepError):
    """The database could not be reached or refused the credentials before anything started: exit code 3."""


def code_of_error(error: BaseException) -> Exit:
    """An unexpected error is a failure too, so that no script takes it for success."""
    if isinstance(error, KeyboardInterrupt):
        return Exit.INTERRUPTED
    if isinstance(error, (Outage, Unreachable)):
        return Exit.UNREACHABLE
    if isinstance(error, (SpecError, SweepFailure)):
        return Exit.USAGE
    return Exit.FAILURE


def code_of_sweep(sweep: Sweep | None) -> Exit:
    """Clean only if the sweep ended without failure and none of its rows died."""
    if sweep is None or sweep.dead or sweep.state in _BAD:
        return Exit.FAILURE
    return Exit.CLEAN
