"""Dead letters, grouped by error, with sample keys, attempts, and the command that retries exactly these. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kubesweep.quantities import count, rows
from kubesweep.queue.model import DeadLetter, ErrorGroup, plain_key
from kubesweep_console.documents import Schedule
from kubesweep_console.provider import Action, ActionKind, DeadLetters
from kubesweep_console.times import Moment, moment

__all__ = ["AttemptLine", "Group", "LetterLine", "groups_of"]

LETTERS = 3  # of a group whose attempts are shown


@dataclass(frozen=True, slots=True)
class AttemptLine:
    number: int
    at: Moment
    error: str
    message: str
    where: str


@dataclass(frozen=True, slots=True)
class LetterLine:
    key: str
    attempts: tuple[AttemptLine, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """The dead letters of one schedule that have one error and one origin."""

    schedule: Schedule
    error: str
    origin: str
    rows: str
    message: str
    first: Moment
    last: Moment
    keys: tuple[str, ...]
    more: str  # how many further keys there are; empty: none
    table: str
    letters: tuple[LetterLine, ...]
    retry: str  # commands
    purge: str


def groups_of(schedule: Schedule, found: DeadLetters, now: float, command: Callable[[Action], str]) -> list[Group]:
    """The largest group first."""
    ordered = sorted(found.groups, key=lambda each: (-each.count, each.error))
    return [_group(schedule, each, found.letters, now, command) for each in ordered]


def _group(
    schedule: Schedule,
    group: ErrorGroup,
    letters: Sequence[DeadLetter],
    now: float,
    command: Callable[[Action], str],
) -> Group:
    own = [each for each in letters if (each.error, each.origin) == (group.error, group.origin)]
    rest = group.count - len(group.samples)
    return Group(
        schedule=schedule,
        error=group.error,
        origin=group.origin,
        rows=rows(group.count),
        message=group.message,
        first=moment(group.first, now),
        last=moment(group.last, now),
        keys=tuple(map(plain_key, group.samples)),
        more=count(rest) if rest > 0 else "",
        table=group.origin.partition(" #")[0],
        letters=tuple(_letter(each, now) for each in own[:LETTERS]),
        retry=command(Action(ActionKind.RETRY, schedule.document, error=group.error)),
        purge=command(Action(ActionKind.PURGE, schedule.document, error=group.error)),
    )


def _letter(letter: DeadLetter, now: float) -> LetterLine:
    lines = (
        AttemptLine(at, moment(each.at, now), each.error, each.message, each.where)
        for at, each in enumerate(letter.attempts, 1)
    )
    return LetterLine(plain_key(letter.key), tuple(lines))
