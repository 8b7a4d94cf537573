"""The live view: a few lines for each schedule, redrawn in place at most four times a second."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from kubesweep_cli.shell.terminal import Printable, Terminal
from kubesweep_cli.views import formatting
from kubesweep_cli.views.schedule_view import ScheduleView

__all__ = ["LiveScreen", "draw"]

HINT = "Ctrl-C: finish the rows in progress, return the rest to the queue; again: stop now"
_LINES = 5  # of one schedule, with the empty line after it
_MOST_WIDTH = 110


class LiveScreen:
    """A context manager. While it is open, messages appear above the view, and nothing else may print."""

    interval = 0.25

    def __init__(self, terminal: Terminal, hint: str = HINT) -> None:
        self._terminal = terminal
        self._hint = hint
        self._live = Live(console=terminal.out, auto_refresh=False, transient=True)

    def __enter__(self) -> LiveScreen:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()

    def update(self, views: Sequence[ScheduleView], now: float) -> None:
        self._live.update(Printable(draw(views, self._terminal.out, self._hint)), refresh=True)

    def show_message(self, text: str, style: str = "") -> None:
        self._live.console.print(Text(text, style=style))

    def hint(self, text: str) -> None:
        self._hint = text


def draw(views: Sequence[ScheduleView], console: Console, hint: str = "") -> RenderableType:
    """The whole view for a console of this size: full if it fits, else one line for each schedule."""
    width = min(console.width, _MOST_WIDTH)
    parts: list[RenderableType] = []
    if _LINES * len(views) + 2 <= console.height:
        for view in views:
            parts += [*_full(view, width), Text()]
    else:
        # Active schedules first: the end of a view taller than the window is cut off.
        order = sorted(views, key=lambda view: not view.active)
        shown = order[: max(1, console.height - 3)]
        parts.append(_compact(shown))
        if len(shown) < len(order):
            parts.append(Text(f"  and {len(order) - len(shown)} more", style="faint"))
    if hint:
        # Shorter than the window: a terminal appends ^C, and an additional line would not be erased.
        parts.append(Text(f"  {hint}"[: width - 3], style="faint", no_wrap=True))
    return Group(*parts)


def _full(view: ScheduleView, width: int) -> list[RenderableType]:
    head = Table.grid(expand=False)
    head.add_column(width=max(10, width - 16), no_wrap=True, overflow="ellipsis")
    head.add_column(width=14, justify="right", no_wrap=True)
    head.add_row(Text(f"  {view.name}", style="name"), Text(view.state, style=view.tone))
    lines: list[RenderableType] = [head]
    if view.dry:
        lines.append(Text(f"  DryRun, would sweep {formatting.rows(view.planned)}{' so far' if view.planning else ''}"))
    elif view.planned or view.planning:
        lines.append(_bar(view, width))
        lines.append(_outcomes(view))
    facts = [formatting.rate(view.rate), _left(view), view.queue, view.next]
    lines.append(
        Text("  " + " · ".join(fact for fact in facts if fact), style="faint", no_wrap=True, overflow="ellipsis")
    )
    lines += [Text(f"  {note}", style="warn") for note in view.notes[:3]]
    return lines


def _bar(view: ScheduleView, width: int) -> RenderableType:
    counted = f"{formatting.count(view.settled)} of {formatting.count(view.planned)}"
    counted += " so far" if view.planning else f"  {formatting.percent(view.settled, view.planned)}"
    grid = Table.grid(padding=(0, 1))
    room = max(10, width - 34)
    grid.add_column(width=room + 2)
    grid.add_column(width=28, justify="right", no_wrap=True)
    bar = ProgressBar(total=view.planned or None, completed=view.settled, width=room, pulse=not view.planned)
    padded = Table.grid(padding=(0, 0))
    padded.add_column(width=2)
    padded.add_column()
    padded.add_row("", bar)
    grid.add_row(padded, Text(counted))
    return grid


def _left(view: ScheduleView) -> str:
    return f"{formatting.duration(view.left)} left" if view.left is not None and view.active else ""


_STYLES = {"applied": "good", "skipped": "", "unconfirmed": "warn", "retrying": "warn", "dead": "bad"}


def _outcomes(view: ScheduleView) -> Text:
    line = Text("  ", no_wrap=True, overflow="ellipsis")
    for place, (name, number) in enumerate(view.outcomes):
        if place:
            line.append("   ")
        line.append(f"{name} ", style="faint")
        line.append(formatting.count(number), style=_STYLES[name] if number else "faint")
    return line


def _compact(views: Sequence[ScheduleView]) -> RenderableType:
    grid = Table.grid(padding=(0, 2), expand=False)
    grid.add_column(no_wrap=True, overflow="ellipsis", min_width=12)
    grid.add_column(no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    for view in views:
        dead = dict(view.outcomes).get("dead", 0)
        grid.add_row(
            Text(f"  {view.name}", style="name"),
            Text(view.state, style=view.tone),
            f"DryRun {formatting.count(view.planned)}"
            if view.dry
            else f"{formatting.count(view.settled)} of {formatting.count(view.planned)}",
            formatting.rate(view.rate),
            Text(f"dead {formatting.count(dead)}", style="bad" if dead else "faint"),
        )
    return grid
