"""Results of tasks and of groups on either side of ``result_expires``, stored by Celery's own backend."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from celery import group
from celery.backends.database import session_cleanup
from celery.backends.database.models import TaskSet
from shop import add, app, divide
from sqlalchemy import select

DAY = timedelta(days=1)
AGES = [timedelta(0), DAY / 2, DAY - timedelta(minutes=30), DAY + timedelta(minutes=30), 2 * DAY, 400 * DAY, None]


def age(session: Any, model: Any) -> None:
    """Celery stores the time of now: this moves each result back. A result without a time never expires."""
    now = datetime.now(UTC)
    for number, result in enumerate(session.scalars(select(model).order_by(model.id))):
        by = AGES[number % len(AGES)]
        result.date_done = None if by is None else now - by


if __name__ == "__main__":
    for number in range(60):
        add.delay(number, 1)
        divide.delay(number, number % 3)  # fails for every third number
    for number in range(21):
        group(add.s(number, each) for each in range(3))().save()
    backend = app.backend
    session = backend.ResultSession()
    with session_cleanup(session):
        for model in (backend.task_cls, TaskSet):
            age(session, model)
        session.commit()
