"""The SQLite source after errors: locks, a full disk, keys that no statement can name, and URLs that only read."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kubesweep.api.plan import Archive, Assignment, Match, Plan, Source, Write
from kubesweep.errors import Outage, RowError, SweepFailure
from kubesweep_worker.sources import open_source
from kubesweep_worker.sources.base import Keys, Predicate, Range
from tests.integration.sqlite_tables import CLOSE, CUTOFF, STALE, TEN, filled, opened


async def test_a_lock_of_the_application_is_an_outage(tmp_path: Path) -> None:
    path = filled(tmp_path / "a.db", TEN)
    source = opened(path, source=Source(table="things", lock_timeout=0.01))
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(Outage) as found:
            await source.write(Range(), Predicate(CUTOFF))
        assert found.value.reason == "Locked"
        holder.execute("ROLLBACK")
    assert (await source.write(Range(), Predicate(CUTOFF))).applied == 10
    await source.close()


async def test_a_full_disk_is_an_outage_that_writes_nothing(tmp_path: Path) -> None:
    path = filled(tmp_path / "a.db", TEN)
    source = opened(path, write=Write(update=(Assignment("status", sql="hex(zeroblob(100000))"),)))
    await source.probe()
    limit_pages(source, 20)
    with pytest.raises(Outage) as found:
        await source.write(Range(), Predicate(CUTOFF))
    assert found.value.reason == "DiskFull"
    assert await source.count(Predicate(CUTOFF), 100) == 10
    await source.close()


def limit_pages(source: Any, pages: int) -> None:
    """Gives the same result code as a full disk, without filling one."""
    source._thread.connection.execute(f"PRAGMA max_page_count = {pages}")


async def test_a_slow_statement_is_an_outage(tmp_path: Path) -> None:
    endless = "(WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n) SELECT count(*) FROM n) > 0"
    source = opened(
        filled(tmp_path / "a.db", TEN),
        match=(Match("sql", sql=endless),),
        source=Source(table="things", statement_timeout=0.05),
    )
    with pytest.raises(Outage) as found:
        await source.count(Predicate(CUTOFF), 10)
    assert found.value.reason == "StatementTimeout"
    await source.close()


async def test_rows_that_stay_stale_are_rolled_back(tmp_path: Path) -> None:
    source = opened(filled(tmp_path / "a.db", TEN), write=Write(update=(Assignment("expires_at", value="2025-01-01"),)))
    written = await source.write(Range(("2",), ("5",)), Predicate(CUTOFF))
    assert (written.applied, written.still_stale) == (0, 3)
    tried = await source.try_write(CUTOFF, 4)
    assert (tried.tried, tried.still_stale) == (4, 4)
    await source.close()


async def test_a_refused_row_is_a_row_error(tmp_path: Path) -> None:
    path = filled(tmp_path / "a.db", TEN.replace("status TEXT", "status TEXT CHECK (id <> 7 OR status <> 'expired')"))
    source = opened(path)
    with pytest.raises(RowError) as found:
        await source.write(Range(), Predicate(CUTOFF))
    assert found.value.error == "SQLITE_CONSTRAINT_CHECK"
    assert (await source.write(Range(high=("6",)), Predicate(CUTOFF))).applied == 6
    await source.close()


async def test_deleted_rows_arrive_in_the_archive(tmp_path: Path) -> None:
    path = filled(tmp_path / "a.db", TEN + "CREATE TABLE kept (status TEXT, id INTEGER, at TEXT DEFAULT 'now')")
    source = opened(path, write=Write(archive=Archive("kept")))
    await source.inspect()
    assert (await source.write(Keys((("3",), ("4",), ("99",))), Predicate(CUTOFF, frozenset([("4",)])))).applied == 1
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM kept").fetchall() == [("pending", 3, "now")]
    await source.close()


async def test_a_relative_file_that_is_not_there_is_named_with_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = opened(Path("shop.db"))
    with pytest.raises(SweepFailure, match=f"the file {re.escape(str(tmp_path))}/shop.db cannot be opened"):
        await source.probe()
    await source.close()


async def test_a_file_that_is_replaced_is_reopened(tmp_path: Path) -> None:
    path = filled(tmp_path / "a.db", TEN)
    source = opened(path)
    assert await source.count(Predicate(CUTOFF), 100) == 10
    path.unlink()
    with pytest.raises(SweepFailure) as found:
        await source.probe()
    assert found.value.reason == "DatabaseMissing"
    assert not path.exists()
    filled(path, TEN.replace("n < 10", "n < 3"))
    assert await source.count(Predicate(CUTOFF), 100) == 3
    await source.close()


@pytest.mark.parametrize("declared", ["TEXT", "BIGINT"])
async def test_rows_whose_key_is_bytes_are_reported_and_never_planned(tmp_path: Path, declared: str) -> None:
    path = filled(
        tmp_path / "a.db",
        f"CREATE TABLE things (id {declared} NOT NULL PRIMARY KEY, status TEXT, expires_at TEXT);"
        "INSERT INTO things VALUES ('1', 'pending', '2026-01-01'), (x'32', 'pending', '2026-01-01'), ('3', 'pending', '2026-01-01')",
    )
    source = opened(path)
    assert "blob-key" in dict((await source.inspect()).warnings)
    _, last = await source.bounds()
    assert last == ("3",)
    window = await source.cut(Predicate(CUTOFF), None, 1, 10, last)
    assert (window.rows, window.cursor) == (2, None)
    assert (await source.write(Range(None, last, 2), Predicate(CUTOFF))).applied == 2
    assert await source.count(Predicate(CUTOFF), 10) == 0
    await source.close()


@pytest.mark.parametrize("bad", [1, 4, 9], ids=["first", "middle", "last"])
@pytest.mark.parametrize("composite", [False, True])
async def test_a_key_that_is_no_utf8_is_left_alone_and_the_others_are_swept(
    tmp_path: Path, bad: int, composite: bool
) -> None:
    key = "(id, part)" if composite else "(id)"
    path = filled(
        tmp_path / "a.db",
        f"CREATE TABLE things (id TEXT NOT NULL, part TEXT NOT NULL DEFAULT 'p', status TEXT, expires_at TEXT, PRIMARY KEY {key});"
        "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 9) INSERT INTO things (id, status, expires_at) "
        f"SELECT CASE n WHEN {bad} THEN CAST(n || x'ff' AS TEXT) ELSE n END, 'pending', '2026-01-01' FROM n;",
    )
    source = opened(path)
    assert "garbled-key" in dict((await source.inspect()).warnings)
    _, last = await source.bounds()
    window = await source.cut(Predicate(CUTOFF), None, 1, 10, last)
    assert (window.rows, window.cursor) == (8, None)
    assert len(await source.stale(Range(None, last, 2), Predicate(CUTOFF), 100)) == 8
    assert (await source.try_write(CUTOFF, 10)).would_apply == 8
    assert (await source.write(Range(None, last, 8), Predicate(CUTOFF))).applied == 8
    assert await source.keys(Range(), Predicate(CUTOFF)) == ()
    await source.close()


async def test_rows_are_read_before_any_statement_met_a_key_that_is_no_utf8(tmp_path: Path) -> None:
    path = filled(
        tmp_path / "a.db",
        "CREATE TABLE things (id TEXT NOT NULL PRIMARY KEY, status TEXT, expires_at TEXT);"
        "INSERT INTO things VALUES ('1', 'pending', '2026-01-01'), (CAST(x'32ff' AS TEXT), 'pending', '2026-01-01')",
    )
    source = opened(path)
    assert [row.key for row in await source.stale(Range(), Predicate(CUTOFF), 100)] == [("1",)]
    await source.close()


async def test_a_key_with_a_null_character_is_written(tmp_path: Path) -> None:
    path = filled(
        tmp_path / "a.db",
        "CREATE TABLE things (id TEXT NOT NULL PRIMARY KEY, status TEXT, expires_at TEXT);"
        "INSERT INTO things VALUES (CAST(x'310032' AS TEXT), 'pending', '2026-01-01')",
    )
    source = opened(path)
    assert (await source.try_write(CUTOFF, 10)).would_apply == 1
    assert (await source.write(Keys((("1\x002",),)), Predicate(CUTOFF))).applied == 1
    await source.close()


@pytest.mark.parametrize("parameter", ["mode=ro", "immutable=1"])
async def test_a_url_that_only_reads_is_checked_and_refuses_a_sweep(tmp_path: Path, parameter: str) -> None:
    path = filled(tmp_path / "a.db", TEN)
    plan = Plan(namespace="d", name="n", uid="u", source=Source(table="things"), match=STALE, write=CLOSE)
    source = open_source(plan, lambda: f"sqlite:///{path}?{parameter}")
    assert "read-only" in dict((await source.inspect()).warnings)
    assert await source.count(Predicate(CUTOFF), 100) == 10
    for call in (
        source.bounds,
        lambda: source.write(Range(), Predicate(CUTOFF)),
        lambda: source.try_write(CUTOFF),
    ):
        with pytest.raises(SweepFailure, match="mode=ro") as found:
            await call()
        assert found.value.reason == "ReadOnly"
    await source.close()
    dry = open_source(msgspec.structs.replace(plan, mode="DryRun"), lambda: f"sqlite:///{path}?{parameter}")
    assert (await dry.bounds())[1] == ("10",)
    await dry.close()


async def test_a_url_that_is_changed_to_one_that_writes_is_reopened(tmp_path: Path) -> None:
    urls = [f"sqlite:///{filled(tmp_path / 'a.db', TEN)}?mode=ro"]
    plan = Plan(namespace="d", name="n", uid="u", source=Source(table="things"), match=STALE, write=CLOSE)
    source = open_source(plan, lambda: urls[-1])
    await source.probe()
    urls.append(urls[0].replace("=ro", "=rw"))
    assert (await source.write(Range(), Predicate(CUTOFF))).applied == 10
    await source.close()


async def test_a_mode_that_a_sweep_cannot_use_is_refused(tmp_path: Path) -> None:
    plan = Plan(namespace="d", name="n", uid="u", source=Source(table="things"), match=STALE, write=CLOSE)
    source = open_source(plan, lambda: f"sqlite:///{tmp_path}/a.db?mode=memory")
    with pytest.raises(SweepFailure) as found:
        await source.probe()
    assert found.value.reason == "UrlInvalid"
    await source.close()
