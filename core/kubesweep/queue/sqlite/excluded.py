"""The excluded set on an open transaction: dead letters, and rows in retry.

An excluded row is either dead or in exactly one retry job, and its row of the table ``excluded_row`` says which. The column
``key`` has the origin before the key (``row_text``).
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from kubesweep.queue.excluded import excluded_rows, narrowed, parse_row, retry_now, row_text, split_retry
from kubesweep.queue.model import (
    MAX_JOB_KEYS,
    DeadLetter,
    ErrorGroup,
    ExcludedRows,
    Job,
    JobKind,
    Key,
    RowState,
    ScheduleRef,
    key_text,
    to_json,
)
from kubesweep.queue.sqlite.records import (
    Schedule,
    decode_attempts,
    decode_job,
    enqueue_retries,
    find,
    keys_json,
    remove_excluded,
    statements,
    touch_excluded,
)

PURGE_AT_ONCE = 1000  # rows


def excluded(con: sqlite3.Connection, ref: ScheduleRef, origin: str) -> ExcludedRows:
    schedule = find(con, ref)
    if schedule is None:
        return ExcludedRows(0, frozenset())
    rows = con.execute(statements("excluded")["keys"], {"schedule": schedule.id})
    return excluded_rows(schedule.excluded_version, (row for (row,) in rows), origin)


def error_groups(
    con: sqlite3.Connection, ref: ScheduleRef, most: int, state: RowState | None
) -> tuple[ErrorGroup, ...]:
    schedule = find(con, ref)
    if schedule is None:
        return ()

    def samples(error: str, origin: str) -> tuple[Key, ...]:
        values = {"schedule": schedule.id, "error": error, "origin": origin, "dead": _dead(state)}
        return tuple(parse_row(row)[1] for (row,) in con.execute(statements("excluded")["samples"], values))

    rows = con.execute(
        statements("excluded")["groups"], {"schedule": schedule.id, "most": most, "dead": _dead(state)}
    ).fetchall()
    return tuple(
        ErrorGroup(error, count, message, first, last, samples(error, origin), origin)
        for error, origin, count, first, last, message in rows
    )


def dead_letters(
    con: sqlite3.Connection,
    ref: ScheduleRef,
    error: str | None,
    keys: Sequence[Key] | None,
    most: int,
    state: RowState | None,
) -> tuple[DeadLetter, ...]:
    schedule = find(con, ref)
    if schedule is None:
        return ()
    values = {"schedule": schedule.id, "error": error, "keys": keys_json(keys), "most": most, "dead": _dead(state)}
    rows = con.execute(statements("excluded")["dead_letters"], values)
    return tuple(_dead_letter(*row) for row in rows)


def _dead(state: RowState | None) -> bool | None:
    return None if state is None else state is RowState.DEAD


def _dead_letter(row: str, error: str, message: str, at: float, sweep: str, attempts: bytes) -> DeadLetter:
    origin, key = parse_row(row)
    return DeadLetter(key, error, message, at, sweep, decode_attempts(attempts), origin)


def replay(con: sqlite3.Connection, now: float, ref: ScheduleRef, error: str | None, keys: Sequence[Key] | None) -> int:
    schedule = find(con, ref)
    if schedule is None:
        return 0
    found = _select(con, schedule.id, error, keys)
    rows = [_DeadRow(*parse_row(row), row, sweep, attempts) for row, sweep, attempts in found]
    rows = [row for row in rows if row.origin in ("", schedule.origin) or not schedule.origin]
    con.executemany(statements("excluded")["revive"], [(schedule.id, row.text) for row in rows])
    for sweep, count in Counter(row.sweep for row in rows).items():
        nothing = {"planned": 0, "applied": 0, "skipped": 0, "unconfirmed": 0}
        con.execute(statements("sweep")["count"], nothing | {"id": sweep, "retrying": count, "dead": -count})
    enqueue_retries(con, schedule, _replays(rows), now)
    return len(rows) + _retry_now(con, now, schedule, error, keys)


def _retry_now(
    con: sqlite3.Connection, now: float, schedule: Schedule, error: str | None, keys: Sequence[Key] | None
) -> int:
    """Move rows whose retry is not due yet into a job that is due now."""
    chosen, total = _chosen(con, schedule.id, error, keys), 0
    for id_, job, delayed, ready in _retries(con, schedule.id):
        if not delayed or ready <= now or (schedule.origin and job.origin not in ("", schedule.origin)):
            continue
        taken, left = split_retry(job, chosen)
        if taken:
            _keep_rows(con, id_, job, left)
            enqueue_retries(con, schedule, [retry_now(job, taken)], now)
            total += len(taken)
    return total


def _retries(con: sqlite3.Connection, schedule: int) -> list[tuple[int, Job, bool, float]]:
    """(id, job, whether it is delayed, when it is or was due) of the unclaimed retry jobs."""
    found = con.execute(statements("job")["idle_retries"], {"schedule": schedule}).fetchall()
    return [(id_, decode_job(body), bool(delayed), ready) for id_, _, body, delayed, ready in found]


def _chosen(con: sqlite3.Connection, schedule: int, error: str | None, keys: Sequence[Key] | None) -> set[str]:
    values = {"schedule": schedule, "error": error, "keys": keys_json(keys), "dead": False}
    return {row for row, _, _ in con.execute(statements("excluded")["select"], values)}


def _keep_rows(con: sqlite3.Connection, id_: int, job: Job, left: tuple[Key, ...]) -> None:
    """Replace a retry job by one of these rows, or delete it if there are none."""
    if left:
        rest = narrowed(job, left)
        con.execute(statements("job")["narrow"], (len(left), to_json(rest), id_))
    con.execute(statements("job")["delete"], (id_,))


class _DeadRow(NamedTuple):
    origin: str
    key: Key
    text: str
    sweep: str
    attempts: bytes


def _replays(rows: list[_DeadRow]) -> Iterator[Job]:
    for (sweep, origin), group in groupby(rows, key=lambda row: (row.sweep, row.origin)):
        effect_keys = {row.key: decode_attempts(row.attempts)[-1].effect_key for row in group}
        keys = list(effect_keys)
        for at in range(0, len(keys), MAX_JOB_KEYS):
            part = tuple(sorted(keys[at : at + MAX_JOB_KEYS], key=key_text))
            effects_done = tuple((key, effect_keys[key]) for key in part if effect_keys[key])
            yield Job(
                JobKind.KEYS,
                None,
                sweep,
                keys=part,
                rows=len(part),
                is_retry=True,
                origin=origin,
                effects_done=effects_done,
            )


def purge(con: sqlite3.Connection, ref: ScheduleRef, error: str | None, keys: Sequence[Key] | None) -> int:
    schedule = find(con, ref)
    if schedule is None:
        return 0
    rows = [row for row, _, _ in _select(con, schedule.id, error, keys)]
    chosen = _chosen(con, schedule.id, error, keys)
    for id_, job, _, _ in _retries(con, schedule.id):
        taken, left = split_retry(job, chosen)
        if taken:
            _keep_rows(con, id_, job, left)
            counts = {"planned": 0, "applied": 0, "skipped": len(taken), "unconfirmed": 0, "dead": 0}
            con.execute(statements("sweep")["count"], counts | {"id": job.sweep, "retrying": -len(taken)})
            rows += [row_text(job.origin, key) for key in taken]
    return _delete_rows(con, schedule.id, rows)


def purge_older(con: sqlite3.Connection, schedule: int, before: float) -> int:
    """Delete dead letters that are older than ``before``, at most PURGE_AT_ONCE; the next tick deletes more."""
    values = {"schedule": schedule, "before": before, "most": PURGE_AT_ONCE}
    rows = con.execute(statements("excluded")["expired"], values).fetchall()
    return _delete_rows(con, schedule, [key for key, _ in rows])


def _delete_rows(con: sqlite3.Connection, schedule: int, keys: list[str]) -> int:
    if keys:
        remove_excluded(con, schedule, keys)
        touch_excluded(con, schedule)
    return len(keys)


def _select(
    con: sqlite3.Connection, schedule: int, error: str | None, keys: Sequence[Key] | None
) -> list[tuple[str, str, bytes]]:
    values = {"schedule": schedule, "error": error, "keys": keys_json(keys), "dead": True}
    return con.execute(statements("excluded")["select"], values).fetchall()
