"""``kubectl sweep trigger``: one sweep now, and with ``--wait`` its progress until it ends and no row of it is retried."""

from __future__ import annotations

import time
from collections.abc import Sequence

from kubectl_sweep.cluster.answers import HANDLED, Command, annotation_value, fresh_nonce
from kubectl_sweep.cluster.kinds import Ref
from kubectl_sweep.context import Context
from kubectl_sweep.views.progress import ended_sentence, open_progress
from kubesweep.errors import KubesweepError
from kubesweep.queue.model import Sweep, SweepState
from kubesweep.text import as_sentence
from kubesweep_cli.shell.exit_codes import Exit, NotFound, code_of_sweep
from kubesweep_console.documents import Schedule, text

__all__ = ["run_trigger"]

QUIET = 30.0  # seconds without news after which a hint is printed


class NotTriggered(KubesweepError):
    """The controller refused: exit code 1."""


def run_trigger(context: Context, names: Sequence[str], wait: bool, limit: float | None, seconds: float) -> Exit:
    """``limit``: seconds to wait for the end of a sweep; None: any. ``seconds``: to wait for the controller's answer."""
    started, worst = [], Exit.CLEAN
    for ref in map(context.ref, names):
        try:
            sweep = _trigger(context, ref, seconds)
        except (NotTriggered, NotFound) as error:
            if len(names) == 1:
                raise
            context.terminal.error(str(error))
            worst = Exit.FAILURE
            continue
        started.append((ref, sweep))
        context.terminal.line(
            f"{ref}: sweep {sweep} has started." if sweep else f"{ref}: the controller accepted the trigger."
        )
    for ref, sweep in started if wait else ():
        worst = max(worst, _follow(context, ref, sweep, limit))
    if started and not wait:
        context.terminal.say(f"To see its progress:  {context.command('status', started[-1][0])}")
    return worst


def _trigger(context: Context, ref: Ref, seconds: float) -> str:
    """The id of the sweep. Empty where an older controller does not tell it and none is seen yet."""
    before = Schedule(context.cluster.schedule(*ref))
    ready = before.condition("Ready")
    if ready.get("reason") == "InvalidSpec":
        # The controller keeps such a trigger until the spec is valid: a sweep at a moment that nobody expects.
        raise NotTriggered(f"{ref} is not triggered: its spec is invalid.\n{text(ready.get('message'))}")
    nonce = fresh_nonce()
    context.cluster.annotate(ref, {Command.TRIGGER.annotation: annotation_value(nonce)})
    answer = context.cluster.answer(ref, Command.TRIGGER, nonce, seconds)
    if answer["outcome"] == "Refused":
        raise NotTriggered(
            f"{ref}: {as_sentence(answer.get('message') or 'the controller refused')}\nTo see why:  {context.command('why', ref)}"
        )
    if answer["outcome"] != HANDLED:
        return str(answer.get("sweep") or "")
    return _new_sweep(context, ref, before, seconds)


def _new_sweep(context: Context, ref: Ref, before: Schedule, seconds: float) -> str:
    """The sweep that an older controller started for the trigger. Raises NotTriggered where none appears: it was refused."""
    known = {sweep.id for sweep in before.sweeps}
    for found in context.cluster.watch(ref, seconds):
        last = Schedule(found).last
        if last is not None and last.id not in known:
            return last.id
    raise NotTriggered(
        f"{ref}: the controller handled the trigger, and no sweep started. Another one may be running.\n"
        f"To see why:  kubectl events --for sweepschedule/{ref.name} -n {ref.namespace}"
    )


def _follow(context: Context, ref: Ref, sweep: str, limit: float | None) -> Exit:
    """Show the progress of a sweep until it ends. Ctrl-C and the limit leave it running."""
    until = None if limit is None else time.monotonic() + limit
    try:
        found = _until_ended(context, ref, sweep, until)
    except KeyboardInterrupt:
        context.terminal.say(f"The sweep goes on. To see its progress:  {context.command('status', ref)}")
        return Exit.INTERRUPTED
    if found is None:
        context.terminal.error(
            f"{ref}: sweep {sweep} has not ended within {limit:g} s. It goes on.\n"
            f"To see its progress:  {context.command('status', ref)}\nTo see what it waits for:  {context.command('why', ref)}"
        )
        return Exit.FAILURE
    context.terminal.line(f"{ref}: {ended_sentence(found)}")
    code = code_of_sweep(found)
    if found.state is SweepState.SUPERSEDED:
        code = Exit.FAILURE
    if code is not Exit.CLEAN:
        verb = "approve" if found.state is SweepState.AWAITING_APPROVAL else "why"
        context.terminal.say(
            f"{'To approve it' if verb == 'approve' else 'To see what to do'}:  {context.command(verb, ref)}"
        )
    return code


def _ended(sweep: Sweep) -> bool:
    """Nothing more happens by itself. Whether rows that are retried succeed decides whether a Completed sweep did."""
    if sweep.state is SweepState.COMPLETED:
        return not sweep.retrying
    return sweep.state.settled or sweep.state is SweepState.AWAITING_APPROVAL


def _until_ended(context: Context, ref: Ref, sweep: str, until: float | None) -> Sweep | None:
    """The sweep as it ended; None at the limit."""
    hinted, seen = False, False
    with open_progress(context.terminal, str(ref)) as progress:
        while until is None or time.monotonic() < until:
            left = QUIET if until is None else min(QUIET, until - time.monotonic())
            news = 0
            for found in context.cluster.watch(ref, max(left, 0.1)):
                schedule = Schedule(found)
                one = next((each for each in schedule.sweeps if each.id == sweep), None)
                if one is None and seen:
                    raise NotFound(f"{ref}: sweep {sweep} is no longer in the history, so how it ended is not known.")
                if one is not None and _ended(one):
                    return one
                seen = seen or one is not None
                news += 1
                progress.update(schedule, one, time.time())
            if news <= 1 and not hinted:  # what was listed, and nothing after it
                hinted = True
                progress.hint(
                    f"Nothing has changed for {QUIET:g} s. To see what the sweep waits for:  {context.command('why', ref)}"
                )
    return None
