"""The commands that act on one schedule: trigger, approve, throttle, suspend, resume."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kubesweep_cli.shell.options import Name, NameNeeded, Namespace, Output, Queue, Rate
from kubesweep_cli.syntax.invoke import run_command

__all__ = ["app"]

app = typer.Typer()


@app.command()
def trigger(
    name: Name = None,
    namespace: Namespace = None,
    file: Annotated[
        list[Path] | None, typer.Option("-f", "--file", metavar="FILE", help="File of schedules that never ran.")
    ] = None,
    queue: Queue = None,
    output: Output = "table",
) -> None:
    """Start a sweep now; any running `run` or `worker` of the queue processes it."""
    from kubesweep_cli.commands.trigger import run_trigger

    run_command(lambda terminal: run_trigger(terminal, queue, name, namespace, file or [], output))


@app.command()
def approve(
    name: NameNeeded,
    namespace: Namespace = None,
    queue: Queue = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; without a terminal it never does.")] = False,
    output: Output = "table",
) -> None:
    """Show why a sweep waits and what it would do (rows, oldest, newest, keys), and approve it."""
    from kubesweep_cli.commands.approve import run_approve

    run_command(lambda terminal: run_approve(terminal, queue, name, namespace, yes=yes, output=output))


@app.command()
def throttle(
    name: NameNeeded,
    rate: Rate,
    namespace: Namespace = None,
    queue: Queue = None,
    output: Output = "table",
) -> None:
    """Change the rate of a schedule now; running workers follow within seconds."""
    from kubesweep_cli.commands.throttle import run_throttle

    run_command(lambda terminal: run_throttle(terminal, queue, name, rate, namespace, output))


@app.command()
def suspend(name: NameNeeded, namespace: Namespace = None, queue: Queue = None, output: Output = "table") -> None:
    """Stop a schedule: no tick runs and no row is started, until `resume`."""
    from kubesweep_cli.commands.suspend import run_suspend

    run_command(lambda terminal: run_suspend(terminal, queue, name, namespace, output))


@app.command()
def resume(name: NameNeeded, namespace: Namespace = None, queue: Queue = None, output: Output = "table") -> None:
    """End what `suspend` began. Ticks that passed meanwhile never run."""
    from kubesweep_cli.commands.suspend import run_resume

    run_command(lambda terminal: run_resume(terminal, queue, name, namespace, output))
