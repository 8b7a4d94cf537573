"""The excluded set as people see it: dead letters, rows in retry, and groups of them by error class."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import msgspec

from kubesweep.queue.model.identity import Key


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
    """An excluded row with its history. On request, rows in retry are returned in this form too."""

    key: Key
    error: str
    message: str
    at: float
    sweep: str
    attempts: tuple[Attempt, ...]  # oldest first, at most ATTEMPTS
    origin: str = ""  # see ``Job.origin``


class ErrorGroup(msgspec.Struct, frozen=True):
    """Excluded rows of one error class and one origin."""

    error: str
    count: int
    message: str  # of the latest
    first: float
    last: float
    samples: tuple[Key, ...]  # at most 3
    origin: str = ""  # see ``Job.origin``


class ExcludedRows(NamedTuple):
    """The excluded set as a job of one origin sees it."""

    version: int  # see ``Claims.excluded_version``
    keys: frozenset[Key]
    other_origins: int = 0  # excluded rows of other origins, which are not among ``keys``
