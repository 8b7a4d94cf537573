"""What ``kubesweep status`` prints: one line for each schedule, and why a sweep does not progress."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from kubesweep.backlog import backlog_of, keeping_up
from kubesweep.queue.model import ScheduleRef, Stats, Sweep, SweepState
from kubesweep_cli.shell.schedule_names import labels
from kubesweep_cli.shell.suspending import suspended
from kubesweep_cli.views import formatting
from kubesweep_cli.views.listing import Column, listing
from kubesweep_cli.views.result_table import WIDE
from kubesweep_cli.views.schedule_view import SUSPENDED, outcomes, schedule_view

__all__ = ["status_notes", "status_table"]


def status_table(
    refs: Sequence[ScheduleRef], stats: Sequence[Stats], now: float, *, width: int = 120, wide: bool = False
) -> RenderableType:
    """One line for each schedule: its latest sweep and its queue, and its backlog if the terminal has that ``width``.

    ``wide``: with the backlog and everything else that a person may want to see, at any width.
    """
    columns = [Column("schedule", flexible=True), Column("state", below=True), Column("last tick", below=True)]
    if wide or width >= WIDE:
        columns.append(Column("backlog", number=True))
    more = ("skipped", "unconfirmed") if wide else ()
    columns += [Column(name, number=True) for name in ("planned", "applied", *more, "retrying", "dead")]
    columns += [Column("oldest job", number=True)] if wide else []
    columns.append(Column("queue", flexible=True))
    shown = [column.name for column in columns]
    rows = []
    for name, one in zip(labels(refs), stats, strict=True):
        cells = _cells(name, one, now)
        rows.append([cells[each] for each in shown])
    return listing(columns, rows, width)


def _cells(name: str, stats: Stats, now: float) -> dict[str, Text]:
    """Column -> cell."""
    view = schedule_view(name, stats, now=now, suspended=suspended(stats), clock=False)
    sweep = stats.sweep
    state = f"{view.state} (DryRun)" if view.dry else view.state
    if suspended(stats) and view.state != SUSPENDED:
        state += f", {SUSPENDED}"
    return {
        "schedule": Text(name),
        "state": Text(state, style=view.tone),
        "last tick": Text("never" if stats.last_tick is None else formatting.local_time(stats.last_tick)),
        "backlog": _backlog(stats, now),
        "oldest job": Text(_age(stats, now)),
        "planned": Text(formatting.count(sweep.planned if sweep else 0)),
        **{name: _outcome(sweep, name, dry=view.dry) for name in ("applied", "skipped", "unconfirmed")},
        "retrying": Text(formatting.count(stats.excluded - stats.dead)),
        "dead": Text(formatting.count(stats.dead), style="bad" if stats.dead else ""),
        "queue": Text(view.queue) if view.queue else Text("empty", style="faint"),
    }


def _outcome(sweep: Sweep | None, name: str, *, dry: bool) -> Text:
    return Text("-" if dry else formatting.count(dict(outcomes(sweep))[name] if sweep else 0))


def _age(stats: Stats, now: float) -> str:
    waits = stats.oldest_ready is not None and bool(stats.queued)
    return formatting.duration(now - (stats.oldest_ready or now)) if waits else "-"


def _backlog(stats: Stats, now: float) -> Text:
    found = backlog_of(stats, now)
    behind = keeping_up(stats, found, now).status is False
    rows = found.rows if found is not None else None
    return Text("-" if rows is None else formatting.count(rows), style="bad" if behind else "")


def status_notes(stats: Stats, now: float) -> tuple[str, ...]:
    """Why the schedule cannot be read or falls behind, why the sweep Failed or Halted, or why an open one does not progress."""
    if stats.damage:
        return (stats.damage,)
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
