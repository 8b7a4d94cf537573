"""The command that writes a first schedule: init."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kubesweep_cli.shell.current_terminal import current_terminal

__all__ = ["app"]

app = typer.Typer()

Url = Annotated[str | None, typer.Option("--url", metavar="URL", help="URL of the database. Default: $DATABASE_URL.")]
Table = Annotated[
    str,
    typer.Option(
        "--table", metavar="TABLE", help='The table: carts, public.carts or \'"App"."Carts"\'.', show_default=False
    ),
]
Time = Annotated[
    str | None, typer.Option("--time", metavar="COLUMN", help="Rows are stale by this time; - for any age.")
]
OlderThan = Annotated[
    str | None, typer.Option("--older-than", metavar="AGE", help="Rows are stale when older than this: 30d, 12h, or 0.")
]
Zone = Annotated[str | None, typer.Option("--time-zone", metavar="ZONE", help="IANA zone of times without a zone.")]
Where = Annotated[
    list[str] | None,
    typer.Option("--where", metavar="CONDITION", help='COLUMN=VALUE[,VALUE...] or "COLUMN is null"; may be repeated.'),
]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="COLUMN=VALUE", help="Update stale rows; may be repeated.")
]
Delete = Annotated[bool, typer.Option("--delete", help="Delete stale rows.")]
ArchiveTo = Annotated[
    str | None, typer.Option("--archive-to", metavar="TABLE", help="Move stale rows to this table, which exists.")
]
Webhook = Annotated[str | None, typer.Option("--webhook", metavar="URL", help="Send an HTTP POST for each stale row.")]
Handler = Annotated[
    str | None,
    typer.Option("--handler", metavar="MODULE:FUNCTION", help="Call a Python function for each stale row."),
]
Every = Annotated[str | None, typer.Option("--every", metavar="PERIOD", help="Sweep this often: 5m, 1h.")]
Schedule = Annotated[str | None, typer.Option("--schedule", metavar="CRON", help='Sweep by cron, in UTC: "0 4 * * *".')]
Name = Annotated[str | None, typer.Option("--name", metavar="NAME", help="Name of the schedule.")]
Children = Annotated[
    bool,
    typer.Option("--accept-children", help="Accept that foreign keys delete or change rows of other tables too."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Write mode: DryRun, which counts rows and changes nothing.")]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="File to write; - for stdout. Default: NAME.yaml.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")]
Yes = Annotated[bool, typer.Option("-y", "--yes", help="Ask nothing: take the default of each answer.")]


@app.command()
def init(
    table: Table,
    url: Url = None,
    time: Time = None,
    older_than: OlderThan = None,
    time_zone: Zone = None,
    where: Where = None,
    set_: Set = None,
    delete: Delete = False,
    archive_to: ArchiveTo = None,
    webhook: Webhook = None,
    handler: Handler = None,
    every: Every = None,
    schedule: Schedule = None,
    name: Name = None,
    accept_children: Children = False,
    dry_run: DryRun = False,
    out: Out = None,
    force: Force = False,
    yes: Yes = False,
) -> None:
    """Write a first schedule for a table: read the table, ask what is stale and what happens, show what matches."""
    from kubesweep_cli.commands.init_table import Target, run_init
    from kubesweep_cli.init.questions import Given

    given = Given(
        time=time, older_than=older_than, time_zone=time_zone, where=tuple(where or ()), set=tuple(set_ or ()), delete=delete,
        archive_to=archive_to, webhook=webhook, handler=handler, every=every, schedule=schedule, name=name,
        accept_children=accept_children,
    )  # fmt: skip
    target = Target(table=table, url=url, out=out, force=force, dry_run=dry_run, ask=not yes)
    raise typer.Exit(int(run_init(current_terminal(), target, given)))
