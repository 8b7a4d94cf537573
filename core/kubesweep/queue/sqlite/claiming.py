"""Claims on an open transaction: taking, extending and releasing jobs, and the row budget."""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Iterable, Sequence

from kubesweep.queue.model import (
    LONGEST_LEASE,
    Budget,
    Claim,
    Claims,
    Limits,
    ScheduleRef,
    parse_pace,
    to_json,
)
from kubesweep.queue.sqlite.plan_changes import admit
from kubesweep.queue.sqlite.records import (
    Schedule,
    decode_job,
    find,
    refund,
    set_budget,
    statements,
    sweep_by_id,
)


def claim(con: sqlite3.Connection, now: float, ref: ScheduleRef, consumer: str, want: int, limits: Limits) -> Claims:
    schedule = find(con, ref)
    if schedule is None:
        return Claims(lost=True)
    return take(con, now, schedule, consumer, want, schedule.bound(limits))


def take(con: sqlite3.Connection, now: float, schedule: Schedule, consumer: str, want: int, limits: Limits) -> Claims:
    """Take jobs, for ``claim`` and ``settle``. ``limits``: bound by the pace."""
    rate = limits.rows_per_second
    budget = schedule.budget(rate, limits.saved, now) if rate else 0.0
    wait = -budget / rate if rate and budget < 0 else None
    jobs: tuple[Claim, ...] = ()
    ready: list[float] = []
    if want > 0 and not schedule.paused and wait is None:
        longest = {"lease": limits.lease, "longest": LONGEST_LEASE * limits.lease}
        con.execute(statements("job")["cap_leases"], {"schedule": schedule.id, "now": now} | longest)
        con.execute(statements("job")["drop_expired"], {"schedule": schedule.id, "now": now})
        if schedule.blocked:
            con.execute(statements("job")["block_expired"], {"schedule": schedule.id, "now": now})
        admit(con, schedule.id, now)
        wanted: dict[str, str | float] = {"schedule": schedule.id, "now": now, "want": want}
        wanted |= {"consumer": consumer, "own_expired_only": limits.own_expired_only, "blocked": schedule.blocked}
        found = con.execute(statements("job")["candidates"], wanted).fetchall()
        jobs = tuple(Claim(str(id_), consumer, delivery, decode_job(body)) for id_, delivery, body, _ in found)
        ready = [since for *_, since in found]
        if rate:
            jobs = _covered(jobs, budget)
            schedule = set_budget(con, schedule, budget - sum(claim.job.rows for claim in jobs), rate, now)
        lease = now + limits.lease
        con.executemany(statements("job")["take"], [(consumer, lease, one.delivery, int(one.id)) for one in jobs])
    blocked = {"schedule": schedule.id, "blocked": schedule.blocked}
    (next_delayed,) = con.execute(statements("job")["next_delayed"], blocked).fetchone()
    return Claims(
        jobs=jobs,
        paused=bool(schedule.paused),
        wait=wait,
        next_delayed=next_delayed,
        next_in=None if next_delayed is None else next_delayed - now,
        excluded_version=schedule.excluded_version,
        batch_hint=schedule.batch_hint,
        pace=parse_pace(schedule.pace),
        budget=Budget(budget, now) if rate else None,
        waits=_waits(ready[: len(jobs)], now),
    )


def _waits(ready: list[float], now: float) -> tuple[tuple[int, float], ...]:
    return tuple((len(list(run)), max(0.0, now - since)) for since, run in itertools.groupby(ready))


def _covered(jobs: tuple[Claim, ...], budget: float) -> tuple[Claim, ...]:
    """The jobs that the row budget covers, and the one that leads into debt."""
    for taken, claim in enumerate(jobs, 1):
        budget -= claim.job.rows
        if budget < 0:
            return jobs[:taken]
    return jobs


def reserve(con: sqlite3.Connection, now: float, ref: ScheduleRef, rows: int, limits: Limits) -> Budget:
    schedule = find(con, ref)
    if schedule is None:
        return Budget()
    limits = schedule.bound(limits)
    if not (rate := limits.rows_per_second):
        return Budget()
    budget = schedule.budget(rate, limits.saved, now)
    if rows < 0:
        refund(con, schedule, -rows, rate, limits.saved, now)
    elif budget >= -limits.debt:
        set_budget(con, schedule, budget - rows, rate, now)
    return Budget(budget, now)


def owned(con: sqlite3.Connection, schedule: int, claims: Iterable[Claim]) -> dict[str, tuple[str, bool, bytes]]:
    """(sweep, is_retry, body) of the claims that the caller still owns, by claim id."""
    wanted = {claim.id: (claim.consumer, claim.delivery) for claim in claims if claim.id.isdecimal()}
    ids = json.dumps([int(id_) for id_ in wanted])
    rows = con.execute(statements("job")["owned"], {"schedule": schedule, "ids": ids})
    return {
        str(id_): (sweep, bool(is_retry), body)
        for id_, consumer, delivery, sweep, is_retry, body in rows
        if wanted[str(id_)] == (consumer, delivery)
    }


def extend(
    con: sqlite3.Connection, now: float, ref: ScheduleRef, claims: Sequence[Claim], lease: float
) -> tuple[str, ...]:
    schedule = find(con, ref)
    if schedule is None:
        return tuple(claim.id for claim in claims)
    mine = owned(con, schedule.id, claims)
    con.executemany(statements("job")["extend"], [(now + lease, int(id_)) for id_ in mine])
    return tuple(claim.id for claim in claims if claim.id not in mine)


def release(con: sqlite3.Connection, now: float, ref: ScheduleRef, claims: Sequence[Claim]) -> tuple[str, ...]:
    schedule = find(con, ref)
    if schedule is None:
        return tuple(claim.id for claim in claims)
    mine = owned(con, schedule.id, claims)
    done, back, unused = [], [], 0
    for item in claims:
        if item.id not in mine:
            continue
        unused += item.refund
        sweep, is_retry, _ = mine[item.id]
        done.append((int(item.id),))
        if is_retry or not sweep or _is_open(con, schedule.id, sweep):
            back.append((item.job.rows, schedule.blocked, now, to_json(item.job), int(item.id)))
    # Waiting jobs are claimed by id, so a released job gets a new id and is queued after them.
    con.executemany(statements("job")["release"], back)
    con.executemany(statements("job")["delete"], done)
    admit(con, schedule.id, now)
    refund(con, schedule, unused, schedule.rate, schedule.rate or 0.0, now)
    return tuple(item.id for item in claims if item.id not in mine)


def _is_open(con: sqlite3.Connection, schedule: int, sweep: str) -> bool:
    found = sweep_by_id(con, schedule, sweep)
    return found is not None and not found.state.settled
