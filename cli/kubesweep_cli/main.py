"""``kubesweep``: the commands, and the one place where an error becomes a message and an exit code.

Commands import what they need when they run, so that ``kubesweep --help`` loads no database driver.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from kubesweep.errors import KubesweepError
from kubesweep.streams import ignore_write_errors, lost_output, open_missing
from kubesweep_cli.commands.dead_app import app as dead_app
from kubesweep_cli.shell.current_terminal import current_terminal, set_terminal
from kubesweep_cli.shell.exit_codes import Exit, code_of_error
from kubesweep_cli.shell.logs import UNEXPECTED, start_logs
from kubesweep_cli.shell.options import Files, Metrics, Name, Namespace, Notify, Queue, Url
from kubesweep_cli.shell.state_paths import log_file
from kubesweep_cli.shell.terminal import Terminal, open_terminal
from kubesweep_worker.runtime.event_loop import run as run_async

__all__ = ["app", "global_options_first", "main"]

app = typer.Typer(
    name="kubesweep",
    help="Find stale rows in a database, run an effect for each and write them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(dead_app, name="dead")

_GLOBAL = {"-q", "--quiet", "-v", "--verbose", "--no-color"}


def main(argv: list[str] | None = None) -> NoReturn:
    """The entry point. Shows tracebacks only with ``-v``."""
    open_missing()
    ignore_write_errors()
    try:
        _main(sys.argv[1:] if argv is None else argv)
    except SystemExit as end:
        why = lost_output()
        if why:
            current_terminal().error(f"stdout cannot be written: {why}. The command is done, but its output is lost.")
        sys.exit(end.code or (Exit.FAILURE if why else Exit.CLEAN))


def _main(argv: list[str]) -> NoReturn:
    arguments = global_options_first(argv)
    try:
        app(args=arguments, prog_name="kubesweep")
    except KubesweepError as error:
        current_terminal().error(str(error))
        sys.exit(code_of_error(error))
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)
    except Exception as error:
        _unexpected(error)
    sys.exit(Exit.CLEAN)


def _unexpected(error: Exception) -> NoReturn:
    terminal = current_terminal()
    logging.getLogger(UNEXPECTED).error("unexpected error", exc_info=error)
    if terminal.verbosity > 0:
        terminal.err.print("".join(traceback.format_exception(error)), markup=False)
    where = "" if terminal.verbosity > 0 else f"\nThe traceback is in {log_file()}; -v shows it here."
    terminal.error(f"{type(error).__name__}: {error}{where}\nThis is a bug in Kubesweep: please report it.")
    sys.exit(code_of_error(error))


def global_options_first(arguments: list[str]) -> list[str]:
    """Move ``-q``, ``-v`` and ``--no-color`` before the command: typer accepts them only there."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    head, tail = arguments[:end], arguments[end:]
    return [*(word for word in head if word in _GLOBAL), *(word for word in head if word not in _GLOBAL), *tail]


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"kubesweep {version('kubesweep')}")
        raise typer.Exit


@app.callback()
def _globals(
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print results and errors only.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Print more, including tracebacks.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="Print without colours, as with NO_COLOR.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    set_terminal(open_terminal(color=not no_color, verbosity=-1 if quiet else int(verbose)))
    start_logs(current_terminal())


def _run_command(work: Callable[[Terminal], Coroutine[Any, Any, Exit]]) -> None:
    """Run a command and exit with its code."""
    raise typer.Exit(int(run_async(work(current_terminal()))))


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

    _run_command(lambda terminal: run_demo(terminal, rows, keep))


@app.command()
def run(
    file: Files,
    once: Annotated[bool, typer.Option("--once", help="Run one sweep of each schedule now, then exit.")] = False,
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
) -> None:
    """Run the clock, the planner and the workers of every schedule in one process."""
    from kubesweep_cli.commands.run import run_local
    from kubesweep_cli.runner.notice_receiver import parse_receiver
    from kubesweep_cli.runner.runner import RunSettings

    receiver = parse_receiver(notify) if notify else None
    settings = RunSettings(once=once, wait_retries=wait_retries, notify=receiver)
    _run_command(lambda terminal: run_local(terminal, file, queue, url, settings, metrics, ui))


@app.command()
def worker(file: Files, queue: Queue = None, url: Url = None, metrics: Metrics = None) -> None:
    """Run workers only, without a clock. Several may run beside one `run`."""
    from kubesweep_cli.commands.run import run_local
    from kubesweep_cli.runner.runner import RunSettings

    _run_command(lambda terminal: run_local(terminal, file, queue, url, RunSettings(clock=False), metrics))


@app.command()
def check(
    file: Files,
    url: Url = None,
    try_write: Annotated[
        bool, typer.Option("--try-write", help="Write at most 10 rows in a transaction, and roll it back.")
    ] = False,
    probe: Annotated[
        bool, typer.Option("--probe", help="Send an OPTIONS request, which has no effect, to the webhook's receiver.")
    ] = False,
    sql: Annotated[bool, typer.Option("--sql", help="Show the exact SQL and its query plan.")] = False,
) -> None:
    """Check the file, the table and the effect; show which rows match and the next ticks."""
    from kubesweep_cli.commands.check import run_check

    _run_command(lambda terminal: run_check(terminal, file, url, try_write=try_write, sql=sql, probe=probe))


@app.command()
def status(
    name: Name = None,
    namespace: Namespace = None,
    queue: Queue = None,
    output: Annotated[str, typer.Option("-o", "--output", help="Output format: table or json.")] = "table",
) -> None:
    """Print the status of each schedule, from the queue."""
    from kubesweep_cli.commands.status import run_status

    _run_command(lambda terminal: run_status(terminal, queue, name, namespace, output))


@app.command()
def dashboard(
    file: Annotated[
        list[Path] | None,
        typer.Option("-f", "--file", metavar="FILE", help="File of schedules, for their specs and next ticks."),
    ] = None,
    queue: Queue = None,
    port: Annotated[
        str, typer.Option("--port", metavar="[HOST:]PORT", help="Where to listen; a port alone means 127.0.0.1.")
    ] = "8720",
) -> None:
    """Serve web pages that show every schedule of the queue, and act on it."""
    from kubesweep_cli.commands.dashboard import run_dashboard

    _run_command(lambda terminal: run_dashboard(terminal, file or [], queue, port))


@app.command()
def trigger(
    name: Name = None,
    namespace: Namespace = None,
    file: Annotated[
        list[Path] | None, typer.Option("-f", "--file", metavar="FILE", help="File of schedules that never ran.")
    ] = None,
    queue: Queue = None,
) -> None:
    """Start a sweep now; any running `run` or `worker` of the queue processes it."""
    from kubesweep_cli.commands.trigger import run_trigger

    _run_command(lambda terminal: run_trigger(terminal, queue, name, namespace, file or []))


@app.command()
def approve(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the schedule.", show_default=False)],
    namespace: Namespace = None,
    queue: Queue = None,
) -> None:
    """Approve a sweep that waits: it found more rows than approveAbove.rows, or ambiguous times."""
    from kubesweep_cli.commands.trigger import run_approve

    _run_command(lambda terminal: run_approve(terminal, queue, name, namespace))


@app.command()
def throttle(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the schedule.", show_default=False)],
    rate: Annotated[
        str,
        typer.Argument(
            metavar="RATE",
            help="Rows per second; pause: start no row; off: no limit; reset: limits.rowsPerSecond.",
            show_default=False,
        ),
    ],
    namespace: Namespace = None,
    queue: Queue = None,
) -> None:
    """Change the rate of a schedule now; running workers follow within seconds."""
    from kubesweep_cli.commands.throttle import run_throttle

    _run_command(lambda terminal: run_throttle(terminal, queue, name, rate, namespace))
