"""Celery's SQLAlchemy backend: two schedules leave exactly the results that ``celery.backend_cleanup`` leaves.

The application's sessions are in another time zone than UTC, and Celery's columns have none.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.apps.beside import assert_same, database_name, libpq, program, removed, rows, run, summary, sweep
from tests.integration.postgres import Server

APPLICATION = Path(__file__).parent / "celery"


def python(*arguments: str, url: str) -> None:
    run(program("celery"), *arguments, cwd=APPLICATION, PGTZ="Asia/Kolkata", **libpq(url))


async def test_the_sweeps_leave_what_backend_cleanup_leaves(
    database: str, postgres_server: Server, record_property: Callable[[str, object], None]
) -> None:
    python("fill.py", url=database)
    cleaned = postgres_server.create(template=database_name(database))
    before = rows(database)

    python("-c", "import shop; shop.clean()", url=cleaned)
    applied = await sweep(APPLICATION / "sweep.yaml", database)

    left = rows(database)
    assert_same(left, rows(cleaned))
    assert removed(before, left) == {
        "celery_taskmeta": applied["expired-task-results"],
        "celery_tasksetmeta": applied["expired-group-results"],
    }
    assert applied["expired-group-results"] == 9  # three of seven ages, each three times
    record_property("rows", summary("Celery", before, left))
    postgres_server.drop(cleaned)
