"""``kubectl sweep throttle``: the rate of a schedule, now. An annotation holds it, so it stays until it is reset."""

from __future__ import annotations

from kubectl_sweep.cluster.answers import Command, find_answer
from kubectl_sweep.cluster.errors import Unanswered
from kubectl_sweep.cluster.kinds import Ref
from kubectl_sweep.context import Context
from kubesweep.queue.model import Pace, describe_rate
from kubesweep_cli.shell.exit_codes import Exit, NotFound
from kubesweep_console.documents import Schedule

__all__ = ["run_throttle"]

RESET = "reset"
ANNOTATION = "Annotation"  # the reason of a throttle that a person set


def run_throttle(context: Context, name: str, rate: str, seconds: float) -> Exit:
    """Raises SpecError (BadThrottle) for a rate that is none, and Unanswered after ``seconds``."""
    pace = None if rate == RESET else Pace.of(None, rate)
    ref = context.ref(name)
    context.cluster.schedule(*ref)  # a wrong name is found before anything is written
    context.cluster.annotate(ref, {Command.THROTTLE.annotation: None if pace is None else rate})
    found = _until(context, ref, rate, seconds)
    if pace is not None:
        context.terminal.line(f"{ref}: the rate is {describe_rate(pace.rate)}, until it is reset.")
        context.terminal.say(f"To reset it to limits.rowsPerSecond:  {context.command('throttle', ref, 'reset')}")
        return Exit.CLEAN
    throttle = found.throttle
    why = f" {throttle.message[:1].upper()}{throttle.message[1:]}." if throttle is not None else ""
    context.terminal.line(f"{ref}: the rate is that of limits.rowsPerSecond again.{why}")
    return Exit.CLEAN


def _until(context: Context, ref: Ref, rate: str, seconds: float) -> Schedule:
    """Wait until the status shows the rate, which the controller gives to running workers."""
    for found in context.cluster.watch(ref, seconds):
        schedule = Schedule(found)
        throttle = schedule.throttle
        value = throttle.value if throttle is not None and throttle.reason == ANNOTATION else RESET
        if value == rate:
            return schedule
        answer = find_answer(schedule.status, Command.THROTTLE, rate)
        if answer is not None and answer["outcome"] == "Refused":
            raise NotFound(f"{ref}: {answer['message']}")
    raise Unanswered(
        f"The controller did not set the rate within {seconds:g} s. The annotation stays, so it still may.\n"
        f"To see why:  {context.command('why', ref)}"
    )
