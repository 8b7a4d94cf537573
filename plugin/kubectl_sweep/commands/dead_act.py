"""``kubectl sweep dead retry`` and ``dead purge``: count, ask, set an annotation with a filter, and wait for the controller's answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubectl_sweep.cluster.answers import HANDLED, Command, fresh_nonce, understands_filters
from kubectl_sweep.cluster.kinds import Ref
from kubectl_sweep.context import Context
from kubectl_sweep.dead import reader
from kubectl_sweep.dead.choice import MAX_KEYS, Choice, count
from kubesweep.errors import KubesweepError, SpecError
from kubesweep.queue.model import SweepState
from kubesweep_cli.shell.exit_codes import Exit, NotFound
from kubesweep_cli.views import formatting
from kubesweep_console.documents import Schedule, mapping

__all__ = ["PURGE", "RETRY", "VERBS", "Verb", "run_act"]


@dataclass(frozen=True, slots=True)
class Verb:
    """``what``: what a question says it does. ``done``: what was done."""

    name: str
    command: Command
    what: str
    done: str
    refused: str


RETRY = Verb(
    "retry",
    Command.RETRY,
    "Try {rows} of {ref}{filter} again, with fresh attempts and the same idempotency keys",
    "will be tried again",
    "retried",
)
PURGE = Verb(
    "purge",
    Command.PURGE,
    "Purge {rows} of {ref}{filter} from the queue, so that the next sweep finds those that are still stale and repeats their effect",
    "purged from the queue; the next sweep finds those that are still stale",
    "purged",
)

VERBS = {verb.name: verb for verb in (RETRY, PURGE)}


def run_act(
    context: Context, verb: Verb, name: str, choice: Choice, *, all_: bool, yes: bool, dry_run: bool, timeout: float
) -> Exit:
    """Exit code 0: done; 1: nothing matched, the answer was no, or the controller refused; 3: no answer in time."""
    ref = context.ref(name)
    if all_ == bool(choice.options):
        raise SpecError(
            "ChoiceNeeded",
            "Choose the rows: --error CLASS, --key KEY, or --all alone for every dead letter of the schedule.\n"
            f"List them:  {context.command('dead list', ref)}",
        )
    schedule = context.cluster.schedule(ref.namespace, ref.name)
    rows = _counted(context, schedule, choice)
    if rows == 0:
        raise NotFound(
            f"{ref} has no dead letters{choice.options and f' that match{choice.options}'}.\nList what there is:  {context.command('dead list', ref)}"
        )
    text = verb.what.format(rows=formatting.rows(rows), ref=ref, filter=_filter(choice))
    if dry_run:
        context.terminal.line(f"Dry run: {formatting.rows(rows)} of {ref}{_filter(choice)} would be {verb.refused}.")
        return Exit.CLEAN
    if choice.options and not understands_filters(mapping(schedule.get("status"))):
        raise SpecError(
            "OldController",
            f"The controller or the CRD of {ref} is older than this command, and would act on all dead letters.\n"
            "Upgrade the release, or act on all of them with --all.",
        )
    if not context.terminal.confirms(f"{text}?", yes=yes):
        return Exit.FAILURE
    nonce = fresh_nonce()
    context.cluster.annotate(ref, {verb.command.annotation: choice.annotation(nonce)})
    last = Schedule(schedule).last
    blocked = last is not None and last.state is SweepState.AWAITING_APPROVAL
    return _report(context, verb, ref, context.cluster.answer(ref, verb.command, nonce, timeout), blocked=blocked)


def _counted(context: Context, schedule: Mapping[str, Any], choice: Choice) -> int:
    """By the status where it tells, else by the queue."""
    found = count(schedule, choice)
    if found is not None:
        return found
    letters = reader.read(context.cluster, context.terminal, schedule, choice, most=MAX_KEYS)
    return (
        letters.total
        or reader.read(context.cluster, context.terminal, schedule, choice, most=MAX_KEYS, retrying=True).total
    )


def _report(context: Context, verb: Verb, ref: Ref, answer: Mapping[str, Any], *, blocked: bool) -> Exit:
    outcome, rows = answer.get("outcome"), answer.get("rows")
    if outcome == "Refused":
        raise KubesweepError(f"The controller refused: {answer.get('message') or answer.get('reason')}")
    if outcome == HANDLED or not isinstance(rows, int):
        context.terminal.line(f"{ref}: done. The controller does not report the number of rows.")
        return Exit.CLEAN
    if rows == 0:
        raise NotFound(f"{ref}: no row matched any more, so none was {verb.refused}.")
    context.terminal.line(f"{ref}: {formatting.rows(rows)} {verb.done}.")
    if verb is RETRY and blocked:
        context.terminal.say(
            f"No worker tries them before the sweep that awaits approval is approved:  {context.command('approve', ref)}"
        )
    return Exit.CLEAN


def _filter(choice: Choice) -> str:
    parts = [f" with the error {choice.error}"] if choice.error else []
    if choice.keys:
        parts.append(f" with {'this key' if len(choice.keys) == 1 else f'these {len(choice.keys)} keys'}")
    return " and".join(parts)
