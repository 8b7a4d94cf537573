"""The end of ``kubesweep run``: the table, what needs attention, and the next steps."""

from __future__ import annotations

from kubesweep.queue.model import SweepState, plain_key
from kubesweep_cli.runner.progress import ScheduleProgress
from kubesweep_cli.runner.runner import RunResult
from kubesweep_cli.shell.schedule_names import typed_name
from kubesweep_cli.shell.state_paths import program, queue_option
from kubesweep_cli.shell.terminal import Terminal
from kubesweep_cli.views import formatting
from kubesweep_cli.views.result_table import result_table
from kubesweep_cli.views.schedule_view import balance

__all__ = ["next_steps", "report"]


def report(terminal: Terminal, result: RunResult, option: str | None, *, run: str, check: str) -> None:
    """Print the result. ``run`` and ``check`` are the commands for the same files; ``option`` is ``--queue``."""
    rows = [(one.name, one.sweep) for one in result.schedules]
    terminal.show(result_table(rows, width=terminal.out.width, took=result.took))
    sweeps = [sweep for _, sweep in rows if sweep is not None and sweep.mode != "DryRun"]
    if sweeps and all(sweep.state.settled for sweep in sweeps):
        terminal.line(f"  {balance(sweeps)}")
    for one in result.schedules:
        _explain(terminal, one)
    steps = next_steps(result, option, run)
    if any(sweep.state is SweepState.FAILED for sweep in sweeps):
        steps.insert(0, (check, "show the problem in detail"))
    terminal.next_steps(steps)


def _explain(terminal: Terminal, one: ScheduleProgress) -> None:
    sweep = one.sweep
    if sweep is None:
        return
    for earlier, became in one.settled_earlier:
        tick = formatting.local_time(earlier.tick)
        outcomes = ", ".join(f"{formatting.count(number)} {name}" for name, number in became.items())
        terminal.line(f"  {one.name}: rows in retry from the sweep of {tick}: {outcomes}")
    if sweep.message and sweep.state is not SweepState.COMPLETED:
        terminal.warn(f"  {one.name}: {sweep.reason}: {sweep.message}")
    if sweep.capped and sweep.tried_all:
        terminal.say(
            f"  {one.name}: this sweep planned as many rows as one sweep may (maxRowsPerSweep, or twice what was stale); "
            "the next sweep continues where it stopped."
        )
    if sweep.mode == "DryRun" and sweep.samples:
        keys = ", ".join(plain_key(key) for key in sweep.samples[:10])
        terminal.line(f"  {one.name}: DryRun, nothing was changed; keys of rows that match: {keys}")


def next_steps(result: RunResult, option: str | None, run: str) -> list[tuple[str, str]]:
    """Pairs of command and purpose."""
    steps: list[tuple[str, str]] = []
    awaiting = [
        (one, one.sweep)
        for one in result.schedules
        if one.sweep is not None and one.sweep.state is SweepState.AWAITING_APPROVAL
    ]
    for one, sweep in awaiting:
        approve = f"{program()} approve {typed_name(one.ref)}{queue_option(option)}"
        steps.append((approve, f"look at the sweep, and let it continue ({sweep.reason})"))
    if any(one.stats.dead for one in result.schedules):
        steps.append((f"{program()} dead list{queue_option(option)}", "list the dead letters, grouped by error"))
    if result.waiting:
        steps.append((run, "continue with the rows in retry"))
    elif result.interrupted:
        steps.append((run, "continue where this run stopped"))
    elif awaiting:
        steps.append((run, "then run the approved sweep"))
    return steps
