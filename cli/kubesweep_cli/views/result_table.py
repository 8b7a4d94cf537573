"""The table at the end of a run."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from kubesweep.queue.model import Sweep, SweepState
from kubesweep_cli.views import formatting
from kubesweep_cli.views.listing import Column, listing
from kubesweep_cli.views.schedule_view import outcomes

__all__ = ["COLUMNS", "WIDE", "numbers", "outcome_cells", "result_table", "shown_columns", "state_text"]

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


def result_table(
    sweeps: Sequence[tuple[str, Sweep | None]], *, width: int = 120, took: float | None = None
) -> RenderableType:
    """One line for each schedule and a line of totals for several. On a narrow terminal the state is below the name."""
    done = [sweep for _, sweep in sweeps if sweep is not None]
    shown = shown_columns(done, narrow=width < WIDE)
    several = len(done) > 1
    title = ("total" if took is None else f"in {formatting.duration(took)}") if several else ""
    columns = [
        Column("schedule", flexible=True, footer=title),
        Column("state", below=True),
        *(
            Column(name, number=True, footer=formatting.count(sum(numbers(each)[name] for each in done)) * several)
            for name in shown
        ),
    ]
    rows = [
        (Text(name), Text("not swept", style="faint") if sweep is None else state_text(sweep), *_cells(sweep, shown))
        for name, sweep in sweeps
    ]
    return listing(columns, rows, width)


def state_text(sweep: Sweep) -> Text:
    """The state in the colour of its meaning, with the mode unless that is Enforce."""
    good = sweep.state is SweepState.COMPLETED
    text = str(sweep.state) + (" (DryRun)" if sweep.mode == "DryRun" else "")
    calm = not sweep.state.settled and sweep.state is not SweepState.AWAITING_APPROVAL
    waits = sweep.state is SweepState.AWAITING_APPROVAL
    return Text(text, style="good" if good else "warn" if waits else "calm" if calm else "bad")


def _cells(sweep: Sweep | None, shown: Sequence[str]) -> list[Text]:
    return [Text() for _ in shown] if sweep is None else outcome_cells(sweep, shown)


def outcome_cells(sweep: Sweep, shown: Sequence[str]) -> list[Text]:
    """The numbers of ``shown``. A dry run has no outcomes."""
    cells = []
    for name in shown:
        if sweep.mode == "DryRun" and name != "planned":
            cells.append(Text("-", style="faint"))
            continue
        number = numbers(sweep)[name]
        cells.append(Text(formatting.count(number), style=_LOUD.get(name, "") if number else "faint"))
    return cells
