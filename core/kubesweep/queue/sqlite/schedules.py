"""Schedules on an open transaction: checks, findings, pausing, and deleting a schedule."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator

import msgspec

from kubesweep.queue.model import (
    MAX_FINDINGS,
    Finding,
    Job,
    JobKind,
    Pace,
    PlanVersion,
    ScheduleRef,
    changed_pauses,
    parse_pauses,
    pauses_text,
    to_json,
)
from kubesweep.queue.sqlite.records import (
    decode_job,
    enqueue,
    find,
    find_id,
    find_or_create,
    statements,
)

_FORGET = ("deaths", "sweeps", "jobs", "excluded", "findings", "schedule")


def enqueue_check(con: sqlite3.Connection, now: float, ref: ScheduleRef, plan: PlanVersion) -> bool:
    schedule = find_or_create(con, ref)
    if any(job.plan is not None and job.plan.same(plan) for job in _checks(con, schedule.id)):
        return False
    enqueue(con, schedule.id, [(Job(JobKind.CHECK, plan), now, False)])
    return True


def _checks(con: sqlite3.Connection, schedule: int) -> Iterator[Job]:
    """The check jobs that are waiting or running."""
    for (body,) in con.execute(statements("job")["of_no_sweep"], {"schedule": schedule}):
        job = decode_job(body)
        if job.kind is JobKind.CHECK:
            yield job


def pause(con: sqlite3.Connection, now: float, ref: ScheduleRef, paused: bool) -> None:
    schedule = find(con, ref)
    if schedule is None:
        return
    known = parse_pauses(schedule.pauses, math.inf)  # also those of a clock that is ahead: the clock may return there
    pauses = changed_pauses(known, bool(schedule.paused), paused, now)
    values = {"schedule": schedule.id, "paused": paused, "pauses": pauses_text(pauses)}
    con.execute(statements("schedule")["pause"], values)


def set_pace(con: sqlite3.Connection, ref: ScheduleRef, pace: Pace) -> None:
    schedule = find(con, ref)
    if schedule is not None:
        con.execute(statements("schedule")["set_pace"], {"schedule": schedule.id, "pace": to_json(pace)})


def report(con: sqlite3.Connection, now: float, ref: ScheduleRef, finding: Finding) -> None:
    schedule = find(con, ref)
    if schedule is None:
        return
    at = finding.at or now
    kept = msgspec.structs.replace(finding, at=at)
    values = {"schedule": schedule.id, "kind": kept.kind, "at": at, "body": to_json(kept)}
    con.execute(statements("schedule")["put_finding"], values)
    trim = {"schedule": schedule.id, "kind": kept.kind, "most": MAX_FINDINGS}
    con.execute(statements("schedule")["trim_findings"], trim)


def forget(con: sqlite3.Connection, ref: ScheduleRef) -> None:
    id_ = find_id(con, ref)
    if id_ is not None:
        for part in _FORGET:
            con.execute(statements("schedule")[f"forget_{part}"], {"schedule": id_})
