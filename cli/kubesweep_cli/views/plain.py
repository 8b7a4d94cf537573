"""The views without a terminal: a line when a schedule changes, and one every few seconds while a sweep runs."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from kubesweep_cli.shell.terminal import Terminal
from kubesweep_cli.views import formatting
from kubesweep_cli.views.schedule_view import ScheduleView

__all__ = ["PlainScreen", "sentence"]


class PlainScreen:
    interval = 0.5
    EVERY = 5.0  # seconds between two lines while a sweep only makes progress

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._printed: dict[str, tuple[tuple[object, ...], float]] = {}

    def __enter__(self) -> PlainScreen:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        return None

    def update(self, views: Sequence[ScheduleView], now: float) -> None:
        for view in views:
            shown = (view.state, view.active, view.notes)
            before, at = self._printed.get(view.name, (None, 0.0))
            if shown != before or (view.active and now - at >= self.EVERY):
                self._printed[view.name] = (shown, now)
                if self._terminal.verbosity >= 0:
                    self._terminal.line(f"{formatting.local_time(now)} {sentence(view)}")

    def show_message(self, text: str, style: str = "") -> None:
        self._terminal.say(text)

    def hint(self, text: str) -> None:
        self._terminal.say(text)


def sentence(view: ScheduleView) -> str:
    """``process-idle: Running, 43,000 of 60,000 rows, 71 %, applied 43,000, 11,200 rows/s, 2 s left``."""
    parts = [view.state]
    if view.dry:
        parts.append(f"DryRun, would sweep {formatting.rows(view.planned)}{' so far' if view.planning else ''}")
    elif view.planned:
        parts.append(
            f"{formatting.count(view.settled)} of {formatting.rows(view.planned)}{' so far' if view.planning else ''}"
        )
        if view.active and not view.planning:
            parts.append(formatting.percent(view.settled, view.planned))
        parts += [f"{name} {formatting.count(number)}" for name, number in view.outcomes if number]
        parts.append(formatting.rate(view.rate))
    if view.active and view.left is not None:
        parts.append(f"{formatting.duration(view.left)} left")
    if not view.active:
        parts.append(view.next)
    parts += view.notes
    return f"{view.name}: " + ", ".join(part for part in parts if part)
