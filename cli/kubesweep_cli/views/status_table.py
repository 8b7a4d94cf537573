"""What ``kubesweep status`` prints: one line for each schedule, and why a sweep does not progress."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from kubesweep.backlog import backlog_of, keeping_up
from kubesweep.queue.model import ScheduleRef, Stats, SweepState
from kubesweep_cli.shell.schedule_names import labels
from kubesweep_cli.views import formatting
from kubesweep_cli.views.result_table import WIDE
from kubesweep_cli.views.schedule_view import schedule_view

__all__ = ["status_notes", "status_table"]


def status_table(refs: Sequence[ScheduleRef], stats: Sequence[Stats], now: float, *, width: int = 120) -> Table:
    """One line for each schedule: its latest sweep and its queue, and its backlog if the terminal has that ``width``."""
    wide = width >= WIDE
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
    for name in ("schedule", "state", "last tick"):
        table.add_column(name, no_wrap=True, overflow="fold")
    for name in (*(("backlog",) if wide else ()), "planned", "applied", "retrying", "dead"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("queue")
    for name, one in zip(labels(refs), stats, strict=True):
        view = schedule_view(name, one, now=now, clock=False)
        sweep = one.sweep
        planned, applied = (sweep.planned, sweep.applied) if sweep else (0, 0)
        tick = formatting.clock_time(one.last_tick, now) if one.last_tick is not None else "never"
        table.add_row(
            Text(name),
            Text(f"{view.state} (DryRun)" if view.dry else view.state, style=view.tone),
            tick,
            *((_backlog(one, now),) if wide else ()),
            formatting.count(planned),
            "-" if view.dry else formatting.count(applied),
            formatting.count(one.excluded - one.dead),
            Text(formatting.count(one.dead), style="bad" if one.dead else ""),
            view.queue or Text("empty", style="faint"),
        )
    return table


def _backlog(stats: Stats, now: float) -> Text:
    found = backlog_of(stats, now)
    behind = keeping_up(stats, found, now).status is False
    rows = found.rows if found is not None else None
    return Text("-" if rows is None else formatting.count(rows), style="bad" if behind else "")


def status_notes(stats: Stats, now: float) -> tuple[str, ...]:
    """Why the schedule falls behind, why the sweep Failed or Halted, or why an open one does not progress."""
    rating = keeping_up(stats, backlog_of(stats, now), now)
    behind = (f"{rating.reason}: {rating.message}",) if rating.status is False else ()
    return (*behind, *_sweep_notes(stats, now))


def _sweep_notes(stats: Stats, now: float) -> tuple[str, ...]:
    sweep = stats.sweep
    if sweep is None:
        return ()
    if sweep.state in (SweepState.FAILED, SweepState.HALTED):
        return (f"{sweep.reason}: {sweep.message}",)
    if sweep.state.settled:
        return ()
    return schedule_view("", stats, now=now, clock=False).notes
