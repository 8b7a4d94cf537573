"""The end of the demo: the queue's totals compared with the database itself, and the next steps."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from kubesweep.queue.model import Sweep
from kubesweep_cli.demo.workspace import Workspace, WorkspaceCounts
from kubesweep_cli.views import formatting
from kubesweep_cli.views.schedule_view import balance

__all__ = ["Comparison", "after_interrupt", "comparison_text", "comparisons", "next_commands"]


@dataclass(frozen=True, slots=True)
class Comparison:
    equal: bool
    text: str


def comparisons(sweeps: Sequence[tuple[str, Sweep | None]], counts: WorkspaceCounts) -> list[Comparison]:
    """What the queue counted beside what the database and the outbox have. Pure."""
    done = [sweep for _, sweep in sweeps if sweep is not None]
    applied = sum(sweep.applied for sweep in done)
    left = sum(sweep.retrying + sweep.dead for sweep in done)
    changed = sum(counts.changed.values())
    whole = len(done) == len(sweeps) and all(sweep.balanced for sweep in done)
    return [
        Comparison(whole, balance(done)),
        Comparison(
            changed == applied,
            f"{formatting.rows(changed)} of the table have the new status, {formatting.count(applied)} applied",
        ),
        Comparison(
            counts.stale == left,
            f"{formatting.rows(counts.stale)} of the table still stale, {formatting.count(left)} retrying or dead",
        ),
        Comparison(
            counts.notified >= applied,
            f"{formatting.count(counts.notified)} customers notified, each under one idempotency key, "
            f"{formatting.count(counts.repeated)} notified twice",
        ),
    ]


def comparison_text(lines: Sequence[Comparison]) -> Text:
    """One comparison on each line."""
    text = Text()
    for place, line in enumerate(lines):
        if place:
            text.append("\n")
        text.append("  ✓ " if line.equal else "  ✗ ", style="good" if line.equal else "bad")
        text.append(line.text)
    return text


def next_commands(workspace: Workspace, program: str) -> list[tuple[str, str]]:
    """Commands that work from any folder, in this order."""
    queue = f"--queue {shlex.quote(workspace.queue)}"
    sweeps = shlex.quote(str(workspace.sweeps))
    return [
        (f"{program} dead list {queue}", "list the dead letters, grouped by error"),
        (f"{program} dead show process-idle-conversations {queue}", "show each row with the history of its attempts"),
        (f": > {shlex.quote(str(workspace.refused))}", "the fix: from now on the carrier refuses no number"),
        (f"{program} dead retry --all {queue}", "try them again, under the same idempotency keys"),
        (f"{program} run --once -f {sweeps} {queue}", "run the retries, and sweep what became stale meanwhile"),
        (f"{program} check -f {sweeps} --try-write --sql", "show the exact SQL, its plan and its indexes"),
        (f"rm -r {shlex.quote(str(workspace.folder))}", "remove the demo"),
    ]


def after_interrupt(workspace: Workspace, program: str) -> list[tuple[str, str]]:
    """Stopping loses nothing: unfinished jobs went back to the queue."""
    sweeps, queue = shlex.quote(str(workspace.sweeps)), shlex.quote(workspace.queue)
    return [
        (f"{program} run --once -f {sweeps} --queue {queue}", "continue where this run stopped"),
        (f"rm -r {shlex.quote(str(workspace.folder))}", "remove the demo"),
    ]
