"""Rows of a SQLite file that another program changed: their schedule is Damaged until it is deleted, and the others are served."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kubesweep.errors import Damaged
from kubesweep.queue.model import OpenResult, ScheduleRef, SweepRequest
from kubesweep.queue.sqlite.queue import SqliteQueue
from tests.contract.helpers import LIMITS, PLAN, TICK

MINE, OTHER = (ScheduleRef.local("shop", name) for name in ("mine", "other"))


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[SqliteQueue]:
    made = SqliteQueue(str(tmp_path / "queue.db"), clock=lambda: TICK)
    for ref in (MINE, OTHER):
        await made.open_sweep(ref, SweepRequest(tick=TICK, plan=PLAN))
    yield made
    await made.close()


async def use(queue: SqliteQueue, ref: ScheduleRef) -> None:
    await queue.stats([ref])
    await queue.claim(ref, "ann", 1, LIMITS)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE job SET body = x'7b' WHERE schedule = 1",
        "UPDATE job SET body = 5 WHERE schedule = 1",
        "UPDATE schedule SET last_tick = CAST(x'ff' AS TEXT) WHERE id = 1",
        "UPDATE sweep SET samples = '{', state = 'Odd' WHERE schedule = 1",
    ],
)
async def test_a_changed_row_is_the_damage_of_its_schedule_alone(queue: SqliteQueue, change: str) -> None:
    with sqlite3.connect(queue.path) as connection:
        connection.execute(change)
    connection.close()
    with pytest.raises(Damaged, match="another program changed them") as met:
        await use(queue, MINE)
    assert met.value.reason == "QueueDamaged"
    assert "`kubesweep run` deletes these rows" in str(met.value)
    (job,) = (await queue.claim(OTHER, "ann", 1, LIMITS)).jobs
    assert job.job.plan == PLAN
    await queue.forget(MINE)
    opened = await queue.open_sweep(MINE, SweepRequest(tick=TICK + 60, plan=PLAN))
    assert opened.answer is OpenResult.ENQUEUED
    (claim,) = (await queue.claim(MINE, "ann", 1, LIMITS)).jobs
    assert claim.job.sweep == opened.sweep
