"""What goes wrong with a file, for real: each is an Outage that says what to do, and nothing is half done."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from kubesweep.errors import Outage, SpecError
from kubesweep.queue.connect import connect
from kubesweep.queue.model import FailedRow, OpenResult, Retry, Settlement, SweepState, Window
from kubesweep.queue.sqlite.queue import SqliteQueue
from kubesweep.queue.sqlite.store import VERSION
from tests.contract.helpers import CUTOFF, LIMITS, REF, TICK, get_stats, one, open_sweep, range_job, settle, start, take

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def open_file() -> AsyncIterator[Callable[..., SqliteQueue]]:
    opened: list[SqliteQueue] = []

    def open_(path: Path, **options: float) -> SqliteQueue:
        opened.append(SqliteQueue(str(path), **options))  # type: ignore[arg-type]
        return opened[-1]

    yield open_
    for queue in opened:
        await queue.close()


Open = Callable[..., SqliteQueue]


def _run(module: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", f"tests.contract.{module}", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_a_full_disk_is_an_outage_and_loses_nothing(open_file: Open, tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    said = _run("restricted_process", "full", str(path))
    assert "QueueFull" in said
    assert str(path) in said
    assert "Free some space" in said
    assert "recovered" in said
    queue = open_file(path)
    stats = await get_stats(queue)
    assert stats.sweep is not None
    assert (stats.sweep.planned, stats.sweep.open_jobs, stats.ready) == (7, 2, 1)


async def test_a_full_database_is_an_outage_and_loses_nothing(open_file: Open, tmp_path: Path) -> None:
    queue = open_file(tmp_path / "queue.db")
    sweep = (await open_sweep(queue)).sweep
    claim = await one(queue)
    await asyncio.get_running_loop().run_in_executor(queue._thread, _no_more_pages, queue)
    jobs = tuple(range_job(sweep, 1, at) for at in range(3000))
    with pytest.raises(Outage, match="the disk is full") as caught:
        await queue.advance(REF, claim, Window(CUTOFF, jobs, planned=3000))
    assert caught.value.reason == "QueueFull"
    stats = await get_stats(queue)
    assert stats.sweep is not None
    assert (stats.running, stats.ready, stats.sweep.planned) == (1, 0, 0)
    assert await queue.advance(REF, claim, Window(CUTOFF, jobs, planned=3000))


def _no_more_pages(queue: SqliteQueue) -> None:
    con = queue._store._con
    assert con is not None
    pages = con.execute("PRAGMA page_count").fetchone()[0]
    con.execute(f"PRAGMA max_page_count = {pages}")


def test_a_read_only_file_is_an_outage_that_says_so() -> None:
    with tempfile.TemporaryDirectory(prefix="kubesweep-read-only-") as folder:
        path = Path(folder) / "queue.db"
        asyncio.run(_fill(path))
        os.chmod(path, 0o444)
        os.chmod(folder, 0o555)
        said = _run("restricted_process", "read-only", str(path))
        os.chmod(folder, 0o755)
        assert "QueueReadOnly" in said
        assert str(path) in said
        assert "write permission" in said


async def _fill(path: Path) -> None:
    queue = SqliteQueue(str(path))
    await start(queue, 5)
    await queue.close()


async def test_a_removed_file_is_an_outage_once_and_then_a_lost_queue(open_file: Open, tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    queue, other = open_file(path), open_file(path)
    await start(queue, 5)
    claim = await one(queue)
    await get_stats(other)
    path.unlink()
    for each in (queue, other):
        with pytest.raises(Outage, match="removed or replaced") as caught:
            await each.settle(REF, "ann", [Settlement(claim, applied=5)], 1, LIMITS)
        assert caught.value.reason == "QueueGone"
    settled = await settle(queue, Settlement(claim, applied=5), want=1)
    assert (settled.lost, settled.claims.lost) == ((claim.id,), True)
    assert (await open_sweep(other, TICK)).answer is OpenResult.ENQUEUED
    fresh = await one(queue)
    assert fresh.id != claim.id


async def test_a_wait_notices_that_the_file_is_gone(open_file: Open, tmp_path: Path) -> None:
    queue = open_file(tmp_path / "queue.db")
    waiting = asyncio.create_task(queue.wait(REF, 3600))
    await get_stats(queue)
    (tmp_path / "queue.db").unlink()
    with pytest.raises(Outage, match="removed or replaced"):
        await waiting


async def test_a_removed_folder_is_an_outage(open_file: Open, tmp_path: Path) -> None:
    queue = open_file(tmp_path / "gone" / "queue.db")
    with pytest.raises(Outage, match="folder exists") as caught:
        await open_sweep(queue)
    assert caught.value.reason == "QueueMissing"
    (tmp_path / "gone").mkdir()
    assert (await open_sweep(queue)).answer is OpenResult.ENQUEUED


async def test_a_file_of_garbage_is_an_outage(open_file: Open, tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    path.write_bytes(b"this was a spreadsheet once\n" * 400)
    queue = open_file(path)
    with pytest.raises(Outage, match="not an SQLite database") as caught:
        await open_sweep(queue)
    assert caught.value.reason == "QueueCorrupt"
    assert path.read_bytes().startswith(b"this was a spreadsheet")


async def test_a_damaged_file_is_an_outage(open_file: Open, tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    await _fill(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    queue = open_file(path)
    with pytest.raises(Outage, match="damaged") as caught:
        await open_sweep(queue, TICK + 60)
    assert caught.value.reason == "QueueCorrupt"


async def test_a_lock_of_another_process_is_an_outage_and_then_over(open_file: Open, tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    queue = open_file(path, busy=0.05)
    await start(queue, 5)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Outage, match="another process holds its lock") as caught:
        await one(queue)
    assert caught.value.reason == "QueueBusy"
    assert (await get_stats(queue)).ready == 1
    other.execute("ROLLBACK")
    other.close()
    assert (await one(queue)).delivery == 1


async def test_a_file_of_an_older_version_is_brought_up_to_date_with_all_that_is_in_it(
    open_file: Open, tmp_path: Path
) -> None:
    path = tmp_path / "queue.db"
    await _fill(path)
    before = open_file(path)
    failed = FailedRow(('"told":',), "Boom", "it failed", effect_key="sent-1")
    await settle(before, Settlement(await one(before), applied=4, retry=(Retry((failed,), 2, 0.0),)))
    await before.close()
    con = sqlite3.connect(path)
    con.executescript(
        "ALTER TABLE schedule RENAME COLUMN batch_hint TO learnt; ALTER TABLE sweep RENAME COLUMN retrying TO held; "
        "ALTER TABLE schedule RENAME COLUMN excluded_version TO held_version; ALTER TABLE excluded_row RENAME TO held; "
        "ALTER TABLE job RENAME COLUMN is_retry TO held; UPDATE sweep SET state = 'Held'; "
        """UPDATE job SET body = CAST(replace(replace(CAST(body AS TEXT), '"is_retry":', '"held":'),
           '"effects_done":', '"told":') AS BLOB); """
        "ALTER TABLE schedule DROP COLUMN origin; ALTER TABLE schedule DROP COLUMN learnt; "
        "ALTER TABLE schedule DROP COLUMN approved; ALTER TABLE schedule DROP COLUMN pace; ALTER TABLE sweep DROP COLUMN stopped; DROP TABLE health; "
        "ALTER TABLE sweep DROP COLUMN stale; ALTER TABLE sweep DROP COLUMN oldest; ALTER TABLE sweep DROP COLUMN unknown; "
        "ALTER TABLE sweep DROP COLUMN estimated; ALTER TABLE sweep DROP COLUMN approved; "
        "ALTER TABLE schedule DROP COLUMN blocked; ALTER TABLE schedule DROP COLUMN pauses; ALTER TABLE schedule DROP COLUMN baseline; ALTER TABLE sweep DROP COLUMN newest; "
        "CREATE TABLE checked (schedule INTEGER, hash TEXT, at REAL); PRAGMA user_version = 1"
    )
    con.close()
    queue = open_file(path)
    stats = await get_stats(queue)
    assert (stats.ready, stats.delayed, stats.excluded, stats.origin) == (0, 1, 1, "")
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.retrying) == (SweepState.AWAITING_APPROVAL, 1)
    assert (stats.baseline, stats.sweep.newest) == (None, None)
    assert await take(queue) == ()
    assert await queue.approve(REF) == stats.sweep.id
    claim = await one(queue)
    assert (claim.delivery, claim.job.is_retry, claim.job.keys) == (1, True, (('"told":',),))
    assert claim.job.effects_done == ((('"told":',), "sent-1"),)
    con = sqlite3.connect(path)
    assert con.execute("PRAGMA user_version").fetchone() == (VERSION,)
    con.close()


async def test_a_table_that_version_11_had_is_dropped(open_file: Open, tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    await _fill(path)
    con = sqlite3.connect(path)
    con.executescript("CREATE TABLE checked (hash TEXT); PRAGMA user_version = 11")
    assert (await get_stats(open_file(path))).ready == 1
    assert con.execute("SELECT name FROM sqlite_master WHERE name = 'checked'").fetchall() == []
    con.close()


async def test_a_file_of_a_later_version_is_refused(open_file: Open, tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    await _fill(path)
    con = sqlite3.connect(path)
    con.execute("PRAGMA user_version = 99")
    con.close()
    with pytest.raises(Outage, match=r"schema has version 99.*Upgrade kubesweep") as caught:
        await get_stats(open_file(path))
    assert caught.value.reason == "QueueNewer"


async def test_a_database_of_another_program_is_refused_and_left_alone(open_file: Open, tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    con = sqlite3.connect(path)
    con.execute("CREATE TABLE conversations (id INTEGER PRIMARY KEY)")
    con.close()
    before = path.read_bytes()
    with pytest.raises(Outage, match="belongs to another program") as caught:
        await open_sweep(open_file(path))
    assert caught.value.reason == "QueueForeign"
    assert path.read_bytes() == before


async def test_a_closed_queue_says_so(open_file: Open, tmp_path: Path) -> None:
    queue = open_file(tmp_path / "queue.db")
    await queue.close()
    with pytest.raises(Outage, match="closed"):
        await open_sweep(queue)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite:///:memory:", "needs a file"),
        ("sqlite://", "needs a file"),
        ("sqlite://host/queue.db", "a file has no host"),
        ("sqlite:///queue.db?mode=ro", "takes no options"),
        ("postgresql://ann:secret@localhost/app", "no such kind of queue"),
        ("queue.db", "no such kind of queue"),
        ("", "no such kind of queue"),
    ],
)
def test_a_url_that_names_no_queue_is_a_spec_error(url: str, says: str) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        connect(url)
    assert caught.value.code == "QueueUrl"
    assert "sqlite:///" in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_a_url_makes_the_folder_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for url, path in (
        ("sqlite:///deep/er/queue%20one.db", tmp_path / "deep" / "er" / "queue one.db"),
        (f"sqlite:///{tmp_path}/abs/queue.db", tmp_path / "abs" / "queue.db"),
    ):
        queue = connect(url)
        await open_sweep(queue)
        await queue.close()
        assert path.is_file()


def test_a_folder_that_cannot_be_a_queue_is_a_spec_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecError, match="cannot be created"):
        connect(f"sqlite:///{tmp_path}/file/queue.db")
    with pytest.raises(SpecError, match="cannot be opened"):
        connect(f"sqlite:///{tmp_path}/{'long' * 64}/queue.db", create=False)
    with pytest.raises(SpecError, match="is a folder"):
        connect(f"sqlite:///{tmp_path}")


async def test_pauses_that_another_program_wrote_are_none(open_file: Open, tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    queue = open_file(path)
    await start(queue, 5)
    con = sqlite3.connect(path)
    with con:
        con.execute("UPDATE schedule SET pauses = 'since yesterday', paused = 1")
    con.close()
    stats = await get_stats(queue)
    assert (stats.pauses, stats.paused_since) == ((), None)
    await queue.pause(REF, True)
    assert (await get_stats(queue)).paused_since is not None
