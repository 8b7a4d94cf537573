"""What a sweep that awaits approval would do: why somebody has to look, how many rows, how old, which, and what happens to them. Pure."""

from __future__ import annotations

from kubectl_sweep.views.times import when
from kubesweep import proposal
from kubesweep.queue.model import Sweep
from kubesweep.timestamps import parse_time
from kubesweep_console.documents import Schedule
from kubesweep_console.views.words import words_of

__all__ = ["proposal_lines"]

DOES = ("sweeps", "rows in which", "calls", "then")  # the lines of a spec in words that say what would happen


def proposal_lines(schedule: Schedule, sweep: Sweep, now: float, zone: str) -> list[tuple[str, str]]:
    """Pairs of a label and a text. Empty labels continue the line above."""
    lines = [
        ("sweep", f"{sweep.id}, of the tick {when(sweep.tick or None, now, zone)}"),
        *proposal.proposal_lines(sweep, lambda text: when(parse_time(text), now, zone)),
    ]
    for each in words_of(schedule.spec):
        if each.label in DOES:
            lines += [(each.label if place == 0 else "", line) for place, line in enumerate(each.lines)]
    return lines
