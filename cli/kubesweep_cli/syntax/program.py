"""The commands about the program itself: help, version, completion."""

from __future__ import annotations

from typing import Annotated

import typer

from kubesweep_cli.shell.completion import one_of
from kubesweep_cli.shell.options import CommandWords, Output, show_help

__all__ = ["COMPLETION_VARIABLE", "app"]

COMPLETION_VARIABLE = "_KUBESWEEP_COMPLETE"  # set by the scripts of `completion`
SHELLS = ("bash", "zsh", "fish")

app = typer.Typer()


@app.command()
def completion(
    shell: Annotated[
        str,
        typer.Argument(metavar="SHELL", help="bash, zsh or fish.", show_default=False, autocompletion=one_of(*SHELLS)),
    ],
) -> None:
    """Print the script with which a shell completes commands, options and names of schedules."""
    from typer._completion_shared import get_completion_script

    if shell not in SHELLS:
        raise typer.BadParameter("write bash, zsh or fish.")
    print(get_completion_script(prog_name="kubesweep", complete_var=COMPLETION_VARIABLE, shell=shell))


@app.command("help")
def help_(ctx: typer.Context, command: CommandWords = None) -> None:
    """Show the help of a command."""
    show_help(ctx, command)


@app.command()
def version(output: Output = "table") -> None:
    """Print the version."""
    import platform
    from importlib.metadata import version as version_of

    found = {"kubesweep": version_of("kubesweep"), "python": platform.python_version(), "platform": platform.platform()}
    if output == "table":
        print(f"kubesweep {found['kubesweep']}")
        return
    from kubesweep_cli.shell.current_terminal import current_terminal
    from kubesweep_cli.shell.output import check_output, print_document

    print_document(current_terminal(), check_output(output), found)
