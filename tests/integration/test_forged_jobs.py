"""As SECURITY.md says, a user who can write to the queue can have rows written early that are stale now, and no other rows."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kubesweep.api.plan import Assignment, Match, RowLimits, Source, Write
from kubesweep.queue.model import Job, JobKind, Limits, SweepState, Window
from kubesweep_worker.sources import open_source
from tests.kits.worker import Workbench, a_plan

PLAN = a_plan(
    source=Source(table="carts", key=("id",)),
    match=(Match("in", "status", ("open",)), Match("before", "at", offset=3600.0)),
    write=Write(update=(Assignment("status", "closed"),)),
    limits=RowLimits(batch_rows=100, approve_above_rows=5),
)
STALE, FRESH, OTHER = range(10), range(10, 20), range(20, 30)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Workbench]:
    """Ten carts that are stale, ten that were touched half an hour ago, ten that are old and closed by another program."""
    path = tmp_path / "shop.db"
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    ages = {**dict.fromkeys(STALE, 120), **dict.fromkeys(FRESH, 30), **dict.fromkeys(OTHER, 120)}
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE carts (id INTEGER PRIMARY KEY, status TEXT NOT NULL, at DATETIME NOT NULL)")
        for number, minutes in ages.items():
            status = "lost" if number in OTHER else "open"
            database.execute(
                "INSERT INTO carts VALUES (?, ?, ?)", (number, status, str(now - dt.timedelta(minutes=minutes)))
            )
    database.close()
    source = open_source(PLAN, lambda: f"sqlite:///{path}")
    made = Workbench(tmp_path, source, PLAN)
    yield made
    await made.queue.close()


def closed(bench: Workbench) -> set[int]:
    with sqlite3.connect(bench.folder / "shop.db") as database:
        found = {number for (number,) in database.execute("SELECT id FROM carts WHERE status = 'closed'")}
    database.close()
    return found


async def test_so_many_rows_wait_for_an_approval(bench: Workbench) -> None:
    await bench.open()
    sweep = (await bench.run()).sweep
    assert sweep is not None
    assert (sweep.state, closed(bench)) == (SweepState.AWAITING_APPROVAL, set())


@pytest.mark.parametrize("kind", [JobKind.RANGE, JobKind.KEYS])
@pytest.mark.parametrize("cutoff", ["2999-01-01 00:00:00", "1970-01-01 00:00:00", None])
async def test_a_forged_job_passes_the_approval_of_rows_that_are_stale_now_and_writes_no_other(
    bench: Workbench, kind: JobKind, cutoff: str | None
) -> None:
    await bench.open()
    [claim] = (await bench.queue.claim(PLAN.ref, "forger", 1, Limits())).jobs
    keys = tuple((str(number),) for number in range(30)) if kind is JobKind.KEYS else ()
    forged = Job(kind, PLAN.version, claim.job.sweep, cutoff, keys=keys, rows=30)
    assert await bench.queue.advance(PLAN.ref, claim, Window(cutoff or "x", (forged,), planned=30))
    await bench.run()
    past = cutoff is not None and cutoff < "2000"
    assert closed(bench) == (set() if past else set(STALE))
