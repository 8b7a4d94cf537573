"""``kubesweep demo``: make a world, sweep it, check the result against the database itself."""

from __future__ import annotations

import time
from pathlib import Path

from rich.text import Text

from kubesweep.api.loading.files import load
from kubesweep.queue.connect import connect
from kubesweep.queue.model import ErrorGroup, ScheduleRef, Sweep
from kubesweep.queue.service import QueueService
from kubesweep_cli.commands.dead_letters import group_table
from kubesweep_cli.commands.run import run_loaded
from kubesweep_cli.demo.report import after_interrupt, checks, next_commands, verdict
from kubesweep_cli.demo.workspace import World, audit, make_world
from kubesweep_cli.runner.runner import Ending, RunSettings
from kubesweep_cli.shell.exit_codes import Exit
from kubesweep_cli.shell.state_paths import program
from kubesweep_cli.shell.terminal import Terminal
from kubesweep_cli.views import formatting
from kubesweep_cli.views.result_table import result_table

__all__ = ["run_demo"]


async def run_demo(terminal: Terminal, rows: int, keep: Path | None) -> Exit:
    """Exit code 0 where everything adds up: that seven notifications are refused is part of the play."""
    started = time.monotonic()
    world = make_world(rows, keep)
    took = formatting.duration(time.monotonic() - started)
    terminal.show(_opening(world, rows, took))
    loaded = load([world.sweeps])
    queue = connect(world.queue)
    try:
        ending = await run_loaded(terminal, loaded, queue, world.queue, RunSettings(once=True))
        if ending.interrupted:
            terminal.show(result_table(_sweeps(ending), width=terminal.out.width, took=ending.took))
            terminal.next_steps(after_interrupt(world, program()))
            return ending.code
        dead = await _dead_letters(queue, ending)
    finally:
        await queue.close()
    return _closing(terminal, world, ending, dead)


def _opening(world: World, rows: int, took: str) -> Text:
    return Text.assemble(
        (f"{formatting.count(rows)} conversations", "bold"),
        f" of a made-up support desk, made in {took}: idle, expired, live, and seven whose customer cannot be told.\n",
        "Everything is in ",
        (str(world.folder), "name"),
        "\n",
    )


async def _dead_letters(queue: QueueService, ending: Ending) -> list[tuple[ScheduleRef, tuple[ErrorGroup, ...]]]:
    found = [(track.ref, await queue.error_groups(track.ref)) for track in ending.tracks]
    return [(ref, groups) for ref, groups in found if groups]


def _sweeps(ending: Ending) -> list[tuple[str, Sweep | None]]:
    return [(track.name, track.sweep) for track in ending.tracks]


def _closing(
    terminal: Terminal, world: World, ending: Ending, dead: list[tuple[ScheduleRef, tuple[ErrorGroup, ...]]]
) -> Exit:
    sweeps = _sweeps(ending)
    terminal.show(result_table(sweeps, width=terminal.out.width, took=ending.took))
    lines = checks(sweeps, audit(world))
    terminal.show(verdict(lines))
    if dead:
        terminal.out.print()
        terminal.out.print(Text("Dead letters", style="bold"))
        terminal.show(group_table(dead))
    terminal.next_steps(next_commands(world, program()))
    return Exit.CLEAN if all(line.right for line in lines) else Exit.ROWS_DIED
