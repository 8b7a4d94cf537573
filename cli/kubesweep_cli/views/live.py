"""The live view: a few calm lines for each schedule, redrawn in place, at most four times a second."""

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
from kubesweep_cli.views.schedule_view import Glance

__all__ = ["LiveScreen", "draw"]

HINT = "Ctrl-C: finish the rows in hand, give back the rest; again: stop now"
_LINES = 5  # of one schedule, with the line between
_MOST_WIDTH = 110


class LiveScreen:
    """A context manager; while it is open, remarks appear above the view and nothing else may print."""

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

    def update(self, glances: Sequence[Glance], now: float) -> None:
        self._live.update(Printable(draw(glances, self._terminal.out, self._hint)), refresh=True)

    def remark(self, text: str, style: str = "") -> None:
        self._live.console.print(Text(text, style=style))

    def hint(self, text: str) -> None:
        self._hint = text


def draw(glances: Sequence[Glance], console: Console, hint: str = "") -> RenderableType:
    """The whole view for a console of this size: full where it fits, one line a schedule where it does not."""
    width = min(console.width, _MOST_WIDTH)
    parts: list[RenderableType] = []
    if _LINES * len(glances) + 2 <= console.height:
        for one in glances:
            parts += [*_full(one, width), Text()]
    else:
        # What moves first: a view taller than the window would hide its end.
        order = sorted(glances, key=lambda one: not one.active)
        shown = order[: max(1, console.height - 3)]
        parts.append(_compact(shown))
        if len(shown) < len(order):
            parts.append(Text(f"  and {len(order) - len(shown)} more", style="faint"))
    if hint:
        # Short of the edge: a terminal writes its ^C behind it, and a line more would not be erased.
        parts.append(Text(f"  {hint}"[: width - 3], style="faint", no_wrap=True))
    return Group(*parts)


def _full(one: Glance, width: int) -> list[RenderableType]:
    head = Table.grid(expand=False)
    head.add_column(width=max(10, width - 16), no_wrap=True, overflow="ellipsis")
    head.add_column(width=14, justify="right", no_wrap=True)
    head.add_row(Text(f"  {one.name}", style="name"), Text(one.state, style=one.tone))
    lines: list[RenderableType] = [head]
    if one.dry:
        lines.append(Text(f"  DryRun, would sweep {formatting.rows(one.planned)}{' so far' if one.planning else ''}"))
    elif one.planned or one.planning:
        lines.append(_bar(one, width))
        lines.append(_outcomes(one))
    facts = [formatting.rate(one.rate), _left(one), one.queue, one.next]
    lines.append(
        Text("  " + " · ".join(fact for fact in facts if fact), style="faint", no_wrap=True, overflow="ellipsis")
    )
    lines += [Text(f"  {note}", style="warn") for note in one.notes[:3]]
    return lines


def _bar(one: Glance, width: int) -> RenderableType:
    counted = f"{formatting.count(one.settled)} of {formatting.count(one.planned)}"
    counted += " so far" if one.planning else f"  {formatting.percent(one.settled, one.planned)}"
    grid = Table.grid(padding=(0, 1))
    room = max(10, width - 34)
    grid.add_column(width=room + 2)
    grid.add_column(width=28, justify="right", no_wrap=True)
    bar = ProgressBar(total=one.planned or None, completed=one.settled, width=room, pulse=not one.planned)
    padded = Table.grid(padding=(0, 0))
    padded.add_column(width=2)
    padded.add_column()
    padded.add_row("", bar)
    grid.add_row(padded, Text(counted))
    return grid


def _left(one: Glance) -> str:
    return f"{formatting.duration(one.left)} left" if one.left is not None and one.active else ""


_STYLES = {"applied": "good", "skipped": "", "unconfirmed": "warn", "retrying": "warn", "dead": "bad"}


def _outcomes(one: Glance) -> Text:
    line = Text("  ", no_wrap=True, overflow="ellipsis")
    for place, (name, number) in enumerate(one.outcomes):
        if place:
            line.append("   ")
        line.append(f"{name} ", style="faint")
        line.append(formatting.count(number), style=_STYLES[name] if number else "faint")
    return line


def _compact(glances: Sequence[Glance]) -> RenderableType:
    grid = Table.grid(padding=(0, 2), expand=False)
    grid.add_column(no_wrap=True, overflow="ellipsis", min_width=12)
    grid.add_column(no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    for one in glances:
        dead = dict(one.outcomes).get("dead", 0)
        grid.add_row(
            Text(f"  {one.name}", style="name"),
            Text(one.state, style=one.tone),
            f"DryRun {formatting.count(one.planned)}"
            if one.dry
            else f"{formatting.count(one.settled)} of {formatting.count(one.planned)}",
            formatting.rate(one.rate),
            Text(f"dead {formatting.count(dead)}", style="bad" if dead else "faint"),
        )
    return grid
