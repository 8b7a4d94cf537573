"""Celery's SQLAlchemy backend: two schedules leave the same results as ``celery.backend_cleanup``.

The application's sessions use a time zone other than UTC, and Celery's columns have no time zone.
"""

from __future__ import annotations

from pathlib import Path

from tests.apps.comparison import DatabasePair, libpq, program, run, sweep

APPLICATION = Path(__file__).parent / "celery"


def python(*arguments: str, url: str) -> None:
    run(program("celery"), *arguments, cwd=APPLICATION, PGTZ="Asia/Kolkata", **libpq(url))


async def test_the_sweeps_leave_what_backend_cleanup_leaves(databases: DatabasePair) -> None:
    python("fill.py", url=databases.swept)
    python("-c", "import shop; shop.clean()", url=databases.copy())
    applied = await sweep(APPLICATION / "sweep.yaml", databases.swept)

    assert databases.compare("Celery") == {
        "celery_taskmeta": applied["expired-task-results"],
        "celery_tasksetmeta": applied["expired-group-results"],
    }
    assert applied["expired-group-results"] == 9  # three of seven ages, each three times
