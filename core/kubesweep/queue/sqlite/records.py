"""Reads and writes rows of the SQLite file, and loads the named SQL statements that the operations use."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

import msgspec

from kubesweep.queue.model import (
    Attempt,
    Job,
    Key,
    Limits,
    PlanVersion,
    ScheduleRef,
    Sweep,
    SweepState,
    key_text,
    parse_pace,
    to_json,
)

_decode_job = msgspec.json.Decoder(Job).decode
_decode_attempts = msgspec.json.Decoder(tuple[Attempt, ...]).decode
_decode_samples = msgspec.json.Decoder(tuple[Key, ...]).decode


class Schedule(NamedTuple):
    """One row of the table of schedules, which nearly every operation reads first."""

    id: int
    last_tick: float | None
    paused: int
    excluded_version: int
    tokens: float | None
    tokens_at: float
    rate: float | None
    enqueued: int
    duplicate: int
    forbidden: int
    late: int
    origin: str
    batch_hint: str
    approved: str
    pace: bytes
    baseline: bytes
    blocked: int
    pauses: str

    def bound(self, limits: Limits) -> Limits:
        """The limits with the lower of their rate and of the one in the pace. Rate 0 is enforced by ``paused``."""
        pace = parse_pace(self.pace)
        most, rate = (pace.rate if pace else None), limits.rows_per_second
        if not most or (rate and rate <= most):
            return limits
        return msgspec.structs.replace(limits, rows_per_second=most, burst=min(limits.saved, most))

    def budget(self, rate: float, most: float, now: float) -> float:
        """The tokens that are left now; a negative number is a debt. At most ``most`` are saved up."""
        if self.tokens is None:
            return most
        if (
            now < self.tokens_at
        ):  # the clock was set back: a debt would last until the clock reaches the same time again
            return min(most, max(0.0, self.tokens))
        return min(most, self.tokens + (now - self.tokens_at) * rate)


class ExcludedRow(NamedTuple):
    """An excluded row as a settlement writes it."""

    sweep: str
    dead: bool
    error: str
    message: str
    at: float
    attempts: tuple[Attempt, ...]


@cache
def statements(file: str) -> dict[str, str]:
    """The statements of ``sql/<file>.sql`` by the name in the ``-- name:`` line above each."""
    text = resources.files("kubesweep.queue.sqlite").joinpath("sql", f"{file}.sql").read_text("utf-8")
    named = (part.partition("\n") for part in text.split("-- name: ")[1:])
    return {name.strip(): body.strip() for name, _, body in named}


@cache
def schema() -> tuple[str, ...]:
    """The statements that create the tables of a queue."""
    text = resources.files("kubesweep.queue.sqlite").joinpath("sql", "schema.sql").read_text("utf-8")
    return tuple(part.strip() for part in text.split(";\n") if part.strip())


def find(con: sqlite3.Connection, ref: ScheduleRef) -> Schedule | None:
    row = con.execute(statements("schedule")["find"], _named(ref)).fetchone()
    return None if row is None else Schedule(*row)


def find_id(con: sqlite3.Connection, ref: ScheduleRef) -> int | None:
    """The schedule's number, also where the rest of its row cannot be read."""
    row = con.execute(statements("schedule")["find_id"], _named(ref)).fetchone()
    return None if row is None else int(row[0])


def find_or_create(con: sqlite3.Connection, ref: ScheduleRef) -> Schedule:
    con.execute(statements("schedule")["create"], _named(ref))
    found = find(con, ref)
    if found is None:
        raise sqlite3.DatabaseError(
            f"the row of schedule {ref.namespace}/{ref.name} vanished inside its own transaction"
        )
    return found


def _named(ref: ScheduleRef) -> dict[str, str]:
    return {"install": ref.install, "namespace": ref.namespace, "name": ref.name, "uid": ref.uid}


def remembered(con: sqlite3.Connection, schedule: int, most: int) -> list[Sweep]:
    """The latest sweeps, newest first."""
    rows = con.execute(statements("sweep")["remembered"], {"schedule": schedule, "most": most})
    return [_sweep(row) for row in rows]


def sweep_by_id(con: sqlite3.Connection, schedule: int, sweep: str) -> Sweep | None:
    """Without the number of its open jobs, which no operation on one sweep needs."""
    row = con.execute(statements("sweep")["by_id"], {"id": sweep, "schedule": schedule}).fetchone()
    return None if row is None else _sweep(row)


def _sweep(row: tuple[Any, ...]) -> Sweep:
    if not row[0]:
        raise ValueError(
            "a sweep has no id"
        )  # its statements would change the checks of all schedules, which are of no sweep
    return Sweep(
        id=row[0],
        tick=row[1],
        plan=PlanVersion(row[2], row[3]),
        mode=row[4],
        state=SweepState(row[5]),
        reason=row[6],
        message=row[7],
        cutoff=row[8],
        started=row[9],
        finished=row[10],
        planned=row[11],
        applied=row[12],
        skipped=row[13],
        unconfirmed=row[14],
        retrying=row[15],
        dead=row[16],
        capped=bool(row[17]),
        samples=_decode_samples(row[18]),
        stopped=row[19],
        stale=row[20],
        oldest=row[21],
        oldest_unknown=row[22],
        estimated=bool(row[23]),
        approved=row[24],
        newest=row[25],
        open_jobs=row[26],
    )


def enqueue(con: sqlite3.Connection, schedule: int, jobs: Iterable[tuple[Job, float, bool]]) -> None:
    """Append jobs: (job, when it is ready, whether it is delayed until then)."""
    con.executemany(
        statements("job")["enqueue"],
        [(schedule, job.sweep, job.is_retry, job.rows, delayed, ready, to_json(job)) for job, ready, delayed in jobs],
    )


def enqueue_retries(con: sqlite3.Connection, schedule: Schedule, jobs: Iterable[Job], now: float) -> None:
    """Append retries that are due now. Where retries are blocked, all of them are delayed."""
    enqueue(con, schedule.id, [(job, now, bool(schedule.blocked)) for job in jobs])


def decode_job(body: bytes) -> Job:
    return _decode_job(body)


def decode_attempts(body: bytes) -> tuple[Attempt, ...]:
    return _decode_attempts(body)


def set_budget(con: sqlite3.Connection, schedule: Schedule, tokens: float, rate: float, now: float) -> Schedule:
    values = {"schedule": schedule.id, "tokens": tokens, "now": now, "rate": rate}
    con.execute(statements("schedule")["set_budget"], values)
    return schedule._replace(tokens=tokens, tokens_at=now, rate=rate)


def refund(
    con: sqlite3.Connection, schedule: Schedule, rows: int, rate: float | None, most: float, now: float
) -> Schedule:
    """Return rows that were not tried to the row budget, or debit rows that no claim had counted. Returns the new schedule."""
    if not rate or not rows:
        return schedule
    tokens = min(most, schedule.budget(rate, most, now) + rows)
    return set_budget(con, schedule, tokens, rate, now)


def put_excluded(con: sqlite3.Connection, schedule: int, rows: dict[str, ExcludedRow]) -> None:
    con.executemany(
        statements("excluded")["put"],
        [(schedule, key, r.sweep, r.dead, r.error, r.message, r.at, to_json(r.attempts)) for key, r in rows.items()],
    )


def remove_excluded(con: sqlite3.Connection, schedule: int, keys: Iterable[str]) -> None:
    con.executemany(statements("excluded")["remove"], [(schedule, key) for key in keys])


def touch_excluded(con: sqlite3.Connection, schedule: int) -> None:
    """Change the version of the excluded set, so that every worker reads it again."""
    con.execute(statements("schedule")["touch_excluded"], {"schedule": schedule})


def keys_json(keys: Sequence[Key] | None) -> str | None:
    return None if keys is None else json.dumps([key_text(key) for key in keys])
