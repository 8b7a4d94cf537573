"""Executes commands: how an annotation such as ``kubesweep.dev/trigger`` becomes a sweep.

:mod:`kubesweep_controller.status.commands` finds the commands that are pending. A command counts as handled only after it was
executed, so a crash in between executes it twice. Each command tolerates that, and its second answer is true as well:

- trigger: the queue opens one sweep for the deduplication key ``trigger/VALUE``, and answers with the same sweep
- approve: releases only the sweep that it names, or that the status showed to a person
- retry-dead-letters: the second run finds no dead letter left, and counts the rows that are being retried already
- purge-dead-letters: the second run deletes at most what died in between, and a later sweep finds those rows again
- throttle: changes nothing by itself
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from kubesweep.errors import SpecError
from kubesweep.queue.model import (
    DeadLetter,
    ErrorGroup,
    Key,
    OpenResult,
    Pace,
    RowState,
    ScheduleRef,
    Sweep,
    SweepRequest,
    SweepState,
    describe_rate,
)
from kubesweep.queue.service import Opened
from kubesweep.scheduling import trigger_request
from kubesweep_controller.status.command_values import MAX_KEYS
from kubesweep_controller.status.commands import Command, CommandKind, CommandResult, Refusal
from kubesweep_controller.status.conditions.reasons import Reason
from kubesweep_controller.status.formatting import rows
from kubesweep_controller.status.history import previous
from kubesweep_controller.status.observation import Observation, suspended

__all__ = ["CommandQueue", "execute"]

MAX_GROUPS = 1000  # error classes among the rows in retry


class CommandQueue(Protocol):
    """The queue's operations that commands need."""

    async def open_sweep(self, ref: ScheduleRef, request: SweepRequest, /) -> Opened: ...

    async def approve(self, ref: ScheduleRef, sweep: str | None = None, /) -> str | None: ...

    async def replay(self, ref: ScheduleRef, /, *, error: str | None, keys: Sequence[Key] | None) -> int: ...

    async def purge(self, ref: ScheduleRef, /, *, error: str | None, keys: Sequence[Key] | None) -> int: ...

    async def error_groups(
        self, ref: ScheduleRef, most: int = ..., /, *, state: RowState | None
    ) -> tuple[ErrorGroup, ...]: ...

    async def dead_letters(
        self, ref: ScheduleRef, /, *, error: str | None, keys: Sequence[Key] | None, most: int, state: RowState | None
    ) -> tuple[DeadLetter, ...]: ...


BLOCKED = "due for another attempt, which no worker starts before the sweep that awaits approval is approved"


async def execute(queue: CommandQueue, observation: Observation, command: Command) -> CommandResult:
    """Execute one command. Raises ``Outage``: then the command stays pending."""
    if problem := command.value.problem:
        sentence = f"nothing was done, because the value is invalid: {problem}; then set it again with another nonce"
        return _refused(command, Refusal.INVALID_VALUE, sentence)
    match command.kind:
        case CommandKind.TRIGGER:
            return await _trigger(queue, observation, command)
        case CommandKind.APPROVE:
            return await _approve(queue, observation, command)
        case CommandKind.RETRY:
            return await _retry(queue, observation, command)
        case CommandKind.PURGE:
            return await _purge(queue, observation.ref, command)
        case CommandKind.THROTTLE:
            return _throttle(command)


def _refused(command: Command, why: Refusal, message: str, sweep: str | None = None) -> CommandResult:
    return CommandResult(command, Reason.COMMAND_REFUSED, message, refusal=why, sweep=sweep)


def _throttle(command: Command) -> CommandResult:
    """The reconcile has set the pace already, see :mod:`.desired_pace`. This reports what it did with the value."""
    try:
        pace = Pace.of(None, command.nonce)
    except SpecError as problem:
        return _refused(command, Refusal.INVALID_VALUE, f"the rate is unchanged: {problem}")
    sentence = f"the rate is {describe_rate(pace.rate)}, until the annotation changes or is removed"
    return CommandResult(command, Reason.THROTTLED, sentence)


async def _retry(queue: CommandQueue, observation: Observation, command: Command) -> CommandResult:
    value, ref = command.value, observation.ref
    number = await queue.replay(ref, error=value.error, keys=value.keys)
    if number:
        blocked = observation.stats is not None and observation.stats.retries_blocked
        sentence = f"{_are(number)} {BLOCKED if blocked else 'being retried'}"
    else:
        already = await _in_retry(queue, ref, command)
        sentence = f"{_none_left(command)} to retry"
        sentence += f"; {_are(already)} being retried already" if already else ""
    return CommandResult(command, Reason.DEAD_LETTERS_RETRIED, sentence, rows=number)


async def _in_retry(queue: CommandQueue, ref: ScheduleRef, command: Command) -> int:
    value = command.value
    if value.keys is None:
        groups = await queue.error_groups(ref, MAX_GROUPS, state=RowState.RETRYING)
        return sum(group.count for group in groups if value.error in (None, group.error))
    found = await queue.dead_letters(ref, error=value.error, keys=value.keys, most=MAX_KEYS, state=RowState.RETRYING)
    return len(found)


async def _purge(queue: CommandQueue, ref: ScheduleRef, command: Command) -> CommandResult:
    number = await queue.purge(ref, error=command.value.error, keys=command.value.keys)
    forgotten = f"{_are(number)} forgotten; a later sweep finds those that are still stale"
    sentence = forgotten if number else f"{_none_left(command)} to purge"
    return CommandResult(command, Reason.DEAD_LETTERS_PURGED, sentence, rows=number)


def _none_left(command: Command) -> str:
    narrowed = command.value.error is not None or command.value.keys is not None
    return f"no dead letter {'with these keys or this error ' if narrowed else ''}is left"


def _are(number: int) -> str:
    return f"{rows(number)} {'is' if number == 1 else 'are'}"


async def _trigger(queue: CommandQueue, observation: Observation, command: Command) -> CommandResult:
    if suspended(observation):
        return _refused(command, Refusal.SUSPENDED, "not triggered: the schedule is suspended")
    if observation.plan is None:
        return _refused(command, Refusal.INVALID_SPEC, "not triggered: the spec is invalid")
    request = trigger_request(observation.plan, command.nonce, observation.now)
    opened = await queue.open_sweep(observation.ref, request)
    if opened.answer in (OpenResult.ENQUEUED, OpenResult.DUPLICATE) and opened.sweep:
        return CommandResult(command, Reason.TRIGGERED, f"sweep {opened.sweep} has started", sweep=opened.sweep)
    if opened.answer is OpenResult.FORBIDDEN:
        sentence = f"not triggered: sweep {opened.sweep} is not finished yet"
        return _refused(command, Refusal.SWEEP_RUNNING, sentence, opened.sweep)
    return _refused(command, Refusal.NOT_OPENED, f"not triggered: the queue answers {opened.answer}")


async def _approve(queue: CommandQueue, observation: Observation, command: Command) -> CommandResult:
    latest = observation.stats.sweep if observation.stats is not None else None
    expected = command.value.sweep or _shown(observation)
    if expected is not None and latest is not None and latest.id != expected:
        return _another_sweep(command, expected, latest)
    sweep = await queue.approve(observation.ref, expected or (latest.id if latest is not None else None))
    if sweep is not None:
        sentence = f"sweep {sweep} continues with its original cutoff"
        return CommandResult(command, Reason.APPROVED, sentence, sweep=sweep)
    if expected is not None and latest is not None and latest.approved is not None:
        sentence = f"sweep {expected} was approved already"  # by this command, if the controller crashed after it
        return CommandResult(command, Reason.APPROVED, sentence, sweep=expected)
    sentence = "nothing to approve: no sweep is AwaitingApproval"
    return _refused(command, Refusal.NOTHING_TO_APPROVE, sentence, latest.id if latest is not None else None)


def _shown(observation: Observation) -> str | None:
    """The sweep that the status shows as AwaitingApproval: the one that a person approves who names none."""
    shown = previous(observation).get("lastSweep") or {}
    return str(shown.get("id")) if shown.get("state") == SweepState.AWAITING_APPROVAL else None


def _another_sweep(command: Command, expected: str, latest: Sweep) -> CommandResult:
    if latest.state is not SweepState.AWAITING_APPROVAL:
        sentence = f"nothing to approve: sweep {expected} is over, or unknown"
        return _refused(command, Refusal.NOTHING_TO_APPROVE, sentence, latest.id)
    sentence = (
        f"nothing was approved: sweep {expected} is over, or unknown; sweep {latest.id} is AwaitingApproval: see what "
        "it found, then approve that one"
    )
    return _refused(command, Refusal.ANOTHER_SWEEP, sentence, latest.id)
