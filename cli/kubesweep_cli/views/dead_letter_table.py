"""Dead letters, and rows in retry, on the terminal: grouped by error, or each with its attempts."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from kubesweep.queue.model import DeadLetter, ErrorGroup, ScheduleRef, plain_key
from kubesweep_cli.shell.schedule_names import labels
from kubesweep_cli.shell.terminal import Terminal
from kubesweep_cli.views import formatting

__all__ = ["group_table", "show_letter"]


def group_table(found: Sequence[tuple[ScheduleRef, Sequence[ErrorGroup]]]) -> Table:
    """Dead letters by schedule and error, with sample keys and the latest message."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("schedule", no_wrap=True, overflow="fold")
    table.add_column("error", no_wrap=True)
    table.add_column("rows", justify="right")
    table.add_column("such as")
    table.add_column("latest message", ratio=1)
    names = labels([ref for ref, _ in found])
    for name, (_, groups) in zip(names, found, strict=True):
        for place, group in enumerate(groups):
            keys = ", ".join(plain_key(key) for key in group.samples)
            more = ", …" if group.count > len(group.samples) else ""
            table.add_row(
                Text(name if place == 0 else ""),
                Text(group.error, style="bad"),
                formatting.count(group.count),
                Text(keys + more),
                Text(group.message),
            )
    return table


def show_letter(terminal: Terminal, name: str, letter: DeadLetter) -> None:
    """One row of the schedule ``name`` with the history of its attempts, oldest first."""
    terminal.out.print(
        Text.assemble((name, "name"), "  key ", (plain_key(letter.key), "name"), "  ", (letter.error, "bad")),
        soft_wrap=True,
    )
    terminal.out.print(Text(f"  {letter.message}"), soft_wrap=True)
    if terminal.verbosity > 0 and (where := letter.attempts[-1].where):
        terminal.out.print(Text(f"  raised at {where}"), soft_wrap=True)
    for number, attempt in enumerate(letter.attempts, 1):
        at = formatting.clock_time(attempt.at, 0)
        terminal.out.print(
            Text(f"  attempt {number}  {at}  {attempt.error}: {attempt.message}", style="faint"), soft_wrap=True
        )
