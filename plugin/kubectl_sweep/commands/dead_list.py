"""``kubectl sweep dead list`` and ``dead show``. The list comes from the status, single dead letters from the schedule's namespace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from kubectl_sweep.cluster.kinds import Ref
from kubectl_sweep.context import Context
from kubectl_sweep.dead import reader
from kubectl_sweep.dead.choice import Choice, total
from kubectl_sweep.dead.letters_document import Letters
from kubectl_sweep.views import documents
from kubesweep.queue.model import ErrorGroup, ScheduleRef
from kubesweep_cli.shell.exit_codes import Exit, NotFound
from kubesweep_cli.views import formatting
from kubesweep_cli.views.dead_letter_table import group_table, show_letter
from kubesweep_console.cluster_documents import error_groups

__all__ = ["run_list", "run_show"]

Schedule = Mapping[str, Any]


def run_list(context: Context, names: Sequence[str], choice: Choice, output: str) -> Exit:
    """One line for each schedule and error. The exit code is 0 whether there are any or not."""
    documents.check_output(output, ("json", "yaml"))
    schedules = _schedules(context, names)
    found = [(each, groups) for each in schedules if (groups := choice.selected(error_groups(each)))]
    if output:
        items = [_document(schedule, groups) for schedule, groups in found]
        documents.show(context.terminal, {"kind": "DeadLetterGroups", "items": items}, output)
        return Exit.CLEAN
    if not found:
        context.terminal.line(f"No dead letters{_of_error(choice)} {_where(context, names)}.")
        return Exit.CLEAN
    rows = [(_ref(schedule), groups) for schedule, groups in found]
    context.terminal.show(group_table(rows, context.terminal.out.width))
    _say_incomplete(context, found, choice)
    first = Ref(found[0][0]["metadata"]["namespace"], found[0][0]["metadata"]["name"])
    context.terminal.next_steps(
        [
            (context.command("dead show", first), "show each row with the history of its attempts"),
            (
                context.command("dead retry", first, "--all"),
                "after the fix: try them again, with the same idempotency keys",
            ),
            (
                context.command("dead purge", first, "--all"),
                "remove them from the queue: the next sweep finds the rows again",
            ),
        ]
    )
    return Exit.CLEAN


def run_show(context: Context, name: str, choice: Choice, *, most: int, retrying: bool, output: str) -> Exit:
    """Each dead letter with its attempts, newest first. Exit code 1 if there is none."""
    documents.check_output(output, ("json", "yaml"))
    ref = context.ref(name)
    schedule = context.cluster.schedule(ref.namespace, ref.name)
    letters = reader.read(context.cluster, context.terminal, schedule, choice, most=most, retrying=retrying)
    if output:
        documents.show(context.terminal, letters.document, output)
        return Exit.CLEAN if letters.letters else Exit.FAILURE
    if not letters.letters:
        what = "rows in retry" if retrying else "dead letters"
        raise NotFound(
            f"{ref} has no {what}{_that_match(choice)}.\nList what there is:  {context.command('dead list', ref)}"
        )
    _show(context, str(ref), letters, most)
    return Exit.CLEAN


def _show(context: Context, label: str, letters: Letters, most: int) -> None:
    for letter in letters.letters:
        show_letter(context.terminal, label, letter)
    if letters.total > len(letters.letters) or len(letters.letters) == most:
        context.terminal.say(f"These are the newest {len(letters.letters)}; --most N shows more.")


def _schedules(context: Context, names: Sequence[str]) -> list[Schedule]:
    if names:
        refs = [context.ref(name) for name in names]
        return [context.cluster.schedule(ref.namespace, ref.name) for ref in refs]
    return list(context.cluster.schedules(None if context.options.all_namespaces else context.cluster.namespace))


def _say_incomplete(context: Context, found: Sequence[tuple[Schedule, Sequence[ErrorGroup]]], choice: Choice) -> None:
    """The status has the largest groups only."""
    for schedule, groups in found:
        missing = total(schedule) - sum(each.count for each in groups)
        if not choice.error and missing > 0:
            name = schedule["metadata"]["name"]
            context.terminal.out.print(
                Text(f"{name}: {formatting.rows(missing)} more of other errors; dead show has them.", style="faint"),
                soft_wrap=True,
            )


def _document(schedule: Schedule, groups: Sequence[ErrorGroup]) -> dict[str, Any]:
    meta, status = schedule["metadata"], schedule.get("status") or {}
    errors = {each.error for each in groups}
    return {
        "namespace": meta["namespace"],
        "name": meta["name"],
        "uid": meta["uid"],
        "dead": total(schedule),
        "countedTime": status.get("countedTime"),
        "errors": [each for each in status.get("errors") or () if each.get("error") in errors],
    }


def _ref(schedule: Schedule) -> ScheduleRef:
    meta = schedule["metadata"]
    return ScheduleRef("", meta["namespace"], meta["name"], meta.get("uid", ""))


def _of_error(choice: Choice) -> str:
    return f" with the error {choice.error}" if choice.error else ""


def _that_match(choice: Choice) -> str:
    return f" that match{choice.options}" if choice.options else ""


def _where(context: Context, names: Sequence[str]) -> str:
    if names:
        return f"of {', '.join(names)}"
    return "in any namespace" if context.options.all_namespaces else f"in namespace {context.cluster.namespace}"
