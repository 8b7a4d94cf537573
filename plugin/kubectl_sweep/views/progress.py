"""A sweep's progress while somebody waits for it, on stderr: one moving line on a terminal, else a line for each change.

The result is printed by the verb, on stdout, so that a script reads only that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from kubesweep.quantities import count, duration, percent, rows
from kubesweep.queue.model import Sweep, SweepState
from kubesweep_cli.shell.terminal import Terminal
from kubesweep_console.documents import Schedule

__all__ = ["OUTCOMES", "Progress", "ended_sentence", "open_progress", "progress_sentence"]

OUTCOMES = ("applied", "skipped", "unconfirmed", "retrying", "dead")
EVERY = 5.0  # seconds between two lines while a sweep only makes progress


class Progress(Protocol):
    def update(self, schedule: Schedule, sweep: Sweep | None, now: float) -> None: ...

    def hint(self, text: str) -> None: ...


def progress_sentence(schedule: Schedule, sweep: Sweep | None, now: float) -> str:
    """``Running, 430 of 600 rows, 71 %, applied 420, dead 10, 12 s``."""
    if sweep is None:
        return "waiting for the sweep to appear in the status"
    expected = max(schedule.expected, sweep.planned)
    parts = [str(sweep.state)]
    if sweep.planned:
        parts += [f"{count(sweep.settled_rows)} of {rows(expected)}", percent(sweep.settled_rows, expected)]
    parts += [f"{name} {count(number)}" for name in OUTCOMES if (number := getattr(sweep, name))]
    if sweep.started:
        parts.append(duration(now - sweep.started))
    throttle = schedule.throttle
    return ", ".join(parts) + (f". {throttle.message}" if throttle is not None else "")


def ended_sentence(sweep: Sweep) -> str:
    """How a sweep ended: ``sweep 9f2c: Completed in 3.4 s, 1,000 rows planned, applied 990, dead 10``."""
    took = "" if sweep.finished is None or not sweep.started else f" in {duration(sweep.finished - sweep.started)}"
    parts = [f"sweep {sweep.id}: {sweep.state}{took}", f"{rows(sweep.planned)} planned"]
    parts += [f"{name} {count(number)}" for name in OUTCOMES if (number := getattr(sweep, name))]
    why = sweep.message or sweep.reason
    shows_why = sweep.state not in (SweepState.COMPLETED, SweepState.SUPERSEDED) and why
    return ", ".join(parts) + (f". {why}" if shows_why else "")


@contextmanager
def open_progress(terminal: Terminal, name: str) -> Iterator[Progress]:
    if terminal.verbosity >= 0 and terminal.err.is_terminal and not terminal.err.is_dumb_terminal:
        spinner = Spinner("dots", Text(f"{name}: waiting"))
        with Live(spinner, console=terminal.err, transient=True, refresh_per_second=8):
            yield _Moving(terminal, name, spinner)
    else:
        yield _Lines(terminal, name)


class _Moving:
    def __init__(self, terminal: Terminal, name: str, spinner: Spinner) -> None:
        self._terminal, self._name, self._spinner = terminal, name, spinner

    def update(self, schedule: Schedule, sweep: Sweep | None, now: float) -> None:
        self._spinner.update(text=Text(f"{self._name}: {progress_sentence(schedule, sweep, now)}"))

    def hint(self, text: str) -> None:
        self._terminal.say(text)


class _Lines:
    def __init__(self, terminal: Terminal, name: str) -> None:
        self._terminal, self._name = terminal, name
        self._printed: tuple[str, float] = ("", 0.0)

    def update(self, schedule: Schedule, sweep: Sweep | None, now: float) -> None:
        state = "" if sweep is None else str(sweep.state)
        before, at = self._printed
        if state != before or now - at >= EVERY:
            self._printed = (state, now)
            self._terminal.say(f"{self._name}: {progress_sentence(schedule, sweep, now)}")

    def hint(self, text: str) -> None:
        self._terminal.say(text)
