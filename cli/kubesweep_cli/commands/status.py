"""``kubesweep status``."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from kubesweep.errors import SpecError
from kubesweep.logging import safe_url
from kubesweep.queue.model import ScheduleRef, Stats, SweepState
from kubesweep_cli.shell.exit_codes import Exit
from kubesweep_cli.shell.open_queue import open_queue
from kubesweep_cli.shell.schedule_names import find, label, labels, typed_name
from kubesweep_cli.shell.state_paths import namespace_option, program, queue_option, queue_url
from kubesweep_cli.shell.terminal import Terminal
from kubesweep_cli.views.status_document import status_document
from kubesweep_cli.views.status_table import status_notes, status_table

__all__ = ["run_status"]


async def run_status(
    terminal: Terminal, option: str | None, name: str | None, namespace: str | None, output: str
) -> Exit:
    """Print a table, or JSON with ``-o json``."""
    if output not in ("table", "json"):
        raise SpecError("BadOutput", f"-o {output}: unknown output format.\nWrite -o table or -o json.")
    url = queue_url(option)
    async with open_queue(url) as queue:
        known = await queue.schedules()
        refs = [find(known, name, namespace, url)] if name else [r for r in known if namespace in (None, r.namespace)]
        stats = await queue.stats(refs) if refs else ()
    if output == "json":
        terminal.line(json.dumps(status_document(refs, stats, time.time())))
        return Exit.CLEAN
    if not refs:
        terminal.line(f"The queue {safe_url(url)} has no schedule yet.")
        terminal.next_steps([(f"{program()} run -f FILE{queue_option(option)}", "run a sweep")])
        return Exit.CLEAN
    terminal.show(status_table(refs, stats, time.time(), width=terminal.out.width))
    for shown, one in zip(labels(refs), stats, strict=True):
        for note in status_notes(one, time.time()):
            terminal.warn(f"  {shown}: {note}")
    terminal.next_steps(_next_steps(option, namespace, refs, stats))
    return Exit.CLEAN


def _next_steps(
    option: str | None, namespace: str | None, refs: Sequence[ScheduleRef], stats: Sequence[Stats]
) -> list[tuple[str, str]]:
    steps = []
    for ref, one in zip(refs, stats, strict=True):
        if one.sweep is not None and one.sweep.state is SweepState.AWAITING_APPROVAL:
            command = f"{program()} approve {typed_name(ref)}{queue_option(option)}"
            steps.append((command, f"let the sweep of {label(ref)} continue"))
    if any(one.dead for one in stats):
        command = f"{program()} dead list{namespace_option(namespace)}{queue_option(option)}"
        steps.append((command, "list the dead letters, grouped by error"))
    return steps
