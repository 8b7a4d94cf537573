"""The verbs of ``kubectl sweep``.

Verbs import what they need when they run, so that ``--help`` does not load the client of the cluster.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Annotated, NoReturn

import typer

from kubectl_sweep import completion
from kubectl_sweep.cluster.options import ClusterOptions
from kubectl_sweep.context import Context, current, set_current
from kubectl_sweep.global_options import seconds_of
from kubectl_sweep.pod_verbs import Document, Name, add_verbs
from kubectl_sweep.verb_group import VerbGroup
from kubesweep_cli.shell.completion import namespaces, one_of, schedule_names
from kubesweep_cli.shell.endings import run_to_end
from kubesweep_cli.shell.exit_codes import Exit
from kubesweep_cli.shell.options import CommandWords, Rate, not_empty, show_help
from kubesweep_cli.shell.terminal import open_terminal

__all__ = ["app", "run"]

ANSWER = 30.0  # seconds to wait for the controller's answer to a command

app = typer.Typer(
    name="kubectl sweep",
    help="See the SweepSchedules of a cluster, find out why one is late, and act on it, with your own rights.",
    cls=VerbGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Output = Annotated[
    str,
    typer.Option(
        "-o",
        "--output",
        help="Output format: wide, json, yaml or name.",
        show_default=False,
        autocompletion=one_of("wide", "json", "yaml", "name"),
    ),
]
_NAMES = typer.Argument(metavar="NAME", help="Names of schedules.", show_default=False, autocompletion=schedule_names)
Names = Annotated[list[str], _NAMES]
SomeNames = Annotated[list[str] | None, _NAMES]
All = Annotated[bool, typer.Option("--all", help="All schedules of the namespace; with -A, of all namespaces.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="With --all: do not ask.")]


def run(arguments: list[str]) -> NoReturn:
    """Run the verb and exit. Shows tracebacks only with ``-v``."""
    run_to_end(
        lambda: _run(arguments), lambda: current().terminal, lambda _: "-v shows the traceback.", extra="kubectl"
    )


def _run(arguments: list[str]) -> None:
    asked = os.environ.get(completion.VARIABLE)
    if asked == "kubectl":
        completion.complete_for_kubectl(app, arguments)
    if asked:
        completion.complete_for_shell(app)
    app(args=arguments, prog_name="kubectl sweep", standalone_mode=True)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"kubectl-sweep {version('kubesweep')}")
        raise typer.Exit


@app.callback()
def _globals(
    namespace: Annotated[
        str | None,
        typer.Option(
            "-n",
            "--namespace",
            help="Namespace. Default: the context's.",
            callback=not_empty,
            autocompletion=namespaces,
        ),
    ] = None,
    all_namespaces: Annotated[bool, typer.Option("-A", "--all-namespaces", help="All namespaces.")] = False,
    context: Annotated[str | None, typer.Option("--context", help="Context of the kubeconfig.")] = None,
    kubeconfig: Annotated[
        str | None, typer.Option("--kubeconfig", metavar="FILE", help="Default: $KUBECONFIG, else ~/.kube/config.")
    ] = None,
    as_user: Annotated[str | None, typer.Option("--as", metavar="USER", help="Act as this user.")] = None,
    as_groups: Annotated[
        list[str] | None,
        typer.Option("--as-group", metavar="GROUP", help="Act as a member of this group; may be repeated."),
    ] = None,
    request_timeout: Annotated[
        str | None,
        typer.Option(
            "--request-timeout", metavar="TIME", help="Longest wait for the API server, such as 60s; 0: no limit."
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print results and errors only.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Print more, including tracebacks.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="Print without colours, as with NO_COLOR.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    terminal = open_terminal(color=not no_color, verbosity=-1 if quiet else int(verbose))
    set_current(Context(terminal, ClusterOptions()))  # so that a wrong option below is printed as the others ask
    options = ClusterOptions(
        namespace=namespace,
        all_namespaces=all_namespaces,
        context=context,
        kubeconfig=kubeconfig,
        as_user=as_user,
        as_groups=tuple(as_groups or ()),
        request_timeout=None if request_timeout is None else seconds_of(request_timeout, "--request-timeout"),
    )
    set_current(Context(terminal, options))


def finish(work: Callable[[Context], Exit]) -> NoReturn:
    """Run a verb and exit with its code."""
    try:
        code = work(current())
    except KeyboardInterrupt:  # typer would print a word and exit with another code
        code = Exit.INTERRUPTED
    raise typer.Exit(int(code))


@app.command()
def get(
    names: SomeNames = None,
    selector: Annotated[str, typer.Option("-l", "--selector", help="Select by labels.", show_default=False)] = "",
    output: Output = "",
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Print a line for each change, until Ctrl-C.")] = False,
) -> None:
    """List schedules with their state: which are well, late, degraded or waiting for you."""
    from kubectl_sweep.commands.get import run_get

    finish(lambda context: run_get(context, names or [], selector, output, watch))


@app.command()
def status(name: Name, output: Document = "") -> None:
    """Show one schedule on one screen: is it well, what it did, what is next."""
    from kubectl_sweep.commands.status import run_status

    finish(lambda context: run_status(context, name, output))


@app.command()
def why(name: Name, output: Document = "") -> None:
    """Say in one sentence why a schedule is late or wrong, and the command that fixes it."""
    from kubectl_sweep.commands.why import run_why

    finish(lambda context: run_why(context, name, output))


@app.command()
def trigger(
    names: Names,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait",
            help="Show the progress until the sweep ends and no row of it is retried; the exit code tells how.",
        ),
    ] = False,
    timeout: Annotated[
        str | None,
        typer.Option("--timeout", metavar="TIME", help="With --wait: longest wait, such as 10m.", show_default=False),
    ] = None,
) -> None:
    """Start a sweep now."""
    from kubectl_sweep.commands.trigger import run_trigger

    limit = None if timeout is None else seconds_of(timeout, "--timeout")
    finish(lambda context: run_trigger(context, names, wait, limit, ANSWER))


@app.command()
def approve(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Show what a sweep that awaits approval would do, ask, and approve it."""
    from kubectl_sweep.commands.approve import run_approve

    finish(lambda context: run_approve(context, name, yes, ANSWER))


@app.command()
def suspend(names: SomeNames = None, every: All = False, yes: Yes = False) -> None:
    """Stop schedules: no tick fires and no worker runs until you resume them."""
    from kubectl_sweep.commands.suspend import run_suspend

    finish(lambda context: run_suspend(context, names or [], every, yes))


@app.command()
def resume(names: SomeNames = None, every: All = False, yes: Yes = False) -> None:
    """Resume suspended schedules."""
    from kubectl_sweep.commands.suspend import run_resume

    finish(lambda context: run_resume(context, names or [], every, yes))


@app.command()
def throttle(
    name: Name,
    rate: Rate,
) -> None:
    """Change the rate of a schedule now; running workers follow within seconds."""
    from kubectl_sweep.commands.throttle import run_throttle

    finish(lambda context: run_throttle(context, name, rate, ANSWER))


@app.command()
def version() -> None:
    """Print the version of this program. `report` also has those of the cluster."""
    _version(True)


@app.command("help")
def help_(ctx: typer.Context, command: CommandWords = None) -> None:
    """Show the help of a verb."""
    show_help(ctx, command)


@app.command("completion")
def print_completion(
    shell: Annotated[
        str,
        typer.Argument(
            metavar="[SHELL]",
            help="kubectl, for its own completion, or bash, zsh or fish, where you type kubectl-sweep.",
            autocompletion=one_of(*completion.SHELLS),
        ),
    ] = "kubectl",
) -> None:
    """Print the program with which kubectl completes verbs, options and names of schedules."""
    if shell not in completion.SHELLS:
        raise typer.BadParameter("write kubectl, bash, zsh or fish.")
    print(completion.script(shell))


add_verbs(app)
