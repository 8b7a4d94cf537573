"""Commands: annotations that act once per value. Pure: which ones are pending, and what became of them.

A person sets ``kubesweep.dev/trigger=VALUE`` (docs/conditions.md has all of them). The value is the command's nonce. After the
controller has executed the command (:mod:`kubesweep_controller.reconcile.execute_commands`) it writes the nonce to
``status.handled``, so the same value never acts again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kubesweep_controller.status.conditions.reasons import Reason
from kubesweep_controller.status.formatting import GROUP
from kubesweep_controller.status.history import previous
from kubesweep_controller.status.observation import Observation

__all__ = ["Command", "CommandKind", "CommandResult", "annotation", "pending_commands"]

MAX_NONCE = 1024  # characters


class CommandKind(StrEnum):
    """The part of the annotation after ``kubesweep.dev/``, in the order of execution."""

    PURGE = "purge-dead-letters"
    RETRY = "retry-dead-letters"
    APPROVE = "approve"
    TRIGGER = "trigger"
    THROTTLE = "throttle"  # also a state: it holds as long as the annotation exists (reconcile/desired_pace.py)


_FIELDS = {
    CommandKind.PURGE: "purgeDeadLetters",
    CommandKind.RETRY: "retryDeadLetters",
    CommandKind.APPROVE: "approve",
    CommandKind.TRIGGER: "trigger",
    CommandKind.THROTTLE: "throttle",
}


@dataclass(frozen=True)
class Command:
    kind: CommandKind
    nonce: str

    @property
    def field(self) -> str:
        """Its name in ``status.handled``."""
        return _FIELDS[self.kind]


@dataclass(frozen=True)
class CommandResult:
    """What became of a command, for an Event."""

    command: Command
    reason: Reason
    message: str


def pending_commands(observation: Observation) -> tuple[Command, ...]:
    """The commands that were not executed yet. A trigger stays pending until the spec is valid; the others need no spec."""
    handled = previous(observation).get("handled") or {}
    found = []
    for kind in CommandKind:
        command = Command(kind, annotation(observation.body, kind))
        is_new = command.nonce and handled.get(command.field) != command.nonce
        if is_new and (kind is not CommandKind.TRIGGER or observation.plan is not None):
            found.append(command)
    return tuple(found)


def annotation(body: Mapping[str, Any], kind: CommandKind) -> str:
    """The value of the annotation ``kubesweep.dev/<kind>`` of a SweepSchedule; empty where it has none."""
    annotations = (body.get("metadata") or {}).get("annotations") or {}
    return str(annotations.get(f"{GROUP}/{kind}") or "")[:MAX_NONCE]
