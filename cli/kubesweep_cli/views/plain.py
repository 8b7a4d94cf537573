"""The same glances without a terminal: a line when a schedule changes, and a sign of life every few seconds while it works."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from kubesweep_cli.shell.terminal import Terminal
from kubesweep_cli.views import formatting
from kubesweep_cli.views.schedule_view import Glance

__all__ = ["PlainScreen", "sentence"]


class PlainScreen:
    interval = 0.5
    EVERY = 5.0  # seconds between two lines about a schedule that only makes progress

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._said: dict[str, tuple[tuple[object, ...], float]] = {}

    def __enter__(self) -> PlainScreen:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        return None

    def update(self, glances: Sequence[Glance], now: float) -> None:
        for one in glances:
            mark = (one.state, one.active, one.notes)
            before, at = self._said.get(one.name, (None, 0.0))
            if mark != before or (one.active and now - at >= self.EVERY):
                self._said[one.name] = (mark, now)
                if self._terminal.verbosity >= 0:
                    self._terminal.line(f"{formatting.clock_time(now)} {sentence(one)}")

    def remark(self, text: str, style: str = "") -> None:
        self._terminal.say(text)

    def hint(self, text: str) -> None:
        self._terminal.say(text)


def sentence(one: Glance) -> str:
    """``process-idle: Running, 43,000 of 60,000 rows, 71 %, applied 43,000, 11,200 rows/s, 2 s left``."""
    parts = [one.state]
    if one.dry:
        parts.append(f"DryRun, would sweep {formatting.rows(one.planned)}{' so far' if one.planning else ''}")
    elif one.planned:
        parts.append(
            f"{formatting.count(one.settled)} of {formatting.rows(one.planned)}{' so far' if one.planning else ''}"
        )
        if one.active and not one.planning:
            parts.append(formatting.percent(one.settled, one.planned))
        parts += [f"{name} {formatting.count(number)}" for name, number in one.outcomes if number]
        parts.append(formatting.rate(one.rate))
    if one.active and one.left is not None:
        parts.append(f"{formatting.duration(one.left)} left")
    if not one.active:
        parts.append(one.next)
    parts += one.notes
    return f"{one.name}: " + ", ".join(part for part in parts if part)
