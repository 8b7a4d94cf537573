"""The verbs of ``kubectl sweep`` about pods and dead letters, as typer reads them."""

from __future__ import annotations

from typing import Annotated

import typer

from kubectl_sweep.context import current
from kubectl_sweep.global_options import seconds_of
from kubectl_sweep.verb_group import VerbGroup
from kubesweep.errors import SpecError
from kubesweep_cli.shell.completion import one_of, schedule_names
from kubesweep_cli.shell.options import Error, Keys, Port, Probe, Retrying, ShowSql, TryWrite, Yes

__all__ = ["Document", "Name", "add_verbs"]

dead = typer.Typer(
    help="List, show, retry and purge the rows that used up their attempts.", no_args_is_help=True, cls=VerbGroup
)
Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="Name of the schedule.", show_default=False, autocompletion=schedule_names),
]
All = Annotated[bool, typer.Option("--all", help="Select every dead letter of the schedule.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Count the rows and change nothing.")]
Timeout = Annotated[str, typer.Option("--timeout", metavar="TIME", help="Longest wait for the controller's answer.")]
Document = Annotated[
    str,
    typer.Option(
        "-o",
        "--output",
        help="Output format: json or yaml.",
        show_default=False,
        autocompletion=one_of("json", "yaml"),
    ),
]


def add_verbs(app: typer.Typer) -> None:
    app.add_typer(dead, name="dead")
    app.command()(check)
    app.command()(logs)
    app.command()(report)
    app.command()(dashboard)


@dead.command("list")
def dead_list(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME...]",
            help="Names of schedules. Default: all.",
            show_default=False,
            autocompletion=schedule_names,
        ),
    ] = None,
    error: Error = None,
    output: Document = "",
) -> None:
    """List dead letters by schedule and error, from the status."""
    from kubectl_sweep.commands.dead_list import run_list
    from kubectl_sweep.dead.choice import make_choice

    raise typer.Exit(int(run_list(current(), names or [], make_choice(error, None), output)))


@dead.command("show")
def dead_show(
    name: Name,
    error: Error = None,
    key: Keys = None,
    most: Annotated[int, typer.Option("--most", min=1, max=10_000, help="Show at most this many.")] = 100,
    retrying: Retrying = False,
    output: Document = "",
) -> None:
    """Show each dead letter with the history of its attempts, read in the schedule's namespace."""
    from kubectl_sweep.commands.dead_list import run_show
    from kubectl_sweep.dead.choice import make_choice

    choice = make_choice(error, key)
    raise typer.Exit(int(run_show(current(), name, choice, most=most, retrying=retrying, output=output)))


def _acts(verb: str, help_: str) -> None:
    """Add a verb that changes the chosen dead letters."""

    @dead.command(verb, help=help_)
    def act(
        name: Name,
        error: Error = None,
        key: Keys = None,
        all_: All = False,
        dry_run: DryRun = False,
        yes: Yes = False,
        timeout: Timeout = "60s",
    ) -> None:
        from kubectl_sweep.commands.dead_act import VERBS, run_act
        from kubectl_sweep.dead.choice import make_choice

        choice, wait = make_choice(error, key), seconds_of(timeout, "--timeout")
        ended = run_act(current(), VERBS[verb], name, choice, all_=all_, yes=yes, dry_run=dry_run, timeout=wait)
        raise typer.Exit(int(ended))


_acts("retry", "Try dead letters and rows in retry again now, with the same idempotency keys.")
_acts("purge", "Remove dead letters and rows in retry from the queue: the next sweep finds the rows again.")


def check(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", help="Name of the schedule.", show_default=False, autocompletion=schedule_names
        ),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "-f", "--file", metavar="FILE", help="Validate this file instead; - is stdin.", show_default=False
        ),
    ] = None,
    sql: ShowSql = False,
    try_write: TryWrite = False,
    probe: Probe = False,
    output: Document = "",
) -> None:
    """Check table, effect and network from a short Job of the schedule's own pod template."""
    from kubectl_sweep.commands.check import run_check, run_check_file

    if (name is None) == (file is None):
        raise SpecError("NameNeeded", "check takes either the NAME of a schedule in the cluster or -f FILE.")
    if file is not None:
        raise typer.Exit(int(run_check_file(current(), file)))
    assert name is not None
    raise typer.Exit(int(run_check(current(), name, sql=sql, try_write=try_write, probe=probe, output=output)))


def logs(
    name: Name,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Print new lines, of new pods too, until Ctrl-C.")
    ] = False,
    ticks: Annotated[
        bool | None,
        typer.Option("--ticks/--no-ticks", help="Only the pods of ticks, or only the workers.", show_default=False),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="Only lines of the last 5m, 2h and so on.", show_default=False),
    ] = None,
    tail: Annotated[
        int | None,
        typer.Option("--tail", min=0, help="The last lines of each pod. Default: 200, with -f 10.", show_default=False),
    ] = None,
    previous: Annotated[bool, typer.Option("-p", "--previous", help="The log before the last restart.")] = False,
    output: Annotated[
        str,
        typer.Option(
            "-o", "--output", help="text, raw or json. Default: text on a terminal, else raw.", show_default=False
        ),
    ] = "",
) -> None:
    """Print the logs of a schedule's workers and ticks."""
    from kubectl_sweep.commands.logs import LogOptions, run_logs

    seconds = None if since is None else seconds_of(since, "--since")
    raise typer.Exit(int(run_logs(current(), name, LogOptions(follow, ticks, seconds, tail, previous, output))))


def report(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", help="Name of the schedule.", show_default=False, autocompletion=schedule_names
        ),
    ] = None,
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="FILE.zip", help="Where to write it.", show_default=False)
    ] = None,
    with_keys: Annotated[bool, typer.Option("--with-keys", help="Keep the keys of rows.")] = False,
) -> None:
    """Write a zip for a bug report: objects, Events and logs, without secrets."""
    from kubectl_sweep.commands.report import run_report

    raise typer.Exit(int(run_report(current(), name, output, with_keys=with_keys)))


def dashboard(
    port: Port = "8720",
) -> None:
    """Serve web pages of the schedules on this machine, with your own rights."""
    from kubectl_sweep.commands.dashboard import run_dashboard

    raise typer.Exit(int(run_dashboard(current(), port)))
