"""Annotations that act: each value (nonce) is obeyed once and then echoed in status.handled.

An order is echoed after it was obeyed, so a crash between the two repeats it; each is written to bear that. A trigger is
a wish that the queue grants once under that name; an approval frees only the sweep that a person could have seen; a replay
finds nothing left to try; a purge forgets at most what died in that moment, and a later tick finds it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from kubesweep.queue.model import OpenResult, SweepRequest, SweepState
from kubesweep.queue.service import QueueService
from kubesweep_controller.status.conditions.build_conditions import suspended
from kubesweep_controller.status.conditions.reasons import Reason
from kubesweep_controller.status.formatting import GROUP, rows
from kubesweep_controller.status.history import previous
from kubesweep_controller.status.observation import Observation

__all__ = ["Command", "CommandKind", "CommandResult", "execute", "pending_commands"]

MAX_NONCE = 1024


class CommandKind(StrEnum):
    """The part of the annotation after ``kubesweep.dev/``, in the order in which they are obeyed."""

    PURGE = "purge-dead-letters"
    RETRY = "retry-dead-letters"
    APPROVE = "approve"
    TRIGGER = "trigger"


_FIELDS = {
    CommandKind.PURGE: "purgeDeadLetters",
    CommandKind.RETRY: "retryDeadLetters",
    CommandKind.APPROVE: "approve",
    CommandKind.TRIGGER: "trigger",
}


@dataclass(frozen=True)
class Command:
    kind: CommandKind
    nonce: str

    @property
    def field(self) -> str:
        """Its name in status.handled."""
        return _FIELDS[self.kind]


@dataclass(frozen=True)
class CommandResult:
    """What became of an order, for an Event."""

    command: Command
    reason: Reason
    sentence: str


def pending_commands(observation: Observation) -> tuple[Command, ...]:
    """The orders that were not obeyed yet. A trigger waits until the spec is valid; the others need no spec."""
    annotations = (observation.body.get("metadata") or {}).get("annotations") or {}
    handled = previous(observation).get("handled") or {}
    found = []
    for kind in CommandKind:
        nonce = _nonce(annotations, kind)
        command = Command(kind, nonce)
        if (
            nonce
            and handled.get(command.field) != nonce
            and (kind is not CommandKind.TRIGGER or observation.plan is not None)
        ):
            found.append(command)
    return tuple(found)


def _nonce(annotations: Mapping[str, object], kind: CommandKind) -> str:
    return str(annotations.get(f"{GROUP}/{kind}") or "")[:MAX_NONCE]


async def execute(queue: QueueService, observation: Observation, command: Command) -> CommandResult:
    """Carry out one order. Raises Outage: then it stays pending."""
    match command.kind:
        case CommandKind.TRIGGER:
            reason, sentence = await _trigger(queue, observation, command.nonce)
        case CommandKind.APPROVE:
            reason, sentence = await _approve(queue, observation)
        case CommandKind.RETRY:
            number = await queue.replay(observation.ref)
            reason, sentence = Reason.DEAD_LETTERS_RETRIED, f"{_are(number)} tried again"
        case CommandKind.PURGE:
            number = await queue.purge(observation.ref)
            reason = Reason.DEAD_LETTERS_PURGED
            sentence = f"{_are(number)} forgotten; a later sweep finds those that are still stale"
    return CommandResult(command, reason, sentence)


def _are(number: int) -> str:
    return f"{rows(number)} {'is' if number == 1 else 'are'}"


async def _trigger(queue: QueueService, observation: Observation, nonce: str) -> tuple[Reason, str]:
    if suspended(observation):
        return Reason.COMMAND_REFUSED, "not triggered: the schedule is suspended"
    if observation.plan is None:
        return Reason.COMMAND_REFUSED, "not triggered: the spec is refused"
    request = SweepRequest(
        tick=observation.now,
        plan=observation.plan.version,
        mode=observation.plan.mode,
        retention=observation.plan.retention,
        dedup_key=f"trigger/{nonce}",
    )
    opened = await queue.open_sweep(observation.ref, request)
    if opened.answer in (OpenResult.ENQUEUED, OpenResult.DUPLICATE) and opened.sweep:
        return Reason.TRIGGERED, f"sweep {opened.sweep} is started"
    if opened.answer is OpenResult.FORBIDDEN:
        return Reason.COMMAND_REFUSED, f"not triggered: sweep {opened.sweep} is not finished yet"
    return Reason.COMMAND_REFUSED, f"not triggered: the queue answers {opened.answer}"


async def _approve(queue: QueueService, observation: Observation) -> tuple[Reason, str]:
    seen = previous(observation).get("lastSweep") or {}
    latest = observation.stats.sweep if observation.stats is not None else None
    if seen.get("state") == SweepState.AWAITING_APPROVAL and latest is not None and latest.id != seen.get("id"):
        return Reason.COMMAND_REFUSED, f"nothing to approve: sweep {seen.get('id')} is over"
    sweep = await queue.approve(observation.ref, latest.id if latest is not None else None)
    if sweep is None:
        return Reason.COMMAND_REFUSED, "nothing to approve: no sweep is Held"
    return Reason.APPROVED, f"sweep {sweep} goes on, with the cutoff that it had"
