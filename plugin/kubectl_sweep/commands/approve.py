"""``kubectl sweep approve``: shows what would be swept, asks, and approves exactly that sweep."""

from __future__ import annotations

import time

from kubectl_sweep.cluster.answers import Command, annotation_value, fresh_nonce, understands_filters
from kubectl_sweep.cluster.kinds import Ref
from kubectl_sweep.context import Context
from kubectl_sweep.views.fields import show_fields
from kubectl_sweep.views.proposal import proposal_lines
from kubectl_sweep.views.times import zone
from kubesweep.queue.model import Sweep, SweepState
from kubesweep.text import as_sentence
from kubesweep_cli.shell.exit_codes import Exit, NotFound
from kubesweep_console.documents import Schedule

__all__ = ["run_approve"]


def run_approve(context: Context, name: str, yes: bool, seconds: float) -> Exit:
    """``seconds``: to wait for the controller's answer. Raises NotFound where no sweep awaits approval."""
    ref = context.ref(name)
    schedule = Schedule(context.cluster.schedule(*ref))
    sweep = _waiting(context, ref, schedule)
    context.terminal.line(f"{ref}: a sweep awaits approval. Nothing was changed so far.")
    show_fields(context.terminal, proposal_lines(schedule, sweep, time.time(), zone(schedule)))
    if not context.terminal.confirms("Approve this sweep?", yes=yes):
        context.terminal.say("The sweep still waits; an edit of the match replaces it.")
        return Exit.FAILURE
    # An older controller approves only the sweep that its status showed.
    exactly = sweep.id if understands_filters(schedule.status) else ""
    nonce = fresh_nonce()
    context.cluster.annotate(ref, {Command.APPROVE.annotation: annotation_value(nonce, sweep=exactly)})
    answer = context.cluster.answer(ref, Command.APPROVE, nonce, seconds)
    if answer["outcome"] == "Refused":
        raise NotFound(
            f"{ref}: {as_sentence(answer.get('message') or 'the controller refused')}\nTo see the state:  {context.command('status', ref)}"
        )
    context.terminal.line(
        f"{ref}: {as_sentence(answer.get('message') or f'sweep {sweep.id} continues with its original cutoff')}"
    )
    context.terminal.say(f"To see its progress:  {context.command('status', ref)}")
    return Exit.CLEAN


def _waiting(context: Context, ref: Ref, schedule: Schedule) -> Sweep:
    last = schedule.last
    if last is None or last.state is not SweepState.AWAITING_APPROVAL:
        latest = "It was never swept." if last is None else f"Its latest sweep is {last.state}."
        raise NotFound(
            f"No sweep of {ref} awaits approval. {latest}\nTo see its state:  {context.command('status', ref)}"
        )
    return last
