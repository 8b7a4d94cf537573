"""The table at the end of a run."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from kubesweep.queue.model import Sweep, SweepState
from kubesweep_cli.views import formatting
from kubesweep_cli.views.schedule_view import outcomes

__all__ = ["COLUMNS", "WIDE", "numbers", "result_table", "shown_columns"]

COLUMNS = ("planned", "applied", "skipped", "unconfirmed", "retrying", "dead")
WIDE = 98  # columns that name, state and all numbers need on one line, here and in the table of status
_LOUD = {"unconfirmed": "warn", "retrying": "warn", "dead": "bad"}


def numbers(sweep: Sweep) -> dict[str, int]:
    """Column -> number, in the order of ``COLUMNS``."""
    return {"planned": sweep.planned, **dict(outcomes(sweep))}


def shown_columns(sweeps: Sequence[Sweep], *, narrow: bool) -> tuple[str, ...]:
    """All columns; on a narrow terminal without ``unconfirmed`` while it is zero everywhere."""
    quiet = narrow and not any(sweep.unconfirmed for sweep in sweeps)
    return tuple(name for name in COLUMNS if not (quiet and name == "unconfirmed"))


def result_table(sweeps: Sequence[tuple[str, Sweep | None]], *, width: int = 120, took: float | None = None) -> Table:
    """One line for each schedule and a line of totals for several. On a narrow terminal the state is below the name."""
    narrow = width < WIDE
    done = [sweep for _, sweep in sweeps if sweep is not None]
    shown = shown_columns(done, narrow=narrow)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold", footer_style="bold")
    table.show_footer = len(done) > 1
    table.add_column("schedule", footer="total" if took is None else f"in {formatting.duration(took)}", overflow="fold")
    if not narrow:
        table.add_column("state", no_wrap=True)
    for name in shown:
        footer = formatting.count(sum(numbers(sweep)[name] for sweep in done))
        table.add_column(name, footer=footer, justify="right", no_wrap=True, min_width=max(len(name), len(footer)))
    for name, sweep in sweeps:
        state = Text("not swept", style="faint") if sweep is None else _state(sweep)
        head = (Text.assemble(name, "\n  ", state),) if narrow else (Text(name), state)
        table.add_row(*head, *(_cells(sweep, shown) if sweep is not None else ()))
    return table


def _state(sweep: Sweep) -> Text:
    good = sweep.state is SweepState.COMPLETED
    text = str(sweep.state) + (" (DryRun)" if sweep.mode == "DryRun" else "")
    return Text(text, style="good" if good else "warn" if sweep.state is SweepState.AWAITING_APPROVAL else "bad")


def _cells(sweep: Sweep, shown: Sequence[str]) -> list[Text]:
    cells = []
    for name in shown:
        if sweep.mode == "DryRun" and name != "planned":
            cells.append(Text("-", style="faint"))
            continue
        number = numbers(sweep)[name]
        cells.append(Text(formatting.count(number), style=_LOUD.get(name, "") if number else "faint"))
    return cells
