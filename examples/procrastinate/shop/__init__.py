"""A procrastinate application with four tasks. DATABASE_URL names its database; the default is postgresql:///shop."""

from __future__ import annotations

import os

from procrastinate import App, JobContext, PsycopgConnector
from procrastinate.exceptions import JobAborted

app = App(connector=PsycopgConnector(conninfo=os.environ.get("DATABASE_URL", "postgresql:///shop")))


@app.task(queue="mail")
async def send(number: int) -> None:
    """Succeeds."""


@app.task(queue="mail")
async def refuse(number: int) -> None:
    raise ValueError(f"mail {number} has no recipient")


@app.task(queue="reports", pass_context=True)
async def report(context: JobContext, number: int) -> None:
    raise JobAborted


@app.periodic(cron="0 3 * * *")
@app.task(queue="reports")
async def nightly(timestamp: int) -> None:
    """Succeeds. Each run has a row in procrastinate_periodic_defers."""
