"""``kubesweep demo``: create a workspace, sweep it, and compare the result with the database itself."""

from __future__ import annotations

import time
from pathlib import Path

from rich.text import Text

from kubesweep.api.loading.files import load
from kubesweep.queue.model import ErrorGroup, ScheduleRef, Sweep
from kubesweep.queue.service import QueueService
from kubesweep_cli.commands.run import run_loaded
from kubesweep_cli.demo.report import after_interrupt, comparison_text, comparisons, next_commands
from kubesweep_cli.demo.workspace import Workspace, count_workspace, make_workspace
from kubesweep_cli.runner.runner import RunResult, RunSettings
from kubesweep_cli.shell.exit_codes import Exit
from kubesweep_cli.shell.open_queue import open_queue
from kubesweep_cli.shell.state_paths import program
from kubesweep_cli.shell.terminal import Terminal
from kubesweep_cli.views import formatting
from kubesweep_cli.views.dead_letter_table import group_table
from kubesweep_cli.views.result_table import result_table

__all__ = ["run_demo"]


async def run_demo(terminal: Terminal, rows: int, keep: Path | None) -> Exit:
    """Returns exit code 0 if all totals agree. The seven refused notifications are part of the demo."""
    started = time.monotonic()
    workspace = make_workspace(rows, keep)
    took = formatting.duration(time.monotonic() - started)
    terminal.show(_introduction(workspace, rows, took))
    loaded = load([workspace.sweeps])
    async with open_queue(workspace.queue, create=True) as queue:
        result = await run_loaded(terminal, loaded, queue, workspace.queue, RunSettings(once=True))
        if result.interrupted:
            terminal.show(result_table(_sweeps(result), width=terminal.out.width, took=result.took))
            terminal.next_steps(after_interrupt(workspace, program()))
            return result.code
        dead = await _dead_letters(queue, result)
    return _report(terminal, workspace, result, dead)


def _introduction(workspace: Workspace, rows: int, took: str) -> Text:
    return Text.assemble(
        (f"{formatting.count(rows)} conversations", "bold"),
        f" of a sample support desk, created in {took}:\n"
        "idle, expired and active ones, and seven whose customer cannot be notified.\nAll files are in ",
        (str(workspace.folder), "name"),
        "\n",
    )


async def _dead_letters(queue: QueueService, result: RunResult) -> list[tuple[ScheduleRef, tuple[ErrorGroup, ...]]]:
    found = [(one.ref, await queue.error_groups(one.ref)) for one in result.schedules]
    return [(ref, groups) for ref, groups in found if groups]


def _sweeps(result: RunResult) -> list[tuple[str, Sweep | None]]:
    return [(one.name, one.sweep) for one in result.schedules]


def _report(
    terminal: Terminal,
    workspace: Workspace,
    result: RunResult,
    dead: list[tuple[ScheduleRef, tuple[ErrorGroup, ...]]],
) -> Exit:
    sweeps = _sweeps(result)
    terminal.show(result_table(sweeps, width=terminal.out.width, took=result.took))
    lines = comparisons(sweeps, count_workspace(workspace))
    terminal.out.print(comparison_text(lines), soft_wrap=True)
    if dead:
        terminal.out.print()
        terminal.out.print(Text("Dead letters", style="bold"))
        terminal.show(group_table(dead, terminal.out.width))
    terminal.next_steps(next_commands(workspace, program()))
    return Exit.CLEAN if all(line.equal for line in lines) else Exit.FAILURE
