"""A table that stays readable on a narrow terminal: it moves columns below the first one, then becomes a block for each row.

A column is never narrower than its longest entry, except for flexible ones, which wrap at words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

__all__ = ["Column", "listing"]

LEAST = 16  # columns of a flexible column
_GAP = 2  # columns between two columns, and one at each edge


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    number: bool = False  # aligned to the right
    below: bool = False  # moves below the first column where the table is too wide
    flexible: bool = False  # may wrap
    footer: str = ""
    keeps_lines: bool = False  # flexible, but the lines below its first one do not wrap


def listing(columns: Sequence[Column], rows: Sequence[Sequence[Text]], width: int) -> RenderableType:
    """The widest layout that fits ``width``. The first column is the name of a row. An empty cell is left out of a block."""
    if _needed(columns, rows) <= width:
        return _table(columns, rows)
    kept = [place for place, column in enumerate(columns) if not column.below]
    if len(kept) < len(columns):
        merged = [_merged(columns, row, kept) for row in rows]
        narrow = [replace(columns[0], keeps_lines=True), *(columns[place] for place in kept[1:])]
        if _needed(narrow, merged) <= width:
            return _table(narrow, merged)
    return _blocks(columns, rows)


def _needed(columns: Sequence[Column], rows: Sequence[Sequence[Text]]) -> int:
    return sum(_width(column, [row[place] for row in rows]) + _GAP for place, column in enumerate(columns)) + 1


def _width(column: Column, cells: Sequence[Text]) -> int:
    lines = [[line.cell_len for line in cell.split("\n")] for cell in cells]
    longest = max((length for cell in lines for length in cell), default=0)
    if column.flexible:
        below = [length for cell in lines for length in cell[1:]] if column.keeps_lines else []
        longest = max([min(longest, LEAST), *below])
    return max(len(column.name), len(column.footer), longest)


def _merged(columns: Sequence[Column], row: Sequence[Text], kept: Sequence[int]) -> list[Text]:
    """The row with the cells of the columns ``below`` under its name."""
    head = row[0].copy()
    for place, column in enumerate(columns):
        if column.below and row[place].plain:
            head.append("\n  ").append_text(row[place])
    return [head, *(row[place] for place in kept[1:])]


def _table(columns: Sequence[Column], rows: Sequence[Sequence[Text]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold", footer_style="bold")
    table.show_footer = any(column.footer for column in columns)
    for place, column in enumerate(columns):
        table.add_column(
            column.name,
            footer=column.footer,
            justify="right" if column.number else "left",
            no_wrap=not column.flexible,
            overflow="fold",
            min_width=_width(column, [row[place] for row in rows]),
        )
    for row in rows:
        table.add_row(*row)
    return table


def _blocks(columns: Sequence[Column], rows: Sequence[Sequence[Text]]) -> RenderableType:
    parts: list[RenderableType] = [Text()]
    for row in rows:
        title = row[0].copy()
        title.stylize("bold")
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(style="faint", no_wrap=True)
        grid.add_column(overflow="fold")
        for column, cell in zip(columns[1:], row[1:], strict=True):
            if cell.plain:
                grid.add_row(column.name, cell)
        parts += [title, Padding(grid, (0, 0, 0, 2), expand=False), Text()]
    totals = [f"{column.name} {column.footer}" for column in columns[1:] if column.footer]
    if totals:
        parts += [Text(columns[0].footer, style="bold"), Text(f"  {', '.join(totals)}"), Text()]
    return Group(*parts)
