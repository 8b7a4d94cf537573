"""What an edit of the plan means for jobs of the sweeps before it: claimed ones are waited for, retries are given up.

Parts of the moves in sqlite_moves.py, on an open transaction.
"""

from __future__ import annotations

import sqlite3

from kubesweep.queue.excluded import row_text
from kubesweep.queue.model import PlanVersion
from kubesweep.queue.sqlite.records import decode_job, remove_excluded, statements, touch_excluded


def leased_until(con: sqlite3.Connection, schedule: int, now: float) -> float | None:
    """The end of the longest lease on a planned job of a sweep that ended; None where nobody works on one."""
    values = {"schedule": schedule, "now": now}
    until: float | None = con.execute(statements("job")["leased_until"], values).fetchone()[0]
    return until


def admit(con: sqlite3.Connection, schedule: int, now: float) -> None:
    """Decide when the plan job that :func:`leased_until` delayed is due.

    It waits for the leases of the sweeps before it: the rows that their jobs hold would be planned, and their effects
    called, a second time. It is due when the last such lease ends, and at once where its owner settled.
    """
    found = con.execute(statements("job")["unplanned"], {"schedule": schedule}).fetchone()
    if found is not None:
        job, due = found
        con.execute(statements("job")["put_off"], (leased_until(con, schedule, now) or min(due, now), job))


def free_retries(con: sqlite3.Connection, schedule: int, plan: PlanVersion) -> None:
    """Rows whose retry was cut for another plan leave the excluded set, unless a worker has the retry: the sweep of ``plan``
    finds them. Counted as skipped by the sweep in which they failed."""
    freed = False
    for id_, sweep, body, *_ in con.execute(statements("job")["idle_retries"], {"schedule": schedule}).fetchall():
        job = decode_job(body)
        if job.plan is None or job.plan.same(plan):
            continue
        freed = True
        con.execute(statements("job")["delete"], (id_,))
        remove_excluded(con, schedule, [row_text(job.origin, key) for key in job.keys])
        con.execute(statements("sweep")["give_up"], {"id": sweep, "rows": len(job.keys)})
    if freed:
        touch_excluded(con, schedule)
