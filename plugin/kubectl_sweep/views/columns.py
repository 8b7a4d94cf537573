"""A table as kubectl prints it: aligned columns without lines. On a narrow terminal the least important columns are left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.segment import Segment, Segments
from rich.style import Style

from kubesweep.text import printable
from kubesweep_cli.shell.terminal import Terminal

__all__ = ["Cell", "Column", "Layout", "layout_of", "show_rows", "width_of"]

GAP = 3  # columns of space, as kubectl


class Column(NamedTuple):
    """``rank``: on a narrow terminal columns with the highest ranks are left out first; 0: never."""

    title: str
    rank: int = 0


class Cell(NamedTuple):
    text: str
    style: str = ""


class Layout(NamedTuple):
    """Which columns are shown, by their places, and how wide each is."""

    columns: tuple[Column, ...]
    shown: tuple[int, ...]
    widths: tuple[int, ...]

    def header(self) -> Iterator[tuple[str, str]]:
        return self.line([Cell(column.title, "bold") for column in self.columns])

    def line(self, cells: Sequence[Cell]) -> Iterator[tuple[str, str]]:
        """Pairs of a text and a style."""
        for place in self.shown:
            cell = cells[place]
            shown = printable(cell.text)
            yield shown, cell.style
            if place != self.shown[-1]:
                yield " " * (max(0, self.widths[place] - cell_len(shown)) + GAP), ""


def layout_of(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int | None) -> Layout:
    """``width`` None: no limit, as in a pipe, where every column is always there."""
    widths = tuple(
        max([cell_len(column.title), *(cell_len(printable(row[place].text)) for row in rows)])
        for place, column in enumerate(columns)
    )
    shown = list(range(len(columns)))
    while width is not None and sum(widths[place] + GAP for place in shown) - GAP > width:
        least = max(shown, key=lambda place: (columns[place].rank, place))
        if columns[least].rank == 0:
            break
        shown.remove(least)
    return Layout(tuple(columns), tuple(shown), widths)


def show_rows(terminal: Terminal, layout: Layout, rows: Sequence[Sequence[Cell]], *, header: bool = True) -> None:
    """Print the rows in one piece and as segments: a text for each line takes a second for some thousands."""
    styles: dict[str, Style | None] = {"": None}
    segments = []
    for line in (*([layout.header()] if header else []), *map(layout.line, rows)):
        for text, style in line:
            if style not in styles:
                styles[style] = terminal.out.get_style(style)
            segments.append(Segment(text, styles[style]))
        segments.append(Segment.line())
    if segments:
        terminal.out.print(Segments(segments), end="", soft_wrap=True)


def width_of(terminal: Terminal) -> int | None:
    """The width to fit; None in a pipe."""
    return terminal.out.width if terminal.out.is_terminal else None
