"""The cases of docs/errors.md, section "Source": a plan or a table with one thing changed."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from kubesweep.api.plan import Archive, Assignment, Effect, Match, RowLimits, Write
from kubesweep.queue.model import HealthLimits

TABLE = (
    "CREATE TYPE mood AS ENUM ('sad', 'fine'); CREATE TABLE things (id int PRIMARY KEY, status text NOT NULL, expires_at timestamptz NOT NULL, "
    "mood mood, data json, amount numeric(5, 2), code varchar(3), point point NOT NULL, twice int GENERATED ALWAYS AS (id * 2) STORED)"
)


LITE = "CREATE TABLE things (id INTEGER PRIMARY KEY, status TEXT NOT NULL, expires_at TEXT NOT NULL, size REAL NOT NULL, maybe TEXT, twice AS (id * 2))"


BEFORE = Match("before", "expires_at")


OPEN = Match("sql", sql="t.status <> 'expired'")


class Case(NamedTuple):
    """A plan for ``things`` with one thing changed. ``role``: rights to revoke. ``sql``: run before the inspection."""

    plan: Mapping[str, Any] = MappingProxyType({})
    sql: str = ""
    table: str = "things"
    schema: str | None = None
    key: tuple[str, ...] = ()
    role: str = ""
    zone: str | None = "UTC"
    health: HealthLimits | None = None


def match(*matches: Match) -> dict[str, Any]:
    return {"match": (BEFORE, *matches)}


def update(column: str, value: str | None = None, sql: str | None = None) -> dict[str, Any]:
    return {"write": Write(update=(Assignment(column, value=value, sql=sql),))}


TIMELESS = {"match": (Match("in", "status", ("pending",)),), "effect": Effect(handler="a:b")}


POSTGRES = {
    "a table that does not exist": Case(table="thinks"),
    "a table in another schema": Case(schema="public", sql="CREATE SCHEMA app; ALTER TABLE things SET SCHEMA app"),
    "a view": Case(sql="CREATE VIEW seen AS SELECT * FROM things", table="seen"),
    "no primary key": Case(sql="ALTER TABLE things DROP CONSTRAINT things_pkey"),
    "no primary key, but a unique index": Case(
        sql="ALTER TABLE things DROP CONSTRAINT things_pkey; ALTER TABLE things ADD UNIQUE (status, id); ALTER TABLE things ALTER id SET NOT NULL"
    ),
    "a key that is not unique": Case(key=("status",)),
    "a key without the column that the table is partitioned by": Case(
        sql="CREATE TABLE events (id int NOT NULL, status text, expires_at timestamptz NOT NULL, PRIMARY KEY (id, expires_at)) PARTITION BY RANGE (expires_at)",
        table="events",
        key=("id",),
    ),
    "a key that may be NULL": Case(key=("code",), sql="CREATE UNIQUE INDEX ON things (code)"),
    "a key of a type without an order": Case(key=("point",)),
    "a primary key of five columns": Case(
        sql="CREATE TABLE wide (a int, b int, c int, d int, e int, PRIMARY KEY (a, b, c, d, e))", table="wide"
    ),
    "a column that does not exist": Case(match(Match("isNull", "expired_at"))),
    "an effect's column that does not exist": Case({"effect": Effect(columns=("stats",), handler="a:b")}),
    "a column of effect.key that does not exist": Case({"effect": Effect(key=("stats",), handler="a:b")}),
    "`before` on text": Case(match(Match("before", "status"))),
    "a value that is not a label of the enum": Case(match(Match("in", "mood", ("sed",)))),
    "a value that is not a number": Case(match(Match("in", "amount", ("many",)))),
    "`in` on json, which has no equality": Case(match(Match("in", "data", ("{}",)))),
    "sql that does not parse": Case(match(Match("sql", sql="t.status = = 'x'"))),
    "sql with a column that does not exist": Case(match(Match("sql", sql="t.state = 'x'"))),
    "sql that is not a condition": Case(match(Match("sql", sql="t.id + 1"))),
    "sql with an aggregate": Case(match(Match("sql", sql="max(t.id) > 1"))),
    "a generated column in update": Case(update("twice", "1")),
    "an update's value that is too long": Case(update("code", "abcdef")),
    "an update's column that does not exist": Case(update("staus", "x")),
    "an unknown zone": Case(
        match(Match("before", "naive")), sql="ALTER TABLE things ADD naive timestamp", zone="Mars/Base"
    ),
    "no right to read": Case(role="reads nothing", sql='GRANT UPDATE (status) ON things TO "{role}"'),
    "no right to read or update": Case(role="may nothing"),
    "no right to update": Case(role="reads", sql='GRANT SELECT ON things TO "{role}"'),
    "no right to delete": Case(
        {"write": Write()}, role="deletes nothing", sql='GRANT SELECT, UPDATE ON things TO "{role}"'
    ),
    "an archive that does not exist": Case({"write": Write(archive=Archive("gone"))}),
    "an archive that the role may not write": Case(
        {"write": Write(archive=Archive("kept"))},
        sql='CREATE TABLE kept (id int); GRANT SELECT, UPDATE, DELETE ON things TO "{role}"',
        role="archives nothing",
    ),
    "an archive without a column in common": Case(
        {"write": Write(archive=Archive("kept"))}, sql="CREATE TABLE kept (x int)"
    ),
    "an archive whose rule rewrites the insert": Case(
        {"write": Write(archive=Archive("kept"))},
        sql="CREATE TABLE kept (LIKE things); CREATE RULE odd AS ON INSERT TO kept WHERE NEW.id = 3 DO INSTEAD NOTHING",
    ),
    "an archive that loses a part of a value": Case(
        {"write": Write(archive=Archive("kept"))},
        sql="CREATE TABLE kept (LIKE things); ALTER TABLE kept ALTER expires_at TYPE date",
    ),
    "the table as its own archive": Case({"write": Write(archive=Archive("things"))}),
    "rows of other tables that are deleted too": Case(
        {"write": Write()},
        sql="CREATE TABLE parts (id int PRIMARY KEY, thing int CONSTRAINT part_of REFERENCES things ON DELETE CASCADE); CREATE INDEX ON parts (thing); "
        "CREATE TABLE notes (thing int CONSTRAINT note_of REFERENCES things ON DELETE SET NULL); CREATE INDEX ON notes (thing); "
        "INSERT INTO things VALUES (1, 'open', '2020-01-01', NULL, NULL, 1, '', '0,0'); INSERT INTO parts VALUES (1, 1), (2, 1)",
    ),
    "an update whose values still match": Case({"match": (Match("in", "status", ("pending", "expired")),)}),
    "a read-only database": Case(sql="ALTER DATABASE {database} SET default_transaction_read_only = on"),
    "no policy that permits the write": Case(
        sql="GRANT SELECT, UPDATE ON things TO {role}; ALTER TABLE things ENABLE ROW LEVEL SECURITY; "
        "CREATE POLICY seen ON things FOR SELECT USING (true)",
        role="sees",
    ),
    "a rule that rewrites the write": Case(sql="CREATE RULE keep AS ON UPDATE TO things DO INSTEAD NOTHING"),
    "a published table without a replica identity": Case(
        sql="CREATE TABLE events (id int NOT NULL, status text, expires_at timestamptz); CREATE UNIQUE INDEX events_id ON events (id); "
        "CREATE PUBLICATION p FOR TABLE events",
        table="events",
        key=("id",),
    ),
}


SQLITE = {
    "SQLite: signals of health": Case(health=HealthLimits(lock_waits=5.0)),
    "SQLite: a table that does not exist": Case(table="thing"),
    "SQLite: a view": Case(sql="CREATE VIEW seen AS SELECT * FROM things", table="seen"),
    "SQLite: no primary key": Case(sql="CREATE TABLE bare (id INTEGER, expires_at TEXT)", table="bare"),
    "SQLite: no primary key, but a unique index": Case(
        sql="CREATE TABLE bare (id INTEGER NOT NULL UNIQUE, expires_at TEXT)", table="bare"
    ),
    "SQLite: an archive that is a view": Case(
        {"write": Write(archive=Archive("seen"))}, sql="CREATE VIEW seen AS SELECT * FROM things"
    ),
    "SQLite: a key that is not unique": Case(key=("status",)),
    "SQLite: a key that may be NULL": Case(key=("maybe",), sql="CREATE UNIQUE INDEX one ON things (maybe)"),
    "SQLite: a key of floating point": Case(key=("size",)),
    "SQLite: a column that does not exist": Case(match(Match("isNull", "expired_at"))),
    "SQLite: a column of effect.key that does not exist": Case({"effect": Effect(key=("stats",), handler="a:b")}),
    "SQLite: sql that does not parse": Case(match(Match("sql", sql="t.status = = 'x'"))),
    "SQLite: a generated column in update": Case(update("twice", "1")),
    "SQLite: sql that compares numbers with :cutoff": Case(
        match(Match("sql", sql="t.size < :cutoff")),
        sql="INSERT INTO things (id, status, expires_at, size) VALUES (1, 'a', '2026-02-01 00:00', 1)",
    ),
}


URLS = {
    "a URL of another scheme": "mysql://u:hunter2@h/d",
    "a URL that cannot be parsed": "postgresql://u:hunter2@h/d?nonsense=1",
    "a database that does not exist": "{server}/nowhere",
    "a user that does not exist": "{server}/postgres as nobody",
    "a server that does not exist": "postgresql://u:hunter2@/d?host=/nowhere",
    "SQLite: a file that does not exist": "sqlite:////nowhere/a.db",
    "SQLite: a file that is not a database": "sqlite:///{folder}/text.db",
}


WARNINGS = {
    "a time column that may be NULL": Case(sql="ALTER TABLE things ALTER expires_at DROP NOT NULL"),
    "a trigger": Case(
        sql="CREATE TRIGGER audit BEFORE UPDATE ON things FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()"
    ),
    "a foreign key to the table without an index": Case(
        {"write": Write()}, sql="CREATE TABLE parts (thing int CONSTRAINT part_of REFERENCES things)"
    ),
    "row-level security": Case(
        sql="GRANT SELECT, UPDATE ON things TO {role}; ALTER TABLE things ENABLE ROW LEVEL SECURITY; "
        "CREATE POLICY part ON things USING (id < 5)",
        role="sees a part",
    ),
    "`limits.approveAbove`, and the role may not call `pg_control_system()`": Case(
        {"limits": RowLimits(approve_above_rows=5)},
        sql="GRANT SELECT, UPDATE ON things TO {role}; REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC",
        role="only updates",
    ),
    "signals of health that the role may not read": Case(
        sql="GRANT SELECT, UPDATE ON things TO {role}",
        role="only updates",
        health=HealthLimits(oldest_xmin=600.0, lock_waits=5.0),
    ),
    "a health.query without a number": Case(health=HealthLimits(query="SELECT NULL::int", query_limit=5.0)),
    "a role that may delete but not lock": Case(
        {"write": Write()}, sql="GRANT SELECT, DELETE ON things TO {role}", role="only deletes"
    ),
    "an effect, and no column that tells one staleness from the next": Case(TIMELESS),
    "sql that reads a clock": Case(match(Match("sql", sql="t.expires_at < now()"))),
    "sql with a subquery": Case(match(Match("sql", sql="EXISTS (SELECT FROM pg_class)"))),
    "numbers that look like another unit": Case(
        {"match": (Match("before", "seen", unit="seconds"), OPEN)},
        sql="ALTER TABLE things ADD seen bigint NOT NULL DEFAULT 1772323200000; INSERT INTO things (id, status, expires_at, point) VALUES (1, 'a', now(), '0,0')",
    ),
    "sql that converts a number to a time": Case(
        match(Match("sql", sql="to_timestamp(t.seen) < :cutoff")),
        sql="ALTER TABLE things ADD seen bigint; CREATE INDEX ON things (seen)",
    ),
    "`before: now` on a column of dates": Case(
        {"match": (Match("before", "due"), OPEN)}, sql="ALTER TABLE things ADD due date NOT NULL"
    ),
    "a table that others inherit from": Case(sql="CREATE TABLE more () INHERITS (things)"),
    "a key in another order than its index": Case(
        sql="ALTER TABLE things ADD UNIQUE (status, id)", key=("id", "status")
    ),
    "an archive that lacks columns": Case(
        {"write": Write(archive=Archive("kept"))},
        sql="CREATE TABLE kept (LIKE things); ALTER TABLE kept DROP status, DROP code",
    ),
    "an archive of other types": Case(
        {"write": Write(archive=Archive("kept"))},
        sql="CREATE TABLE kept (LIKE things); ALTER TABLE kept ALTER status TYPE varchar(9)",
    ),
    "rows of other tables that are changed": Case(
        {"write": Write()},
        sql="CREATE TABLE parts (thing int CONSTRAINT part_of REFERENCES things ON DELETE SET NULL); CREATE INDEX ON parts (thing)",
    ),
    "a time without a zone, in a database with another time zone": Case(
        {"match": (Match("before", "made"), OPEN)},
        sql="ALTER TABLE things ADD made timestamp NOT NULL; ALTER DATABASE \"{database}\" SET TimeZone = 'Asia/Tokyo'",
        zone=None,
    ),
    "a big table without an index for the match": Case(
        sql="INSERT INTO things SELECT n, 'live', now() + interval '1 day', NULL, NULL, 1, '', '0,0' "
        "FROM generate_series(1, 100000) AS n; ANALYZE things",
    ),
}


SQLITE_WARNINGS = {
    "SQLite: a primary key that may be NULL": Case(
        sql="CREATE TABLE loose (id TEXT PRIMARY KEY, status TEXT, expires_at TEXT NOT NULL)", table="loose"
    ),
    "SQLite: an effect, and no column that tells one staleness from the next": Case(TIMELESS),
    "SQLite: bytes in the key": Case(
        sql="CREATE TABLE named (id TEXT NOT NULL PRIMARY KEY, status TEXT, expires_at TEXT NOT NULL); INSERT INTO named VALUES (x'31', '', '2020-01-01 00:00')",
        table="named",
    ),
    "SQLite: a key that is not UTF-8": Case(
        sql="CREATE TABLE named (id TEXT NOT NULL PRIMARY KEY, status TEXT, expires_at TEXT NOT NULL); INSERT INTO named VALUES (CAST(x'ff' AS TEXT), '', '2020-01-01 00:00')",
        table="named",
    ),
    "SQLite: a floating-point number in the key": Case(
        sql="CREATE TABLE named (id UUID NOT NULL PRIMARY KEY, status TEXT, expires_at TEXT NOT NULL); INSERT INTO named VALUES ('12e3', '', '2020-01-01 00:00'), ('1.5', '', '2020-01-01 00:00')",
        table="named",
    ),
    "SQLite: rows that break a foreign key": Case(
        {"write": Write()},
        sql="CREATE TABLE parts (thing REFERENCES things (id)); INSERT INTO parts VALUES (7)",
    ),
    "SQLite: rows of other tables that are changed": Case(
        {"write": Write()}, sql="CREATE TABLE parts (thing REFERENCES things ON DELETE SET NULL)"
    ),
    "SQLite: an archive that lacks columns": Case(
        {"write": Write(archive=Archive("kept"))}, sql="CREATE TABLE kept (id INTEGER, status TEXT, expires_at TEXT)"
    ),
    "SQLite: values that are not times": Case(
        sql="INSERT INTO things (id, status, expires_at, size) VALUES (1, 'a', '01/02/2026', 1), (2, 'a', '2026-02-01 00:00', 1)"
    ),
    "SQLite: `before: now` on a column of dates": Case(
        {"match": (Match("before", "due"), OPEN)}, sql="ALTER TABLE things ADD due DATE NOT NULL DEFAULT '2020-01-01'"
    ),
    "SQLite: a big table without an index for the match": Case(
        {"match": (BEFORE, Match("in", "status", ("open",)))},
        sql="INSERT INTO things (id, status, expires_at, size) WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 100000) "
        "SELECT n, 'live', '2120-01-01 00:00', 1 FROM s",
    ),
    "SQLite: a trigger": Case(sql="CREATE TRIGGER audit AFTER UPDATE ON things BEGIN SELECT 1; END"),
}
