"""examples/procrastinate: the sweeps leave exactly what ``remove_old_jobs`` and ``prune_stalled_workers`` leave."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import psycopg

from tests.apps.beside import assert_same, database_name, removed, rows, run, summary, sweep
from tests.integration.postgres import Server

EXAMPLE = Path(__file__).parents[2] / "examples" / "procrastinate"
JOBS = 400
# An event without a time sorts last: its job counts as not finished.
UNTIMED = "UPDATE procrastinate_events SET at = NULL WHERE mod(job_id, 40) = 3 AND type = 'deferred'"


def shop(*arguments: str, url: str) -> None:
    run(sys.executable, "-m", *arguments, cwd=EXAMPLE, DATABASE_URL=url)


async def test_the_sweeps_leave_what_procrastinate_leaves(
    database: str, postgres_server: Server, record_property: Callable[[str, object], None]
) -> None:
    shop("procrastinate", "--app", "shop.app", "schema", "--apply", url=database)
    shop("shop", "makejobs", "--count", str(JOBS), url=database)
    with psycopg.connect(database) as connection:
        connection.execute(UNTIMED)
    cleaned = postgres_server.create(template=database_name(database))
    before = rows(database)

    shop("shop", "clean", url=cleaned)
    applied = await sweep(EXAMPLE / "sweep.yaml", database)

    left = rows(database)
    assert_same(left, rows(cleaned))
    lost = removed(before, left)
    assert applied == {
        "remove-old-jobs": lost["procrastinate_jobs"],
        "prune-stalled-workers": lost["procrastinate_workers"],
    }
    assert lost.keys() == {"procrastinate_jobs", "procrastinate_events", "procrastinate_workers"}
    assert JOBS * 0.4 < lost["procrastinate_jobs"] < JOBS * 0.6
    record_property("rows", summary("procrastinate", before, left))
    postgres_server.drop(cleaned)
