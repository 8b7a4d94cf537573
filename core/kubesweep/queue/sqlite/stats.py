"""Reading the queue without changing it: statistics, and when a claim may find something."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

import msgspec

from kubesweep.queue.model import (
    HISTORY,
    Finding,
    Pace,
    ScheduleRef,
    Stats,
    TickCounts,
    parse_baseline,
    parse_pace,
    parse_pauses,
)
from kubesweep.queue.sqlite.records import Schedule, find, remembered, statements

_decode_finding = msgspec.json.Decoder(Finding).decode


def stats(con: sqlite3.Connection, clock: Callable[[], float], refs: Sequence[ScheduleRef]) -> tuple[Stats, ...]:
    schedules = [find(con, ref) for ref in refs]
    # Read the clock after the first read, which fixes the snapshot. Otherwise a job that was just released would not be due yet.
    now = clock()
    return tuple(_stats(con, now, each) for each in schedules)


def approved(con: sqlite3.Connection, ref: ScheduleRef) -> str | None:
    schedule = find(con, ref)
    return (schedule and schedule.approved) or None


def pace(con: sqlite3.Connection, ref: ScheduleRef) -> Pace | None:
    schedule = find(con, ref)
    return None if schedule is None else parse_pace(schedule.pace)


def _stats(con: sqlite3.Connection, now: float, schedule: Schedule | None) -> Stats:
    if schedule is None:
        return Stats()
    only = {"schedule": schedule.id}
    counts = con.execute(statements("job")["counts"], only | {"now": now, "blocked": schedule.blocked}).fetchone()
    ready, running, delayed, due, waiting, lease, checks = counts
    excluded, dead = con.execute(statements("excluded")["counts"], only).fetchone()
    sweeps = remembered(con, schedule.id, HISTORY + 1)
    findings = con.execute(statements("schedule")["findings"], only)
    return Stats(
        known=True,
        ready=ready,
        running=running,
        delayed=delayed,
        excluded=excluded,
        dead=dead,
        checks=checks,
        oldest_ready=min((since for since in (due, waiting) if since is not None), default=None),
        first_lease=lease,
        paused=bool(schedule.paused),
        retries_blocked=bool(schedule.blocked),
        pauses=parse_pauses(schedule.pauses, now),
        pace=parse_pace(schedule.pace),
        paced=bool(schedule.pace),  # one record has both, so they are lost together
        last_tick=schedule.last_tick,
        ticks=TickCounts(schedule.enqueued, schedule.duplicate, schedule.forbidden, schedule.late),
        sweep=sweeps[0] if sweeps else None,
        history=tuple(sweeps[1:]),
        findings=tuple(_decode_finding(body) for (body,) in findings),
        origin=schedule.origin,
        baseline=parse_baseline(schedule.baseline),
    )


def schedules(con: sqlite3.Connection) -> tuple[ScheduleRef, ...]:
    return tuple(sorted(ScheduleRef(*row) for row in con.execute(statements("schedule")["names"])))


def next_claim(con: sqlite3.Connection, ref: ScheduleRef) -> float | None:
    """When a claim may find something if the queue does not change until then; None: never."""
    schedule = find(con, ref)
    if schedule is None or schedule.paused:
        return None
    only = {"schedule": schedule.id}
    if con.execute(statements("job")["any_waiting"], only).fetchone() is not None:
        soonest = 0.0
    else:
        values = only | {"blocked": schedule.blocked}
        times = [con.execute(statements("job")[name], values).fetchone()[0] for name in ("next_delayed", "next_lease")]
        known = [time for time in times if time is not None]
        if not known:
            return None
        soonest = min(known)
    if schedule.tokens is not None and schedule.rate and schedule.tokens < 0:
        soonest = max(soonest, schedule.tokens_at - schedule.tokens / schedule.rate)
    return soonest
