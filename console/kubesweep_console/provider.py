"""What a program that serves the console has to supply: the data, and the commands or actions of each button.

A schedule is one *document*, a mapping in the shape of the SweepSchedule object in the cluster:

- ``metadata``: ``namespace``, ``name``, ``uid``.
- ``spec``: as in the YAML. May be missing where only the queue is known.
- ``status``: as :class:`kubesweep.api.models.status.Status` describes it. Every field is optional, and unknown fields are
  ignored. ``conditions`` decide what the console calls a problem.
- ``database``: optional, the address of its database without a password. Schedules with the same text share a database.

Documents come from outside. No field of them is trusted to be safe in HTML, or to have the expected type.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from kubesweep.queue.model import DeadLetter, ErrorGroup

__all__ = [
    "Action",
    "ActionKind",
    "ActionRefused",
    "Actions",
    "DataProvider",
    "DeadLetters",
    "Document",
    "Preview",
    "Snapshot",
]

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All schedules at one moment. ``problem``: why they may be out of date, for people; the pages are marked as stale.

    ``version``: a text that changes with the documents. Several processes that serve one console need the same one for the same
    documents, because a browser gets a page from one of them and the stream from another. Empty: the console counts.
    """

    documents: tuple[Document, ...]
    read_at: float  # seconds since the epoch
    problem: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """The dead letters of one schedule. ``letters`` are the latest, with their attempts; none where they cannot be read."""

    groups: tuple[ErrorGroup, ...] = ()
    letters: tuple[DeadLetter, ...] = ()


class ActionKind(StrEnum):
    TRIGGER = "trigger"  # start a sweep now
    APPROVE = "approve"  # the sweep that awaits approval
    PAUSE = "pause"  # start no further row
    RESUME = "resume"
    RETRY = "retry"  # dead letters
    PURGE = "purge"  # dead letters


@dataclass(frozen=True, slots=True)
class Action:
    """Something that a person may want to do with one schedule."""

    kind: ActionKind
    document: Document
    error: str = ""  # RETRY and PURGE: only rows with this error; empty: all
    sweep: str = ""  # APPROVE: the id of the sweep


@dataclass(frozen=True, slots=True)
class Preview:
    """What an action will do, in sentences, and to how many rows; 0: there is nothing to do, None: it is about no rows, or this is not known."""

    sentence: str
    rows: int | None = None


class ActionRefused(Exception):
    """An action is not possible, for the reason in its text."""


class DataProvider(Protocol):
    """The data of the console. Any method may raise :class:`kubesweep.errors.Outage`."""

    title: str  # whose schedules these are, such as a queue or a release
    first: str  # what a person types for the first schedule

    async def snapshot(self) -> Snapshot:
        """All schedules. It is called only while somebody watches, at most once in ``ConsoleSettings.interval``."""
        ...

    async def dead_letters(self, document: Document) -> DeadLetters: ...

    def command(self, action: Action) -> str:
        """What to type for an action; empty: there is no such command."""
        ...


class Actions(Protocol):
    """Carries out what a person confirmed. Any method may raise :class:`ActionRefused` and ``Outage``."""

    async def preview(self, action: Action) -> Preview: ...

    async def act(self, action: Action, nonce: str) -> str:
        """Do it once for each ``nonce``, and return what was done, in one sentence."""
        ...
