"""``kubesweep history``: the past sweeps of a schedule, with what became of their rows."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from kubesweep.logging import safe_url
from kubesweep.queue.model import ScheduleRef, Sweep
from kubesweep.queue.service import stats_of_each
from kubesweep_cli.shell.exit_codes import Exit
from kubesweep_cli.shell.open_queue import open_queue
from kubesweep_cli.shell.output import LISTS, WIDE, check_output, print_document, structured
from kubesweep_cli.shell.schedule_names import find, label, labels
from kubesweep_cli.shell.state_paths import queue_url
from kubesweep_cli.shell.terminal import Terminal
from kubesweep_cli.views import formatting
from kubesweep_cli.views.listing import Column, listing
from kubesweep_cli.views.result_table import WIDE as WIDE_WIDTH
from kubesweep_cli.views.result_table import outcome_cells, shown_columns, state_text
from kubesweep_cli.views.status_document import past_sweep

__all__ = ["run_history"]


async def run_history(
    terminal: Terminal, option: str | None, name: str | None, namespace: str | None, limit: int, output: str
) -> Exit:
    """The latest sweep first, at most ``limit`` of each schedule. The queue keeps the latest and ten before it."""
    url = queue_url(option)
    check_output(output, LISTS)
    async with open_queue(url) as queue:
        known = await queue.schedules()
        if name:
            refs: Sequence[ScheduleRef] = [find(known, name, namespace, url)]
        else:
            refs = [ref for ref in known if namespace in (None, ref.namespace)]
        stats = await stats_of_each(queue, refs)
    for ref, one in zip(refs, stats, strict=True):
        if one.damage:
            terminal.warn(f"{label(ref)}: {one.damage}")
    found = [(ref, sweep) for ref, one in zip(refs, stats, strict=True) for sweep in one.sweeps[:limit]]
    if structured(output):
        document = [{"namespace": ref.namespace, "name": ref.name, **past_sweep(sweep)} for ref, sweep in found]
        print_document(terminal, output, document)
        return Exit.CLEAN
    if not found:
        about = f" of {name}" if name else ""
        terminal.line(f"The queue {safe_url(url)} has no sweep{about} yet.")
        return Exit.CLEAN
    _show(terminal, found, wide=output == WIDE)
    return Exit.CLEAN


def _show(terminal: Terminal, found: Sequence[tuple[ScheduleRef, Sweep]], *, wide: bool) -> None:
    width = terminal.out.width
    shown = shown_columns([sweep for _, sweep in found], narrow=not wide and width < WIDE_WIDTH)
    columns = [
        Column("schedule", flexible=True),
        Column("tick", below=True),
        Column("state", below=True),
        Column("took", below=True),
        *(Column(each, number=True) for each in shown),
        *([Column("sweep"), Column("cutoff")] if wide else []),
    ]
    rows = []
    names = dict(zip({ref: None for ref, _ in found}, labels(list({ref: None for ref, _ in found})), strict=True))
    for ref, sweep in found:
        more = [Text(sweep.id), Text(formatting.cutoff_time(sweep.cutoff))] if wide else []
        tick = Text(formatting.local_time(sweep.tick))
        rows.append(
            [Text(names[ref]), tick, state_text(sweep), Text(_took(sweep)), *outcome_cells(sweep, shown), *more]
        )
    terminal.show(listing(columns, rows, width))
    for ref, sweep in found:
        if sweep.reason:
            reason = f"{sweep.reason}: {sweep.message}" if sweep.message else sweep.reason
            terminal.warn(f"  {names[ref]}, {formatting.local_time(sweep.tick)}: {reason}")


def _took(sweep: Sweep) -> str:
    """From its start to its end; empty while it is not over."""
    if not sweep.finished or not sweep.started:
        return ""
    return formatting.duration(sweep.finished - sweep.started)
