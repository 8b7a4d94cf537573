"""Celery's SQLAlchemy backend: two schedules leave exactly the results that ``celery.backend_cleanup`` leaves.

The application's sessions are in another time zone than UTC, and Celery's columns have none.
"""

from __future__ import annotations

from pathlib import Path

from tests.apps.comparison import Twins, libpq, program, run, sweep

APPLICATION = Path(__file__).parent / "celery"


def python(*arguments: str, url: str) -> None:
    run(program("celery"), *arguments, cwd=APPLICATION, PGTZ="Asia/Kolkata", **libpq(url))


async def test_the_sweeps_leave_what_backend_cleanup_leaves(twins: Twins) -> None:
    python("fill.py", url=twins.swept)
    python("-c", "import shop; shop.clean()", url=twins.part())
    applied = await sweep(APPLICATION / "sweep.yaml", twins.swept)

    assert twins.compare("Celery") == {
        "celery_taskmeta": applied["expired-task-results"],
        "celery_tasksetmeta": applied["expired-group-results"],
    }
    assert applied["expired-group-results"] == 9  # three of seven ages, each three times
