"""The commands that show what the queue has: status, history, dashboard."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kubesweep_cli.shell.options import ListOutput, Name, Namespace, Paths, Port, Queue, Watch
from kubesweep_cli.syntax.invoke import run_command

__all__ = ["app"]

app = typer.Typer()


@app.command()
def status(
    name: Name = None,
    namespace: Namespace = None,
    queue: Queue = None,
    output: ListOutput = "table",
    watch: Watch = False,
) -> None:
    """Print the status of each schedule, from the queue."""
    from kubesweep_cli.commands.status import run_status, watch_status

    show = watch_status if watch else run_status
    run_command(lambda terminal: show(terminal, queue, name, namespace, output))


@app.command()
def history(
    name: Name = None,
    namespace: Namespace = None,
    queue: Queue = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=100, help="Show at most this many of each schedule.")
    ] = 11,
    output: ListOutput = "table",
) -> None:
    """Print the past sweeps of a schedule, the latest first."""
    from kubesweep_cli.commands.history import run_history

    run_command(lambda terminal: run_history(terminal, queue, name, namespace, limit, output))


@app.command()
def dashboard(
    paths: Paths = None,
    file: Annotated[
        list[Path] | None,
        typer.Option("-f", "--file", metavar="FILE", help="File of schedules, for their specs and next ticks."),
    ] = None,
    queue: Queue = None,
    port: Port = "8720",
) -> None:
    """Serve web pages that show every schedule of the queue, and act on it."""
    from kubesweep_cli.commands.dashboard import run_dashboard

    run_command(lambda terminal: run_dashboard(terminal, [*(paths or ()), *(file or ())], queue, port))
