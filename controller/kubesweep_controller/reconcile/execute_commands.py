"""Executes commands: how an annotation such as ``kubesweep.dev/trigger`` becomes a sweep.

:mod:`kubesweep_controller.status.commands` finds the commands that are pending. A command counts as handled only after it was
executed, so a crash in between executes it twice. Each command tolerates that:

- trigger: the queue opens one sweep for the deduplication key ``trigger/VALUE``
- approve: releases only the sweep that the status showed to a person
- retry-dead-letters: the second run finds no dead letter left
- purge-dead-letters: the second run deletes at most what died in between, and a later sweep finds those rows again
- throttle: changes nothing by itself
"""

from __future__ import annotations

from typing import Protocol

from kubesweep.errors import SpecError
from kubesweep.queue.model import OpenResult, Pace, ScheduleRef, SweepRequest, SweepState, describe_rate
from kubesweep.queue.service import Opened
from kubesweep.scheduling import trigger_request
from kubesweep_controller.status.commands import Command, CommandKind, CommandResult
from kubesweep_controller.status.conditions.reasons import Reason
from kubesweep_controller.status.formatting import rows
from kubesweep_controller.status.history import previous
from kubesweep_controller.status.observation import Observation, suspended

__all__ = ["CommandQueue", "execute"]


class CommandQueue(Protocol):
    """The queue's operations that commands need."""

    async def open_sweep(self, ref: ScheduleRef, request: SweepRequest, /) -> Opened: ...

    async def approve(self, ref: ScheduleRef, sweep: str | None = None, /) -> str | None: ...

    async def replay(self, ref: ScheduleRef, /) -> int: ...

    async def purge(self, ref: ScheduleRef, /) -> int: ...


async def execute(queue: CommandQueue, observation: Observation, command: Command) -> CommandResult:
    """Execute one command. Raises ``Outage``: then the command stays pending."""
    match command.kind:
        case CommandKind.TRIGGER:
            reason, message = await _trigger(queue, observation, command.nonce)
        case CommandKind.APPROVE:
            reason, message = await _approve(queue, observation)
        case CommandKind.RETRY:
            number = await queue.replay(observation.ref)
            reason, message = Reason.DEAD_LETTERS_RETRIED, f"{_are(number)} being retried"
        case CommandKind.PURGE:
            number = await queue.purge(observation.ref)
            reason = Reason.DEAD_LETTERS_PURGED
            message = f"{_are(number)} forgotten; a later sweep finds those that are still stale"
        case CommandKind.THROTTLE:
            reason, message = _throttle(command.nonce)
    return CommandResult(command, reason, message)


def _throttle(value: str) -> tuple[Reason, str]:
    """The reconcile has set the pace already, see :mod:`.desired_pace`. This reports what it did with the value."""
    try:
        pace = Pace.of(None, value)
    except SpecError as problem:
        return Reason.COMMAND_REFUSED, f"the rate is unchanged: {problem}"
    return Reason.THROTTLED, f"the rate is {describe_rate(pace.rate)}, until the annotation changes or is removed"


def _are(number: int) -> str:
    return f"{rows(number)} {'is' if number == 1 else 'are'}"


async def _trigger(queue: CommandQueue, observation: Observation, nonce: str) -> tuple[Reason, str]:
    if suspended(observation):
        return Reason.COMMAND_REFUSED, "not triggered: the schedule is suspended"
    if observation.plan is None:
        return Reason.COMMAND_REFUSED, "not triggered: the spec is invalid"
    request = trigger_request(observation.plan, nonce, observation.now)
    opened = await queue.open_sweep(observation.ref, request)
    if opened.answer in (OpenResult.ENQUEUED, OpenResult.DUPLICATE) and opened.sweep:
        return Reason.TRIGGERED, f"sweep {opened.sweep} has started"
    if opened.answer is OpenResult.FORBIDDEN:
        return Reason.COMMAND_REFUSED, f"not triggered: sweep {opened.sweep} is not finished yet"
    return Reason.COMMAND_REFUSED, f"not triggered: the queue answers {opened.answer}"


async def _approve(queue: CommandQueue, observation: Observation) -> tuple[Reason, str]:
    seen = previous(observation).get("lastSweep") or {}
    latest = observation.stats.sweep if observation.stats is not None else None
    if seen.get("state") == SweepState.AWAITING_APPROVAL and latest is not None and latest.id != seen.get("id"):
        return Reason.COMMAND_REFUSED, f"nothing to approve: sweep {seen.get('id')} is over"
    sweep = await queue.approve(observation.ref, latest.id if latest is not None else None)
    if sweep is None:
        return Reason.COMMAND_REFUSED, "nothing to approve: no sweep is AwaitingApproval"
    return Reason.APPROVED, f"sweep {sweep} continues with its original cutoff"
