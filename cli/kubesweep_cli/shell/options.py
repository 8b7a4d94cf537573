"""The options and arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["All", "Error", "Files", "Keys", "Metrics", "Name", "Namespace", "Notify", "Queue", "Retrying", "Url"]

Files = Annotated[
    list[Path],
    typer.Option("-f", "--file", metavar="FILE", help="YAML file or folder; may be repeated.", show_default=False),
]
Queue = Annotated[
    str | None,
    typer.Option(
        "--queue",
        metavar="URL",
        help="URL of the queue. Default: $KUBESWEEP_QUEUE, else a file in your state folder.",
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
Url = Annotated[str | None, typer.Option("--url", metavar="URL", help="Use this database instead of the Secret's.")]
Metrics = Annotated[
    str | None,
    typer.Option(
        "--metrics", metavar="[HOST:]PORT", help="Serve the workers' metrics there for Prometheus, such as on :9108."
    ),
]
Name = Annotated[str | None, typer.Argument(metavar="[NAME]", help="Name of the schedule.", show_default=False)]
Namespace = Annotated[
    str | None, typer.Option("-n", "--namespace", help="Namespace of the schedule, if two share its name.")
]
Error = Annotated[str | None, typer.Option("--error", metavar="CLASS", help="Select rows with this error.")]
Keys = Annotated[
    list[str] | None,
    typer.Option("--key", metavar="KEY", help='Select this row: 42, or ["eu","17"]; may be repeated.'),
]
All = Annotated[bool, typer.Option("--all", help="Select every schedule of the queue.")]
Retrying = Annotated[bool, typer.Option("--retrying", help="Show rows in retry instead of dead letters.")]
