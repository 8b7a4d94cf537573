"""``kubesweep``: the commands, and the one place where an error becomes a sentence and an exit code.

Commands import what they need when they run: ``kubesweep --help`` must not wait for a database driver.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

from kubesweep.errors import KubesweepError
from kubesweep.streams import be_lenient, lost_output, open_missing
from kubesweep_cli.shell.exit_codes import Exit, code_of_error
from kubesweep_cli.shell.logs import UNFORESEEN, start_logs
from kubesweep_cli.shell.state_paths import log_file, queue_url
from kubesweep_cli.shell.terminal import Terminal, open_terminal
from kubesweep_worker.runtime.event_loop import run as run_async

if TYPE_CHECKING:
    from kubesweep.queue.service import QueueService
    from kubesweep_cli.commands.dead_letters import Choice

T = TypeVar("T")

__all__ = ["app", "hoist", "main"]

app = typer.Typer(
    name="kubesweep",
    help="Finds rows that have gone stale in a database and deals with each of them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
dead = typer.Typer(help="Rows that used up their attempts, grouped by error.", no_args_is_help=True)
app.add_typer(dead, name="dead")

_GLOBAL = {"-q", "--quiet", "-v", "--verbose", "--no-color"}


@dataclass
class _Shell:
    """What the global options made of the terminal; set before any command runs."""

    terminal: Terminal


_shell = _Shell(open_terminal())


def main(argv: list[str] | None = None) -> NoReturn:
    """The entry point. Never shows a traceback unless asked with ``-v``."""
    open_missing()
    be_lenient()
    try:
        _main(sys.argv[1:] if argv is None else argv)
    except SystemExit as end:
        why = lost_output()
        if why:
            _shell.terminal.error(f"stdout cannot be written: {why}. What was asked for is done, its report is lost.")
        sys.exit(end.code or (Exit.ROWS_DIED if why else Exit.CLEAN))


def _main(argv: list[str]) -> NoReturn:
    arguments = hoist(argv)
    try:
        app(args=arguments, prog_name="kubesweep")
    except KubesweepError as error:
        _shell.terminal.error(str(error))
        sys.exit(code_of_error(error))
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)
    except Exception as error:
        _unforeseen(error)
    sys.exit(Exit.CLEAN)


def _unforeseen(error: Exception) -> NoReturn:
    logging.getLogger(UNFORESEEN).error("unforeseen", exc_info=error)
    if _shell.terminal.verbosity > 0:
        _shell.terminal.err.print("".join(traceback.format_exception(error)), markup=False)
    where = "" if _shell.terminal.verbosity > 0 else f"\nThe whole story is in {log_file()}; -v shows it here."
    _shell.terminal.error(f"{type(error).__name__}: {error}{where}\nThis is a bug of Kubesweep: please report it.")
    sys.exit(code_of_error(error))


def hoist(arguments: list[str]) -> list[str]:
    """``-q``, ``-v`` and ``--no-color`` may stand anywhere, as people write them: move them before the command."""
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
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only results and errors.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Say more; show tracebacks.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colours (as with NO_COLOR).")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    _shell.terminal = open_terminal(color=not no_color, verbosity=-1 if quiet else int(verbose))
    start_logs(_shell.terminal)


def _ends(work: Callable[[Terminal], Coroutine[Any, Any, Exit]]) -> None:
    """Run a command to its end and leave with its code."""
    raise typer.Exit(int(run_async(work(_shell.terminal))))


Files = Annotated[
    list[Path],
    typer.Option("-f", "--file", metavar="FILE", help="YAML file or folder; may be repeated.", show_default=False),
]
Queue = Annotated[
    str | None,
    typer.Option(
        "--queue", metavar="URL", help="The queue; default $KUBESWEEP_QUEUE, else a file in your state folder."
    ),
]
Url = Annotated[str | None, typer.Option("--url", metavar="URL", help="The database, instead of the Secret's URL.")]
Name = Annotated[str | None, typer.Argument(metavar="[NAME]", help="The schedule.", show_default=False)]
Namespace = Annotated[str | None, typer.Option("-n", "--namespace", help="Its namespace, where two share a name.")]
Error = Annotated[str | None, typer.Option("--error", metavar="CLASS", help="Only this error.")]
Keys = Annotated[
    list[str] | None, typer.Option("--key", metavar="KEY", help='Only this row: 42, or ["eu","17"]; may be repeated.')
]
All = Annotated[bool, typer.Option("--all", help="Every schedule of the queue.")]
Retrying = Annotated[bool, typer.Option("--retrying", help="Rows that wait for a retry instead of dead letters.")]


@app.command()
def demo(
    rows: Annotated[int, typer.Option("--rows", min=100, max=10_000_000, help="Conversations to make.")] = 200_000,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", metavar="DIR", help="Where to make the demo; default a new temporary folder."),
    ] = None,
) -> None:
    """Sweep a made-up support desk on this machine: no server, no file of yours."""
    from kubesweep_cli.commands.demo import run_demo

    _ends(lambda terminal: run_demo(terminal, rows, keep))


@app.command()
def run(
    file: Files,
    once: Annotated[bool, typer.Option("--once", help="One sweep of each schedule now, then end.")] = False,
    queue: Queue = None,
    url: Url = None,
    wait_retries: Annotated[
        bool, typer.Option("--wait-retries/--no-wait-retries", help="With --once: wait for rows that are tried again.")
    ] = True,
) -> None:
    """Clock, planner and workers of every schedule in one process."""
    from kubesweep_cli.commands.run import run_local
    from kubesweep_cli.runner.runner import RunSettings

    settings = RunSettings(once=once, wait_retries=wait_retries)
    _ends(lambda terminal: run_local(terminal, file, queue, url, settings))


@app.command()
def worker(file: Files, queue: Queue = None, url: Url = None) -> None:
    """Only workers, no clock: several may run beside one `run`."""
    from kubesweep_cli.commands.run import run_local
    from kubesweep_cli.runner.runner import RunSettings

    _ends(lambda terminal: run_local(terminal, file, queue, url, RunSettings(clock=False)))


@app.command()
def check(
    file: Files,
    url: Url = None,
    try_write: Annotated[
        bool, typer.Option("--try-write", help="Write at most 10 rows in a transaction that is rolled back.")
    ] = False,
    probe: Annotated[
        bool, typer.Option("--probe", help="Ask the webhook's receiver with OPTIONS, which has no effect.")
    ] = False,
    sql: Annotated[bool, typer.Option("--sql", help="Show the exact SQL, and the database's plan of it.")] = False,
) -> None:
    """Look before you sweep: the file, the table, the effect, what would match, and when."""
    from kubesweep_cli.commands.check import run_check

    _ends(lambda terminal: run_check(terminal, file, url, try_write=try_write, sql=sql, probe=probe))


@app.command()
def status(
    name: Name = None,
    namespace: Namespace = None,
    queue: Queue = None,
    output: Annotated[str, typer.Option("-o", "--output", help="table or json.")] = "table",
) -> None:
    """What the queue knows of each schedule, once."""
    from kubesweep_cli.commands.status import run_status

    _ends(lambda terminal: run_status(terminal, queue, name, namespace, output))


@app.command()
def trigger(
    name: Name = None,
    namespace: Namespace = None,
    file: Annotated[
        list[Path] | None, typer.Option("-f", "--file", metavar="FILE", help="Schedules that never ran: their file.")
    ] = None,
    queue: Queue = None,
) -> None:
    """Start a sweep now; a running `run` or `worker` does it."""
    from kubesweep_cli.commands.status import run_trigger

    _ends(lambda terminal: run_trigger(terminal, queue, name, namespace, file or []))


@app.command()
def approve(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The schedule.", show_default=False)],
    namespace: Namespace = None,
    queue: Queue = None,
) -> None:
    """Let a sweep go on that waits: it found more than approveAbove.rows, or times that may mean something else."""
    from kubesweep_cli.commands.status import run_approve

    _ends(lambda terminal: run_approve(terminal, queue, name, namespace))


def _at_queue(choice: Choice, move: Callable[[QueueService], Coroutine[Any, Any, T]]) -> T:
    """The answer of one move on the queue of ``choice``."""

    async def work() -> T:
        from kubesweep_cli.commands.status import opened_queue

        async with opened_queue(choice.queue) as queue:
            return await move(queue)

    return run_async(work())


def _choice(queue: str | None, name: str | None, namespace: str | None, error: str | None, **more: Any) -> Choice:
    from kubesweep_cli.commands.dead_letters import Choice

    return Choice(queue=queue_url(queue), option=queue, name=name, namespace=namespace, error=error, **more)


@dead.command("list")
def dead_list(
    name: Name = None,
    namespace: Namespace = None,
    queue: Queue = None,
    error: Error = None,
    retrying: Retrying = False,
) -> None:
    """The dead letters of one schedule or of all, by error."""
    from kubesweep_cli.commands import dead_letters as commands

    choice = _choice(queue, name, namespace, error, retrying=retrying)
    raise typer.Exit(_at_queue(choice, lambda service: commands.dead_list(service, _shell.terminal, choice)))


@dead.command("show")
def dead_show(
    name: Name = None,
    namespace: Namespace = None,
    queue: Queue = None,
    error: Error = None,
    key: Keys = None,
    most: Annotated[int, typer.Option("--most", min=1, max=10_000, help="How many at most.")] = 100,
    retrying: Retrying = False,
) -> None:
    """Each dead letter with the history of its attempts."""
    from kubesweep_cli.commands import dead_letters as commands

    choice = _choice(queue, name, namespace, error, keys=tuple(key or ()), retrying=retrying)
    raise typer.Exit(_at_queue(choice, lambda service: commands.dead_show(service, _shell.terminal, choice, most)))


@dead.command("retry")
def dead_retry(
    name: Name = None,
    namespace: Namespace = None,
    queue: Queue = None,
    error: Error = None,
    key: Keys = None,
    all_: All = False,
) -> None:
    """Try them, and rows in retry, again now, under the same idempotency keys."""
    from kubesweep_cli.commands import dead_letters as commands

    choice = _choice(queue, name, namespace, error, keys=tuple(key or ()), all=all_)
    raise typer.Exit(_at_queue(choice, lambda service: commands.dead_retry(service, _shell.terminal, choice)))


@dead.command("purge")
def dead_purge(
    name: Name = None,
    namespace: Namespace = None,
    queue: Queue = None,
    error: Error = None,
    key: Keys = None,
    all_: All = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Forget them, and rows in retry: the next sweep picks the rows up again."""
    from kubesweep_cli.commands import dead_letters as commands

    choice = _choice(queue, name, namespace, error, keys=tuple(key or ()), all=all_)
    # Asked between two moves: a question inside the event loop would not let Ctrl-C through.
    total = _at_queue(choice, lambda service: commands.dead_doomed(service, choice))
    if commands.confirmed(_shell.terminal, total, yes=yes):
        raise typer.Exit(_at_queue(choice, lambda service: commands.dead_purge(service, _shell.terminal, choice)))
