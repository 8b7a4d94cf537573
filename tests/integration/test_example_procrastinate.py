"""examples/procrastinate: the sweeps leave the same rows as ``remove_old_jobs`` and ``prune_stalled_workers``."""

from __future__ import annotations

import sys
from pathlib import Path

import psycopg

from tests.apps.comparison import DatabasePair, run, sweep

EXAMPLE = Path(__file__).parents[2] / "examples" / "procrastinate"
JOBS = 400
# An event without a time sorts last: its job counts as not finished.
UNTIMED = "UPDATE procrastinate_events SET at = NULL WHERE mod(job_id, 40) = 3 AND type = 'deferred'"


def shop(*arguments: str, url: str) -> None:
    run(sys.executable, "-m", *arguments, cwd=EXAMPLE, DATABASE_URL=url)


async def test_the_sweeps_leave_what_procrastinate_leaves(databases: DatabasePair) -> None:
    shop("procrastinate", "--app", "shop.app", "schema", "--apply", url=databases.swept)
    shop("shop", "makejobs", "--count", str(JOBS), url=databases.swept)
    with psycopg.connect(databases.swept) as connection:
        connection.execute(UNTIMED)
    shop("shop", "clean", url=databases.copy())
    applied = await sweep(EXAMPLE / "sweep.yaml", databases.swept)

    lost = databases.compare("procrastinate")
    assert applied == {
        "remove-old-jobs": lost["procrastinate_jobs"],
        "prune-stalled-workers": lost["procrastinate_workers"],
    }
    assert lost.keys() == {"procrastinate_jobs", "procrastinate_events", "procrastinate_workers"}
    assert JOBS * 0.4 < lost["procrastinate_jobs"] < JOBS * 0.6
