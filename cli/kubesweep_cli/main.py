"""``kubesweep``: puts the commands of ``syntax`` together."""

from __future__ import annotations

import os
import sys
from typing import Annotated, NoReturn

import typer

from kubesweep_cli.shell.current_terminal import choose_terminal, current_terminal
from kubesweep_cli.shell.endings import run_to_end
from kubesweep_cli.syntax import dead, init, program, reading, running, steering
from kubesweep_cli.syntax.arguments import in_typers_order
from kubesweep_cli.syntax.group import CommandGroup

__all__ = ["app", "main"]

app = typer.Typer(
    name="kubesweep",
    help="Find stale rows in a database, run an effect for each and write them.",
    cls=CommandGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain text is quicker to load, and readable at any width
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (init, running, reading, steering):
    app.add_typer(group.app)
app.add_typer(dead.app, name="dead")
app.add_typer(program.app)


def main(argv: list[str] | None = None) -> NoReturn:
    """The entry point. Shows tracebacks only with ``-v``."""
    run_to_end(lambda: _run(sys.argv[1:] if argv is None else argv), current_terminal, _record)


def _run(argv: list[str]) -> None:
    if program.COMPLETION_VARIABLE in os.environ:
        from kubesweep_cli.shell.completion import complete, leave

        leave(complete(app, "kubesweep", program.COMPLETION_VARIABLE))
    arguments = in_typers_order(argv)
    app(args=arguments, prog_name="kubesweep", obj=arguments)


def _record(error: Exception) -> str:
    import logging

    from kubesweep_cli.shell.logs import UNEXPECTED
    from kubesweep_cli.shell.state_paths import log_file

    logging.getLogger(UNEXPECTED).error("unexpected error", exc_info=error)
    return f"The traceback is in {log_file()}; -v shows it here."


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"kubesweep {version('kubesweep')}")
        raise typer.Exit


@app.callback()
def _globals(
    context: typer.Context,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print results and errors only.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Print more, including tracebacks.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="Print without colours, as with NO_COLOR.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    verbosity = -1 if quiet else int(verbose)
    choose_terminal(color=not no_color, verbosity=verbosity)
    if _helps(context):
        return
    from kubesweep_cli.shell.logs import start_logs

    start_logs(verbosity)


def _helps(context: typer.Context) -> bool:
    """Whether only a help page or the like is printed, which needs no log."""
    about_program = context.invoked_subcommand in ("help", "version", "completion")
    return about_program or bool({"--help", "-h"}.intersection(context.obj or ()))
