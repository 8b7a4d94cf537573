"""Commands: annotations that act once per value. Pure: which ones are pending, and what became of them.

A person or a program sets ``kubesweep.dev/trigger=VALUE`` (docs/conditions.md has all of them). The value is the command's nonce, or
an object that contains it (:mod:`.command_values`). After the controller has executed the command
(:mod:`kubesweep_controller.reconcile.execute_commands`) it writes the nonce to ``status.handled``, so the same value never acts again,
and what became of it to ``status.answers``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kubesweep.text import MAX_TEXT, clip
from kubesweep_controller.status.command_values import CommandValue, read_value
from kubesweep_controller.status.conditions.reasons import Reason
from kubesweep_controller.status.formatting import GROUP, time_text
from kubesweep_controller.status.history import previous
from kubesweep_controller.status.observation import Observation

__all__ = ["Command", "CommandKind", "CommandResult", "Refusal", "annotation", "answers", "pending_commands"]


class CommandKind(StrEnum):
    """The part of the annotation after ``kubesweep.dev/``, in the order of execution."""

    PURGE = "purge-dead-letters"
    RETRY = "retry-dead-letters"
    APPROVE = "approve"
    TRIGGER = "trigger"
    THROTTLE = "throttle"  # also a state: it holds as long as the annotation exists (reconcile/desired_pace.py)


class Refusal(StrEnum):
    """Why a command was refused. The Event has one reason for all of them."""

    INVALID_VALUE = "InvalidValue"  # the annotation's value
    INVALID_SPEC = "InvalidSpec"
    SUSPENDED = "Suspended"
    SWEEP_RUNNING = "SweepRunning"
    NOT_OPENED = "NotOpened"  # the queue opens no sweep for another reason
    NOTHING_TO_APPROVE = "NothingToApprove"
    ANOTHER_SWEEP = "AnotherSweep"


_FIELDS = {
    CommandKind.PURGE: "purgeDeadLetters",
    CommandKind.RETRY: "retryDeadLetters",
    CommandKind.APPROVE: "approve",
    CommandKind.TRIGGER: "trigger",
    CommandKind.THROTTLE: "throttle",
}
_NARROWED_BY: Mapping[CommandKind, tuple[str, ...]] = {
    CommandKind.PURGE: ("error", "keys"),
    CommandKind.RETRY: ("error", "keys"),
    CommandKind.APPROVE: ("sweep",),
}


@dataclass(frozen=True)
class Command:
    kind: CommandKind
    value: CommandValue

    @property
    def nonce(self) -> str:
        return self.value.nonce

    @property
    def field(self) -> str:
        """Its name in ``status.handled``."""
        return _FIELDS[self.kind]


@dataclass(frozen=True)
class CommandResult:
    """What became of a command, for an Event and for its answer.

    ``rows``: how many dead letters it acted on. ``sweep``: the sweep that it started or approved, or that prevents it.
    """

    command: Command
    reason: Reason
    message: str
    refusal: Refusal | None = None
    rows: int | None = None
    sweep: str | None = None


def pending_commands(observation: Observation) -> tuple[Command, ...]:
    """The commands that were not executed yet. A trigger stays pending until the spec is valid; the others need no spec."""
    handled = previous(observation).get("handled") or {}
    found = []
    for kind in CommandKind:
        command = Command(kind, read_value(annotation(observation.body, kind), _NARROWED_BY.get(kind, ())))
        is_new = command.nonce and handled.get(command.field) != command.nonce
        if is_new and (kind is not CommandKind.TRIGGER or observation.plan is not None):
            found.append(command)
    return tuple(found)


def annotation(body: Mapping[str, Any], kind: CommandKind) -> str:
    """The value of the annotation ``kubesweep.dev/<kind>`` of a SweepSchedule; empty where it has none."""
    annotations = (body.get("metadata") or {}).get("annotations") or {}
    return str(annotations.get(f"{GROUP}/{kind}") or "")


def answers(before: Mapping[str, Any], results: Sequence[CommandResult], now: float) -> list[dict[str, Any]]:
    """``status.answers``: the latest answer of each command. ``before``: the status that was written last.

    It is written even if it is empty. A client must know that this controller reads filters, because one that does not
    would act on all rows.
    """
    entries = {each.get("command"): each for each in before.get("answers") or () if isinstance(each, Mapping)}
    entries |= {_answer_name(result.command.kind): _answer(result, now) for result in results}
    return [dict(entries[name]) for name in map(_answer_name, CommandKind) if name in entries]


def _answer_name(kind: CommandKind) -> str:
    """``retryDeadLetters`` in ``status.handled`` is ``RetryDeadLetters`` in ``status.answers``."""
    name = _FIELDS[kind]
    return name[0].upper() + name[1:]


def _answer(result: CommandResult, now: float) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "command": _answer_name(result.command.kind),
        "nonce": result.command.nonce,
        "outcome": "Refused" if result.reason is Reason.COMMAND_REFUSED else "Done",
        "reason": str(result.refusal or result.reason),
        "message": clip(result.message, MAX_TEXT),
        "time": time_text(int(now)),
    }
    if result.rows is not None:
        answer["rows"] = result.rows
    if result.sweep:
        answer["sweep"] = clip(result.sweep, 128)
    return answer
