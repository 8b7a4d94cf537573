"""``kubesweep approve``: show what a sweep would do, and let it continue."""

from __future__ import annotations

import sys
from typing import Any

from kubesweep.proposal import proposal_lines
from kubesweep.queue.model import ScheduleRef, Sweep, SweepState
from kubesweep.timestamps import parse_time
from kubesweep_cli.shell.exit_codes import Exit, NotFound
from kubesweep_cli.shell.known_files import run_again
from kubesweep_cli.shell.open_queue import open_queue
from kubesweep_cli.shell.output import TABLE, answer, check_output, print_document, structured
from kubesweep_cli.shell.schedule_names import find, label, typed_name
from kubesweep_cli.shell.state_paths import program, queue_option, queue_url
from kubesweep_cli.shell.terminal import Terminal
from kubesweep_cli.views.formatting import local_time

__all__ = ["run_approve"]


async def run_approve(
    terminal: Terminal,
    option: str | None,
    name: str,
    namespace: str | None,
    *,
    yes: bool = False,
    output: str = TABLE,
) -> Exit:
    """Approve the sweep of a schedule that waits for it, and no other: what is shown is what is approved.

    Only on a terminal it asks, and only for a result that people read. A script has named the schedule that it means, and may look at
    ``status -o json`` before.
    """
    check_output(output)
    url = queue_url(option)
    async with open_queue(url) as queue:
        ref = find(await queue.schedules(), name, namespace, url)
        (stats,) = await queue.stats([ref])
    waiting = stats.sweep if stats.sweep and stats.sweep.state is SweepState.AWAITING_APPROVAL else None
    if waiting is not None and not structured(output):
        _show(terminal, ref, waiting)
        asks = not yes and sys.stdin.isatty() and terminal.out.is_terminal
        if asks and not terminal.agrees("Approve this sweep?"):
            terminal.say("Nothing was approved.")
            return Exit.FAILURE
    sweep = None
    if waiting is not None:
        async with open_queue(url) as queue:
            sweep = await queue.approve(ref, waiting.id)
    if structured(output):
        print_document(terminal, output, [_document(ref, sweep)])
        return Exit.FAILURE if sweep is None else Exit.CLEAN
    if sweep is None:
        raise _nothing_waits(ref, option, full=namespace is not None)
    terminal.line(f"{label(ref)}: sweep {sweep} continues, with the same cutoff.")
    terminal.next_steps([run_again(url, [ref], option)])
    return Exit.CLEAN


def _document(ref: ScheduleRef, sweep: str | None) -> dict[str, Any]:
    if sweep is None:
        why = "no sweep waits for approval"
        return answer(ref.namespace, ref.name, "Approve", "NothingToApprove", why, refused=True)
    sentence = f"sweep {sweep} continues, with the same cutoff"
    return answer(ref.namespace, ref.name, "Approve", "Approved", sentence, sweep=sweep)


def _nothing_waits(ref: ScheduleRef, option: str | None, *, full: bool) -> NotFound:
    return NotFound(
        f"No sweep of {label(ref)} waits for approval.\n"
        f"Its status:  {program()} status {typed_name(ref, full=full)}{queue_option(option)}"
    )


def _show(terminal: Terminal, ref: ScheduleRef, sweep: Sweep) -> None:
    terminal.line(f"{label(ref)}: the sweep of {local_time(sweep.tick)} awaits approval")
    for what, text in proposal_lines(sweep, _local):
        terminal.line(f"  {what:<9}{text}")


def _local(text: str) -> str:
    moment = parse_time(text)
    return text if moment is None else local_time(moment)
