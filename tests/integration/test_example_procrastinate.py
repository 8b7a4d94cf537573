"""examples/procrastinate: the sweeps leave exactly what ``remove_old_jobs`` and ``prune_stalled_workers`` leave."""

from __future__ import annotations

import sys
from pathlib import Path

import psycopg

from tests.apps.comparison import Twins, run, sweep

EXAMPLE = Path(__file__).parents[2] / "examples" / "procrastinate"
JOBS = 400
# An event without a time sorts last: its job counts as not finished.
UNTIMED = "UPDATE procrastinate_events SET at = NULL WHERE mod(job_id, 40) = 3 AND type = 'deferred'"


def shop(*arguments: str, url: str) -> None:
    run(sys.executable, "-m", *arguments, cwd=EXAMPLE, DATABASE_URL=url)


async def test_the_sweeps_leave_what_procrastinate_leaves(twins: Twins) -> None:
    shop("procrastinate", "--app", "shop.app", "schema", "--apply", url=twins.swept)
    shop("shop", "makejobs", "--count", str(JOBS), url=twins.swept)
    with psycopg.connect(twins.swept) as connection:
        connection.execute(UNTIMED)
    shop("shop", "clean", url=twins.part())
    applied = await sweep(EXAMPLE / "sweep.yaml", twins.swept)

    lost = twins.compare("procrastinate")
    assert applied == {
        "remove-old-jobs": lost["procrastinate_jobs"],
        "prune-stalled-workers": lost["procrastinate_workers"],
    }
    assert lost.keys() == {"procrastinate_jobs", "procrastinate_events", "procrastinate_workers"}
    assert JOBS * 0.4 < lost["procrastinate_jobs"] < JOBS * 0.6
