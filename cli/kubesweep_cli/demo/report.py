"""How the demo ends: what was counted, checked against the database itself, and what to type next."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from kubesweep.queue.model import Sweep
from kubesweep_cli.demo.workspace import Audit, World
from kubesweep_cli.views import formatting
from kubesweep_cli.views.schedule_view import balance

__all__ = ["Check", "after_interrupt", "checks", "next_commands", "verdict"]


@dataclass(frozen=True, slots=True)
class Check:
    right: bool
    text: str


def checks(swept: Sequence[tuple[str, Sweep | None]], audit: Audit) -> list[Check]:
    """Each line says what the queue counted and what the database or the outbox has. Pure."""
    done = [sweep for _, sweep in swept if sweep is not None]
    applied = sum(sweep.applied for sweep in done)
    left = sum(sweep.retrying + sweep.dead for sweep in done)
    changed = sum(audit.changed.values())
    whole = len(done) == len(swept) and all(sweep.balanced for sweep in done)
    return [
        Check(whole, balance(done)),
        Check(
            changed == applied,
            f"{formatting.rows(changed)} of the table carry the new status, {formatting.count(applied)} applied",
        ),
        Check(
            audit.stale == left,
            f"{formatting.rows(audit.stale)} of the table still stale, {formatting.count(left)} retrying or dead",
        ),
        Check(
            audit.notified >= applied,
            f"{formatting.count(audit.notified)} customers told, each under one idempotency key, {formatting.count(audit.repeated)} told twice",
        ),
    ]


def verdict(lines: Sequence[Check]) -> Text:
    """The checks as text, one a line."""
    text = Text()
    for place, line in enumerate(lines):
        if place:
            text.append("\n")
        text.append("  ✓ " if line.right else "  ✗ ", style="good" if line.right else "bad")
        text.append(line.text)
    return text


def next_commands(world: World, program: str) -> list[tuple[str, str]]:
    """Commands that work as they stand, from any folder, in this order."""
    queue = f"--queue {shlex.quote(world.queue)}"
    sweeps = shlex.quote(str(world.sweeps))
    return [
        (f"{program} dead list {queue}", "the dead letters, grouped by error"),
        (f"{program} dead show process-idle-conversations {queue}", "each row with the history of its attempts"),
        (f": > {shlex.quote(str(world.refused))}", "the cure: the carrier refuses no number any more"),
        (f"{program} dead retry --all {queue}", "try them again, under the same idempotency keys"),
        (f"{program} run --once -f {sweeps} {queue}", "does it now, and sweeps what has turned stale since"),
        (f"{program} check -f {sweeps} --try-write --sql", "the exact SQL, its plan and its indexes"),
        (f"rm -r {shlex.quote(str(world.folder))}", "remove the demo"),
    ]


def after_interrupt(world: World, program: str) -> list[tuple[str, str]]:
    """Nothing is lost by stopping: what was in hand went back to the queue."""
    sweeps, queue = shlex.quote(str(world.sweeps)), shlex.quote(world.queue)
    return [
        (f"{program} run --once -f {sweeps} --queue {queue}", "goes on where this stopped"),
        (f"rm -r {shlex.quote(str(world.folder))}", "remove the demo"),
    ]
