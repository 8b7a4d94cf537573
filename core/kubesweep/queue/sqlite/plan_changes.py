"""Jobs of earlier sweeps after an edit of the plan, on an open transaction.

The new sweep waits for their claimed jobs, and their retries are cancelled.
"""

from __future__ import annotations

import sqlite3

from kubesweep.queue.excluded import row_text
from kubesweep.queue.model import PlanVersion
from kubesweep.queue.sqlite.records import decode_job, remove_excluded, statements, touch_excluded


def leased_until(con: sqlite3.Connection, schedule: int, now: float) -> float | None:
    """The end of the longest lease on a planned job of a sweep that ended; None where there is none."""
    values = {"schedule": schedule, "now": now}
    until: float | None = con.execute(statements("job")["leased_until"], values).fetchone()[0]
    return until


def admit(con: sqlite3.Connection, schedule: int, now: float) -> None:
    """Decide when the plan job that :func:`leased_until` delayed is due.

    It waits for the claimed jobs of earlier sweeps. Otherwise their rows would be planned, and their effects called, a second
    time. It is due when the last such lease ends, or at once when that job is settled.
    """
    found = con.execute(statements("job")["unplanned"], {"schedule": schedule}).fetchone()
    if found is not None:
        job, due = found
        con.execute(statements("job")["set_ready"], (leased_until(con, schedule, now) or min(due, now), job))


def cancel_retries(con: sqlite3.Connection, schedule: int, plan: PlanVersion) -> None:
    """Cancel unclaimed retries of other plans than ``plan``, whose sweep finds their rows.

    The rows leave the excluded set, and count as skipped in the sweep in which they failed.
    """
    cancelled = False
    for id_, sweep, body, *_ in con.execute(statements("job")["idle_retries"], {"schedule": schedule}).fetchall():
        job = decode_job(body)
        if job.plan is None or job.plan.same(plan):
            continue
        cancelled = True
        con.execute(statements("job")["delete"], (id_,))
        remove_excluded(con, schedule, [row_text(job.origin, key) for key in job.keys])
        con.execute(statements("sweep")["cancel_retry"], {"id": sweep, "rows": len(job.keys)})
    if cancelled:
        touch_excluded(con, schedule)
