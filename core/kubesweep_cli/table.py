"""The table that a run ends with. It adds up, and says so."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from kubesweep.queue.model import Sweep, SweepState
from kubesweep_cli import words
from kubesweep_cli.glance import outcomes

__all__ = ["COLUMNS", "result_cells", "result_table"]

COLUMNS = ("planned", "applied", "skipped", "unconfirmed", "held", "dead")
_BAD = frozenset({"unconfirmed", "held", "dead"})


def result_cells(sweep: Sweep) -> tuple[str, ...]:
    """The numbers of one sweep in the order of ``COLUMNS``."""
    return (words.count(sweep.planned), *(words.count(number) for _, number in outcomes(sweep)))


def result_table(sweeps: Sequence[tuple[str, Sweep | None]], *, took: float | None = None) -> RenderableType:
    """One line a schedule and, for more than one, their sum."""
    done = [sweep for _, sweep in sweeps if sweep is not None]
    table = Table(
        box=box.SIMPLE_HEAD, show_footer=len(done) > 1, pad_edge=True, header_style="bold", footer_style="bold"
    )
    table.add_column("schedule", footer=_footer(took), no_wrap=True, overflow="ellipsis")
    table.add_column("state", no_wrap=True)
    for place, name in enumerate(COLUMNS):
        numbers = [(sweep.planned, *(number for _, number in outcomes(sweep)))[place] for sweep in done]
        table.add_column(name, footer=words.count(sum(numbers)), justify="right", no_wrap=True)
    for name, sweep in sweeps:
        if sweep is None:
            table.add_row(name, Text("not swept", style="faint"), *("" for _ in COLUMNS))
            continue
        table.add_row(name, _state(sweep), *_cells(sweep))
    return table


def _footer(took: float | None) -> str:
    return "together" if took is None else f"together, in {words.duration(took)}"


def _state(sweep: Sweep) -> Text:
    good = sweep.state is SweepState.COMPLETED
    word = str(sweep.state) + (" (DryRun)" if sweep.mode == "DryRun" else "")
    return Text(word, style="good" if good else "warn" if sweep.state is SweepState.HELD else "bad")


def _cells(sweep: Sweep) -> list[Text]:
    cells = []
    for name, text in zip(COLUMNS, result_cells(sweep), strict=True):
        loud = name in _BAD and text != "0"
        style = ("bad" if name == "dead" else "warn") if loud else ("faint" if text == "0" else "")
        cells.append(Text(text, style=style))
    return cells
