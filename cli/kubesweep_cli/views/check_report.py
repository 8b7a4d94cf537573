"""The report of ``check`` on the terminal. What it says is in :mod:`kubesweep.check_report`; this adds colours and a layout."""

from __future__ import annotations

from textwrap import indent

from rich.padding import Padding
from rich.syntax import Syntax
from rich.table import Table as Grid
from rich.text import Text

from kubesweep.check_document import CheckDocument
from kubesweep.check_report import facts, found_by, result_text, statements, tried_text, warning_texts
from kubesweep_cli.shell.terminal import Terminal

__all__ = ["show", "show_title"]


def show_title(terminal: Terminal, name: str, origin: str, mode: str) -> None:
    """Which schedule the next lines are about. ``origin``: file and line; empty for one in a cluster."""
    title = Text.assemble((name, "name"), f"  {origin}" if origin else "", (f"  {mode}", "faint"))
    terminal.out.print(title, soft_wrap=True)


def show(terminal: Terminal, document: CheckDocument, *, sql: bool) -> None:
    """Print the report of a check that was completed. ``sql``: with the statements and the query plan."""
    grid = Grid.grid(padding=(0, 2))
    grid.add_column(style="faint", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in facts(document):
        grid.add_row(name, value)
    if document.tried is not None:
        grid.add_row("tried", Text(tried_text(document.tried), style="bad" if document.fails else "good"))
    terminal.show(Padding(grid, (0, 0, 0, 2), expand=False))
    if sql:
        _explain(terminal, document)
    for text in warning_texts(document):
        terminal.out.print(Text.assemble(("  ! ", "warn"), text), soft_wrap=True)
    style = "bad" if document.fails else "warn" if document.warnings else "good"
    terminal.out.print(Text.assemble(("  result  ", "faint"), (result_text(document), style)))


def _explain(terminal: Terminal, document: CheckDocument) -> None:
    if document.statements is None:
        return
    for title, sql in statements(document):
        _sql(terminal, title, sql)
    terminal.out.print(Text(f"\n  {found_by(document)}", style="faint"))
    terminal.out.print(Text(indent(document.statements.query_plan, "    ")), soft_wrap=True)
    terminal.out.print()


def _sql(terminal: Terminal, title: str, sql: str) -> None:
    terminal.out.print(Text(f"\n  {title}", style="faint"))
    if not terminal.out.is_terminal:
        terminal.out.print(Text(indent(sql, "    ")), soft_wrap=True)
        return
    code = Syntax(sql, "postgresql", theme="ansi_dark", background_color="default", word_wrap=True)
    terminal.out.print(Padding(code, (0, 0, 0, 4)))
