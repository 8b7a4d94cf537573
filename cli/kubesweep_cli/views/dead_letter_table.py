"""Dead letters, and rows in retry, on the terminal: grouped by error, or each with its attempts."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from kubesweep.queue.model import DeadLetter, ErrorGroup, ScheduleRef, plain_key
from kubesweep_cli.shell.schedule_names import labels
from kubesweep_cli.shell.terminal import Terminal
from kubesweep_cli.views import formatting
from kubesweep_cli.views.listing import Column, listing

__all__ = ["group_table", "show_letter"]


def group_table(found: Sequence[tuple[ScheduleRef, Sequence[ErrorGroup]]], width: int) -> RenderableType:
    """Dead letters by schedule and error, with sample keys and the latest message."""
    columns = [
        Column("schedule", flexible=True),
        Column("error", below=True),
        Column("rows", number=True),
        Column("such as", flexible=True),
        Column("latest message", flexible=True),
    ]
    rows = []
    names = labels([ref for ref, _ in found])
    for name, (_, groups) in zip(names, found, strict=True):
        for group in groups:
            keys = ", ".join(plain_key(key) for key in group.samples)
            more = ", …" if group.count > len(group.samples) else ""
            error, count = Text(group.error, style="bad"), Text(formatting.count(group.count))
            rows.append((Text(name), error, count, Text(keys + more), Text(group.message)))
    return listing(columns, rows, width)


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
        at = formatting.local_time(attempt.at)
        terminal.out.print(
            Text(f"  attempt {number}  {at}  {attempt.error}: {attempt.message}", style="faint"), soft_wrap=True
        )
