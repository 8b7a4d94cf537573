"""The commands that run sweeps, or prepare them: demo, check, run, worker."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kubesweep_cli.shell.options import Files, Metrics, Notify, Output, Paths, Probe, Queue, ShowSql, TryWrite, Url
from kubesweep_cli.syntax.invoke import run_command

__all__ = ["app"]

app = typer.Typer()


@app.command()
def demo(
    rows: Annotated[
        int, typer.Option("--rows", min=100, max=10_000_000, help="Number of conversations to create.")
    ] = 200_000,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", metavar="DIR", help="Folder for the demo. Default: a new temporary folder."),
    ] = None,
) -> None:
    """Sweep the database of a sample support desk on this machine, without any server."""
    from kubesweep_cli.commands.demo import run_demo

    run_command(lambda terminal: run_demo(terminal, rows, keep))


@app.command()
def check(
    paths: Paths = None,
    file: Files = None,
    url: Url = None,
    try_write: TryWrite = False,
    probe: Probe = False,
    sql: ShowSql = False,
    output: Output = "table",
) -> None:
    """Check the file, the table and the effect; show which rows match and the next ticks."""
    from kubesweep_cli.commands.check import run_check
    from kubesweep_cli.shell.schedule_files import needed_files

    files = needed_files("check", paths, file)
    run_command(
        lambda terminal: run_check(terminal, files, url, try_write=try_write, sql=sql, probe=probe, output=output)
    )


@app.command()
def run(
    paths: Paths = None,
    file: Files = None,
    once: Annotated[bool, typer.Option("--once", help="Run one sweep of each schedule now, then exit.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what one sweep of each schedule would do. Changes nothing.")
    ] = False,
    queue: Queue = None,
    url: Url = None,
    wait_retries: Annotated[
        bool, typer.Option("--wait-retries/--no-wait-retries", help="With --once: wait for rows in retry.")
    ] = True,
    metrics: Metrics = None,
    ui: Annotated[
        str | None,
        typer.Option(
            "--ui", metavar="[HOST:]PORT", help="Serve the console too, such as --ui 8720.", show_default=False
        ),
    ] = None,
    notify: Notify = None,
    output: Output = "table",
) -> None:
    """Run the clock, the planner and the workers of every schedule in one process."""
    from kubesweep_cli.commands.run import check_options, run_dry, run_local
    from kubesweep_cli.runner.notice_receiver import parse_receiver
    from kubesweep_cli.runner.runner import RunSettings
    from kubesweep_cli.shell.schedule_files import needed_files

    files = needed_files("run", paths, file)
    check_options(output, once=once, dry_run=dry_run, ui=ui, metrics=metrics)
    if dry_run:
        run_command(lambda terminal: run_dry(terminal, files, url, output))
    receiver = parse_receiver(notify) if notify else None
    settings = RunSettings(once=once, wait_retries=wait_retries, notify=receiver)
    run_command(lambda terminal: run_local(terminal, files, queue, url, settings, metrics, ui, output))


@app.command()
def worker(
    paths: Paths = None, file: Files = None, queue: Queue = None, url: Url = None, metrics: Metrics = None
) -> None:
    """Run workers only, without a clock. Several may run beside one `run`."""
    from kubesweep_cli.commands.run import run_local
    from kubesweep_cli.runner.runner import RunSettings
    from kubesweep_cli.shell.schedule_files import needed_files

    files = needed_files("worker", paths, file)
    run_command(lambda terminal: run_local(terminal, files, queue, url, RunSettings(clock=False), metrics))
