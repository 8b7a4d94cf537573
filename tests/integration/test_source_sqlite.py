"""The SQLite source against real files."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from kubesweep.api.plan import Assignment, Effect, Match, Plan, Source, Write
from kubesweep.queue.model import Key
from kubesweep_worker.sources import open_source
from kubesweep_worker.sources.base import Cut, Predicate, Range
from tests.integration.sqlite_tables import CLOSE, CUTOFF, STALE, TEN, filled, opened

SHAPES = {
    "a rowid": "id INTEGER PRIMARY KEY, status TEXT, expires_at TEXT, other TEXT",
    "text": "id TEXT PRIMARY KEY, status TEXT, expires_at TEXT, other TEXT",
    "a UUID": "id UUID PRIMARY KEY, status TEXT, expires_at TEXT, other TEXT",
    "text without case": "id VARCHAR(40) COLLATE NOCASE PRIMARY KEY, status TEXT, expires_at TEXT, other TEXT",
    "two columns": "id BIGINT NOT NULL, status TEXT, expires_at TEXT, other TEXT NOT NULL, PRIMARY KEY (other, id)",
    "without rowid": "id TEXT PRIMARY KEY, status TEXT, expires_at TEXT, other TEXT) WITHOUT ROWID -- (",
}


@pytest.mark.parametrize("share", [0.5, 0.02], ids=["dense", "sparse"])
@pytest.mark.parametrize("indexed", [False, True], ids=["along the key", "by an index"])
@pytest.mark.parametrize("kind", SHAPES)
async def test_every_stale_row_is_in_exactly_one_cut(tmp_path: Path, kind: str, share: float, indexed: bool) -> None:
    rng = random.Random(f"{kind}{share}")
    path = filled(
        tmp_path / "it's a ? %20.db",
        f"CREATE TABLE things ({SHAPES[kind].replace('-- (', '')}" + ("" if "ROWID --" in SHAPES[kind] else ")"),
    )
    rows = [
        (n * 7 - 500, "pending" if rng.random() < share else "live", "2026-01-01", rng.choice("aB'c"))
        for n in range(1500)
    ]
    with closing(sqlite3.connect(path)) as connection:
        connection.executemany("INSERT INTO things VALUES (?, ?, ?, ?)", rows)
        if indexed:
            connection.execute("CREATE INDEX stale ON things (status, expires_at)")
        connection.commit()
    source = open_source(
        Plan(namespace="d", name="n", uid="u", source=Source(table="things"), match=STALE, write=CLOSE),
        lambda: f"sqlite:///{str(path).replace('%', '%25').replace('?', '%3F')}",
    )
    table = await source.inspect()
    expected = {
        tuple(str({"id": row[0], "other": row[3]}[name]) for name in table.key) for row in rows if row[1] == "pending"
    }
    excluded = set(sorted(expected)[::7])
    cuts: list[Cut] = []
    after: Key | None = None
    while True:
        window = await source.cut(Predicate(CUTOFF, frozenset(excluded)), after, 20, 100)
        cuts += window.cuts
        after = window.cursor
        if after is None:
            break
    found = [key for cut in cuts for key in await source.keys(cut.scope, Predicate(CUTOFF, frozenset(excluded)))]
    assert sorted(found) == sorted(expected - excluded)
    assert [(await source.write(cut.scope, Predicate(CUTOFF, frozenset(excluded)))).applied for cut in cuts] == [
        cut.rows for cut in cuts
    ]
    assert await source.count(Predicate(CUTOFF), 10_000) == len(excluded)
    await source.close()


TIMES = {
    "2026-02-28 23:59:59": True,
    "2026-02-28T23:59:59": True,
    "2026-02-28T23:59:59.999": True,
    "2026-03-01 00:00": False,
    "2026-03-01T00:00:00Z": False,
    "2026-03-01T01:59:59+02:00": True,
    "2026-03-01 02:00:00.000000+02:00": False,
    "2026-02-28T22:59:59-01:00": True,
    "2026-02-28": True,
    "2026-03-01": False,
    "yesterday": False,
    "now": False,
    "": False,
    1772323199: True,
    1772323200: False,
    1772323199.5: True,
    None: False,
    b"2026-01-01": False,
}


@pytest.mark.parametrize("value", TIMES)
@pytest.mark.parametrize("declared", ["TEXT", "DATETIME", ""])
async def test_times_are_compared_as_times(tmp_path: Path, value: object, declared: str) -> None:
    path = filled(tmp_path / "a.db", f"CREATE TABLE things (id INTEGER PRIMARY KEY, expires_at {declared})")
    if declared == "TEXT" and isinstance(value, (int, float)):
        declared = "INTEGER"
        path = filled(tmp_path / "b.db", "CREATE TABLE things (id INTEGER PRIMARY KEY, expires_at INTEGER)")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO things VALUES (1, ?)", (value,))
        connection.commit()
    source = opened(path, match=(Match("before", "expires_at"),), write=Write())
    assert await source.count(Predicate(CUTOFF), 10) == int(TIMES[value])
    await source.close()


async def test_a_naive_time_is_in_the_zone_of_the_spec(tmp_path: Path) -> None:
    path = filled(
        tmp_path / "a.db",
        "CREATE TABLE things (id INTEGER PRIMARY KEY, expires_at TEXT); "
        "INSERT INTO things VALUES (1, '2026-03-01 00:59:59'), (2, '2026-03-01T01:00'), (3, '2026-02-28T23:59:59Z'), (4, '2026-99-01'), "
        "(5, '2026-02-28 23:59:59.123 +00:00'), (6, '2026-03-01 00:00:00.001 +00:00')",  # as Sequelize writes them
    )
    source = opened(
        path,
        match=(Match("before", "expires_at"),),
        write=Write(),
        source=Source(table="things", naive_time_zone="Europe/Berlin"),
    )
    assert await source.keys(Range(), Predicate(CUTOFF)) == (("1",), ("3",), ("5",))
    await source.close()


@pytest.mark.parametrize(
    ("cutoff", "stale"),
    [
        ("2026-10-25 00:15:00.000", ["01:59"]),  # 02:15 in Berlin, for the first time
        ("2026-10-25 01:15:00.000", ["01:59", "02:10"]),  # for the second time
        ("2026-10-25 02:00:00.000", ["01:59", "02:10", "02:50"]),
    ],
)
async def test_a_naive_time_that_the_clock_shows_twice_is_the_later_one(
    tmp_path: Path, cutoff: str, stale: list[str]
) -> None:
    rows = ", ".join(f"('{clock}', '2026-10-25 {clock}:00')" for clock in ("01:59", "02:10", "02:50", "03:10"))
    path = filled(
        tmp_path / "a.db",
        f"CREATE TABLE things (id TEXT NOT NULL PRIMARY KEY, at TEXT); INSERT INTO things VALUES {rows}",
    )
    zoned = Source(table="things", naive_time_zone="Europe/Berlin")
    source = opened(path, match=(Match("before", "at"),), write=Write(), source=zoned)
    assert [key for (key,) in await source.keys(Range(), Predicate(cutoff))] == stale
    await source.close()


async def test_an_explanation_is_sql_that_runs(tmp_path: Path) -> None:
    path = filled(tmp_path / "a.db", TEN)
    source = opened(path, effect=Effect(columns=("id", "status"), handler="a:b"))
    explanation = await source.explain(CUTOFF)
    assert explanation.rows_estimate == 10
    assert explanation.write_sql is not None
    with closing(sqlite3.connect(path)) as connection:
        for statement in (explanation.plan_sql, explanation.stale_sql, explanation.write_sql):
            connection.execute(statement)
    [row, *_] = await source.stale(Range(), Predicate(CUTOFF), 3)
    assert (row.key, dict(row.values), row.stamp) == (("1",), {"id": 1, "status": "pending"}, ("2026-01-01",))
    await source.close()


async def test_a_write_that_moves_rows_to_other_keys_and_leaves_them_stale_is_rolled_back(tmp_path: Path) -> None:
    path = filled(tmp_path / "a.db", TEN)
    source = opened(path, write=Write(update=(Assignment("id", sql="t.id + 1000"),)))
    written = await source.write(Range(None, ("5",)), Predicate(CUTOFF))
    assert (written.applied, written.still_stale) == (0, 5)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT max(id) FROM things").fetchone() == (10,)
    closing_too = Write(update=(Assignment("id", sql="t.id + 1000"), Assignment("status", "expired")))
    moved = opened(path, write=closing_too)
    assert (await moved.write(Range(None, ("5",)), Predicate(CUTOFF))).applied == 5
    await moved.close()
    await source.close()


async def test_the_origin_of_keys_changes_with_file_table_and_key_columns(tmp_path: Path) -> None:
    script = """
        CREATE TABLE things (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, status TEXT, expires_at TEXT);
        CREATE TABLE others (id INTEGER PRIMARY KEY, status TEXT, expires_at TEXT);
    """
    here, there = filled(tmp_path / "a.db", script), filled(tmp_path / "b.db", script)
    (tmp_path / "link.db").symlink_to(here)
    sources = [
        opened(here),
        opened(there),
        opened(here, source=Source(table="others")),
        opened(here, source=Source(table="things", key=("code",))),
    ]
    same = [
        opened(here, match=STALE[:1]),
        opened(tmp_path / "link.db"),
        opened(here, source=Source(table="things", key=("id",))),
    ]
    origins = [await source.origin() for source in sources]
    assert len(set(origins)) == len(sources)
    assert {await source.origin() for source in same} == {origins[0]}
    assert origins[0].startswith("things(id) #")
    for source in (*sources, *same):
        await source.close()


async def test_a_window_ends_at_the_greatest_key_of_the_start(tmp_path: Path) -> None:
    path = filled(tmp_path / "a.db", TEN)
    source = opened(path)
    _, last = await source.bounds()
    assert last == ("10",)
    filled(path, "INSERT INTO things SELECT id + 10, status, expires_at FROM things")
    assert (await source.cut(Predicate(CUTOFF), None, 100, 100, last)).rows == 10
    assert (await source.cut(Predicate(CUTOFF), ("5",), 100, 100, last)).rows == 5
    await source.close()
