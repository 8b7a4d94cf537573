"""The options and arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kubesweep_cli.shell.completion import error_names, namespaces, one_of, schedule_names

__all__ = [
    "All",
    "CommandWords",
    "Error",
    "Files",
    "Keys",
    "ListOutput",
    "Metrics",
    "Name",
    "NameNeeded",
    "Namespace",
    "Notify",
    "Output",
    "Paths",
    "Port",
    "Probe",
    "Queue",
    "Rate",
    "Retrying",
    "ShowSql",
    "TryWrite",
    "Url",
    "Watch",
    "Yes",
    "not_empty",
    "show_help",
]


def not_empty(value: str | None) -> str | None:
    """The value of an option: ``--namespace=$SPACE`` with an unset variable must not silently mean something else."""
    if value is not None and not value.strip():
        raise typer.BadParameter("it is empty. Is a variable not set? Without the option, the default counts.")
    return value


def show_help(ctx: typer.Context, command: list[str] | None) -> None:
    """What ``COMMAND --help`` prints."""
    root = ctx.find_root()
    root.command.main(args=[*(command or []), "--help"], prog_name=root.info_name)


Paths = Annotated[
    list[Path] | None,
    typer.Argument(metavar="FILE", help="YAML file or folder; - is stdin.", show_default=False),
]
Files = Annotated[
    list[Path] | None,
    typer.Option("-f", "--file", metavar="FILE", help="The same as an option; may be repeated.", show_default=False),
]
Queue = Annotated[
    str | None,
    typer.Option(
        "--queue",
        metavar="URL",
        help="URL of the queue. Default: $KUBESWEEP_QUEUE, else a file in your state folder.",
        callback=not_empty,
    ),
]
Notify = Annotated[
    str | None,
    typer.Option(
        "--notify",
        metavar="URL",
        envvar="KUBESWEEP_NOTIFY",
        show_envvar=False,
        help="Post a notice here when a schedule turns Degraded, awaits approval or recovers. Default: $KUBESWEEP_NOTIFY.",
    ),
]
Url = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="Use this database instead of the Secret's.", callback=not_empty),
]
Metrics = Annotated[
    str | None,
    typer.Option(
        "--metrics", metavar="[HOST:]PORT", help="Serve the workers' metrics there for Prometheus, such as on :9108."
    ),
]
Name = Annotated[
    str | None,
    typer.Argument(metavar="NAME", help="Name of the schedule.", show_default=False, autocompletion=schedule_names),
]
NameNeeded = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the schedule.", show_default=False, autocompletion=schedule_names)
]
Namespace = Annotated[
    str | None,
    typer.Option(
        "-n",
        "--namespace",
        help="Namespace of the schedule, if two share its name.",
        callback=not_empty,
        autocompletion=namespaces,
    ),
]
Output = Annotated[
    str,
    typer.Option(
        "-o",
        "--output",
        metavar="FORMAT",
        help="table, json or yaml.",
        autocompletion=one_of("table", "json", "yaml"),
    ),
]
ListOutput = Annotated[
    str,
    typer.Option(
        "-o",
        "--output",
        metavar="FORMAT",
        help="table, wide, json or yaml.",
        autocompletion=one_of("table", "wide", "json", "yaml"),
    ),
]
Error = Annotated[
    str | None,
    typer.Option(
        "--error",
        metavar="CLASS",
        help="Select rows with this error.",
        callback=not_empty,
        autocompletion=error_names,
    ),
]
Keys = Annotated[
    list[str] | None,
    typer.Option("--key", metavar="KEY", help='Select this row: 42, or ["eu","17"]; may be repeated.'),
]
CommandWords = Annotated[
    list[str] | None, typer.Argument(metavar="COMMAND", help="Such as: dead retry.", show_default=False)
]
All = Annotated[bool, typer.Option("--all", help="Select every schedule of the queue.")]
Rate = Annotated[
    str,
    typer.Argument(
        metavar="RATE",
        help="Rows per second; pause: start no row; off: no limit; reset: limits.rowsPerSecond.",
        show_default=False,
        autocompletion=one_of("pause", "off", "reset"),
    ),
]
TryWrite = Annotated[
    bool, typer.Option("--try-write", help="Write at most 10 rows in a transaction, and roll it back.")
]
Probe = Annotated[
    bool, typer.Option("--probe", help="Send an OPTIONS request, which has no effect, to the webhook's receiver.")
]
ShowSql = Annotated[bool, typer.Option("--sql", help="Show the exact SQL and its query plan.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
Port = Annotated[
    str, typer.Option("--port", metavar="[HOST:]PORT", help="Where to listen; a port alone means 127.0.0.1.")
]
Watch = Annotated[bool, typer.Option("-w", "--watch", help="Show every change, until Ctrl-C.")]
Retrying = Annotated[bool, typer.Option("--retrying", help="Show rows in retry instead of dead letters.")]
