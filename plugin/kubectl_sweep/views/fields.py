"""Labels with texts below each other. On a terminal a long text continues below itself, in a pipe it stays on its line."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from kubesweep.text import printable
from kubesweep_cli.shell.terminal import Terminal

__all__ = ["show_fields"]

INDENT, GAP = 2, 2


def show_fields(terminal: Terminal, lines: Sequence[tuple[str, str | Text]]) -> None:
    """Print pairs of label and text. An empty label continues the line above."""
    width = max([cell_len(label) for label, _ in lines], default=0)
    if not terminal.out.is_terminal:
        for label, text in lines:
            shown = printable(text.plain if isinstance(text, Text) else text)
            terminal.line(f"{'':{INDENT}}{label:{width + GAP}}{shown}".rstrip())
        return
    table = Table.grid(padding=(0, GAP, 0, 0))
    table.add_column(no_wrap=True, style="faint", min_width=width)
    table.add_column(overflow="fold")
    for label, text in lines:
        table.add_row(label, text if isinstance(text, Text) else Text(text))
    terminal.show(Padding(table, (0, 0, 0, INDENT)))
