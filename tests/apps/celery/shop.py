"""A Celery application that keeps its results in the database that PGHOST, PGUSER and PGDATABASE name, for a day."""

from __future__ import annotations

from datetime import timedelta

from celery import Celery

app = Celery("shop", broker="memory://", backend="db+postgresql+psycopg://")
app.conf.update(result_expires=timedelta(days=1), result_extended=True)
app.conf.update(task_always_eager=True, task_store_eager_result=True)  # a task runs at once and stores its result


@app.task
def add(a: int, b: int) -> int:
    return a + b


@app.task
def divide(a: int, b: int) -> float:
    return a / b


def clean() -> None:
    """What `celery beat` starts every day at four."""
    app.tasks["celery.backend_cleanup"]()
