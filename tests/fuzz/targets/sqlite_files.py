"""A queue in a SQLite file in which another program changed rows of one schedule: no operation fails except as Damaged, the other schedule
is served as before, and the damaged one starts again once it was deleted."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import sqlite3
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from kubesweep.errors import Damaged
from kubesweep.queue.model import (
    FailedRow,
    Finding,
    Job,
    JobKind,
    Limits,
    OpenResult,
    Pace,
    PlanVersion,
    Retry,
    RowState,
    ScheduleRef,
    Settlement,
    SweepRequest,
    Window,
)
from kubesweep.queue.sqlite.queue import SqliteQueue
from kubesweep.queue.sqlite.records import schema
from tests.fuzz.damage import LEAVES, damaged_text
from tests.fuzz.oracles import check_message
from tests.fuzz.target import Target

__all__ = ["TARGET"]

NOW = 1_800_000_000.0
LIMITS = Limits()
MINE, OTHER = (ScheduleRef.local("shop", name) for name in ("mine", "other"))
PLAN, EDITED = PlanVersion(1, "9f2b"), PlanVersion(2, "77de")
# The tables of a schedule, and the condition for its rows.
TABLES = {
    "schedule": "id = ?",
    "sweep": "schedule = ?",
    "death": "sweep IN (SELECT id FROM sweep WHERE schedule = ?)",
    "job": "schedule = ?",
    "excluded_row": "schedule = ?",
    "finding": "schedule = ?",
}
# With other values here, the row would be another schedule's, or another row.
IDENTITY = {
    "schedule": {"id", "install", "namespace", "name", "uid"},
    "sweep": {"seq", "schedule"},
    "job": {"id", "schedule"},
}


def _places() -> list[tuple[str, str]]:
    """Every table and column that another program may have changed."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        for statement in schema():
            connection.execute(statement)
        return [
            (table, column)
            for table in TABLES
            for _, column, *_ in connection.execute(f"PRAGMA table_info({table})")
            if column not in IDENTITY.get(table, {"schedule"})
        ]


PLACES = _places()
VALUE = LEAVES.filter(lambda value: not isinstance(value, int) or abs(value) < 2**63) | st.binary(max_size=4)
CHANGE = st.fixed_dictionaries(
    {"place": st.sampled_from(PLACES).map(list), "row": st.integers(0, 3), "as_text": st.booleans()},
    optional={"value": VALUE, "text": damaged_text([""], most=1), "insert": st.booleans()},
)
CASES = st.lists(CHANGE, min_size=1, max_size=3)


class Clock:
    def __call__(self) -> float:
        return NOW


async def _fill(queue: SqliteQueue, ref: ScheduleRef) -> None:
    """A sweep that ended, one that runs, retries, dead letters, findings and a pace."""
    for tick, ends in ((NOW - 60, True), (NOW - 30, False)):
        await queue.open_sweep(
            ref, SweepRequest(tick=tick, plan=PLAN, dedup_key=f"{tick}")
        )  # so that ids are the same each time
        (claim,) = (await queue.claim(ref, "ann", 1, LIMITS)).jobs
        jobs = tuple(
            Job(JobKind.KEYS, PLAN, claim.job.sweep, "c", keys=((f"{n}{tick}",), (f"x{n}{tick}",)), rows=2)
            for n in range(3)
        )
        await queue.advance(ref, claim, Window("c", jobs=jobs, planned=6, origin="db/t/id", samples=(("1",),)))
        for one in (await queue.claim(ref, "ann", 3 if ends else 1, LIMITS)).jobs:
            first, second = (FailedRow(key, "Rejected", "no") for key in one.job.keys)
            done = Settlement(one, retry=(Retry((first,), 2, 60.0),), dead=(second,))
            await queue.settle(ref, "ann", [done], 0, LIMITS)
    await queue.claim(ref, "bob", 1, LIMITS)
    await queue.report(ref, Finding("SourceReady", True, "Checked", "m", PLAN))
    await queue.enqueue_check(ref, PLAN)
    await queue.set_pace(ref, Pace.of(100.0, "50"))


@functools.cache
def template() -> bytes:
    """The bytes of an intact file."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "queue.db")

        async def fill() -> None:
            queue = SqliteQueue(path, clock=Clock())
            for ref in (MINE, OTHER):
                await _fill(queue, ref)
            await queue.close()

        asyncio.run(fill())
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        return Path(path).read_bytes()


def _damage(path: str, changes: list[dict[str, Any]]) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.text_factory = lambda data: data.decode("utf-8", "replace")  # of a change before
    (schedule,) = connection.execute("SELECT id FROM schedule WHERE name = 'mine'").fetchone()
    for each in changes:
        table, column = each["place"]
        mine = TABLES[table]
        rows = connection.execute(
            f"SELECT {column} FROM {table} WHERE {mine} ORDER BY {column}", (schedule,)
        ).fetchall()
        if not rows:
            continue
        (old,) = rows[each["row"] % len(rows)]
        value = each.get("value", _spliced(old, each.get("text", "")))
        cast = "CAST(? AS TEXT)" if each["as_text"] and isinstance(value, bytes) else "?"
        try:
            connection.execute(
                f"UPDATE {table} SET {column} = {cast} WHERE {mine} AND {column} IS ?",
                (_storable(value), schedule, old),
            )
        except (sqlite3.IntegrityError, UnicodeEncodeError):  # the table's own rules refuse it
            continue
    connection.close()


def _spliced(old: Any, text: str) -> Any:
    """The old value with a text in its middle."""
    if isinstance(old, bytes):
        return old[: len(old) // 2] + text.encode("utf-8", "replace") + old[len(old) // 2 :]
    return f"{str(old)[: len(str(old)) // 2]}{text}{str(old)[len(str(old)) // 2 :]}"


def _storable(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value


async def _tried(operation: Awaitable[Any]) -> Any:
    try:
        return await operation
    except Damaged as error:
        check_message(f"{error.reason}: {error}", "")
        return Damaged


async def _use(queue: SqliteQueue) -> None:
    """Every operation on the damaged schedule."""
    await _tried(queue.stats([MINE]))
    await _tried(queue.error_groups(MINE, state=None))
    await _tried(queue.excluded(MINE, "db/t/id"))
    await _tried(queue.pace(MINE))
    await _tried(queue.approved(MINE))
    await _tried(queue.dead_letters(MINE, state=None))
    for want in (1, 10):
        claims = await _tried(queue.claim(MINE, "ann", want, LIMITS))
        if claims is Damaged:
            continue
        failed = [
            Settlement(each, retry=(Retry(tuple(FailedRow(key, "E", "m") for key in each.job.keys), 2, 1.0),))
            for each in claims.jobs
        ]
        await _tried(queue.extend(MINE, claims.jobs[:1], 30.0))
        await _tried(queue.settle(MINE, "ann", failed[1:], 1, LIMITS))
        await _tried(queue.release(MINE, claims.jobs[:1]))
    await _tried(queue.replay(MINE, error="Rejected"))
    await _tried(queue.open_sweep(MINE, SweepRequest(tick=NOW, plan=EDITED)))
    await _tried(queue.purge(MINE))
    await _tried(queue.enqueue_check(MINE, EDITED))
    await _tried(queue.approve(MINE))
    await _tried(queue.reserve(MINE, 5, Limits(rows_per_second=10.0)))


async def _serve(queue: SqliteQueue, ref: ScheduleRef) -> list[str]:
    """What the operations on an intact schedule answer."""
    found: list[Any] = [
        await queue.stats([ref]), await queue.error_groups(ref, state=None), await queue.dead_letters(ref, state=RowState.DEAD),
        await queue.excluded(ref, "db/t/id"), await queue.claim(ref, "eve", 10, LIMITS), await queue.replay(ref), await queue.stats([ref]),
    ]  # fmt: skip
    return [
        repr(each) if not isinstance(each, tuple) or not hasattr(each, "keys") else repr(sorted(each.keys))
        for each in found
    ]


async def _run(path: str) -> None:
    queue = SqliteQueue(path, clock=Clock())
    try:
        await _use(queue)  # an Outage that is not Damaged would stop all schedules
        assert await queue.schedules() == tuple(sorted((MINE, OTHER)))
        assert await _serve(queue, OTHER) == expected(), "the damage of one schedule changes another one"
        await queue.forget(MINE)
        opened = await queue.open_sweep(MINE, SweepRequest(tick=NOW, plan=PLAN))
        assert opened.answer is OpenResult.ENQUEUED
        assert (await queue.stats([MINE]))[0].ready == 1
    finally:
        await queue.close()


@functools.cache
def expected() -> list[str]:
    found: list[str] = _with_file([], _answers)
    return found


async def _answers(path: str) -> list[str]:
    queue = SqliteQueue(path, clock=Clock())
    try:
        return await _serve(queue, OTHER)
    finally:
        await queue.close()


@functools.cache
def _runner() -> asyncio.Runner:
    return asyncio.Runner()


def _with_file(changes: list[dict[str, Any]], run: Any) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "queue.db")
        Path(path).write_bytes(template())
        _damage(path, changes)
        return _runner().run(run(path))


def check(changes: list[dict[str, Any]]) -> None:
    expected()
    _with_file(changes, _run)


TARGET = Target("sqlite", CASES, check, chunk=20)
