"""``kubesweep init`` with options, without a terminal: on the tables and with the roles that people have."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from kubesweep import load
from kubesweep.api.plan import Archive, Assignment, Match
from kubesweep.errors import SweepFailure
from kubesweep_worker.sources.facts import read_facts
from tests.integration.command_line import CommandLine, equation, next_commands
from tests.integration.postgres import Server
from tests.kits.errors_page import documented_text

SCHEMA = """
CREATE SCHEMA app;
CREATE TYPE app.mood AS ENUM ('open', 'closed');
CREATE TABLE app.carts (
  region text NOT NULL, id int NOT NULL, mood app.mood NOT NULL, note text, total numeric, seen_ms bigint NOT NULL,
  updated_at timestamptz NOT NULL, double_id int GENERATED ALWAYS AS (id * 2) STORED, PRIMARY KEY (region, id)
);
INSERT INTO app.carts (region, id, mood, seen_ms, updated_at)
  SELECT 'eu', n, 'open', 1700000000000 + n, now() - n * interval '1 day' FROM generate_series(1, 40) AS n;
CREATE TABLE app.kept (LIKE app.carts);
CREATE VIEW app.seen AS SELECT * FROM app.carts;
CREATE MATERIALIZED VIEW app.stored AS SELECT * FROM app.carts;
CREATE TABLE app.timeless (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE app.keyless (id int, at timestamptz NOT NULL);
CREATE TABLE app.unique_only (code text NOT NULL UNIQUE, day date NOT NULL);
CREATE TABLE app.parted (id int NOT NULL, at timestamptz NOT NULL, state text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE app.parted_all PARTITION OF app.parted DEFAULT;
INSERT INTO app.parted SELECT n, now() - n * interval '10 days', 'queued' FROM generate_series(1, 10) AS n;
CREATE TABLE app."Strange: {name} # 1" ("when" timestamptz NOT NULL, "Ünï ""q"" x" text NOT NULL DEFAULT 'yes', "y" int PRIMARY KEY);
INSERT INTO app."Strange: {name} # 1" ("when", "y") VALUES (now() - interval '1 year', 1), (now(), 2);
CREATE TABLE app.parents (id int PRIMARY KEY, at timestamptz NOT NULL);
CREATE TABLE app.children (id int PRIMARY KEY, parent int REFERENCES app.parents ON DELETE CASCADE);
"""


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


@pytest.fixture
def init(cli: CommandLine, database: str) -> Callable[..., tuple[str, str]]:
    """Runs init on a table of the schema with the variable of the URL. Returns stdout and stderr."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(SCHEMA.encode())

    def run(table: str, *options: str, code: int = 0, url: str = database) -> tuple[str, str]:
        done = cli.run("init", "--table", table, *options, code=code, DATABASE_URL=url)
        return done.stdout, done.stderr

    return run


Init = Callable[..., tuple[str, str]]


def test_options_answer_everything(cli: CommandLine, init: Init, database: str) -> None:
    options = [
        "--time",
        "updated_at",
        "--older-than",
        "30d",
        "--where",
        "mood=open",
        "--where",
        "note is null",
        "--set",
        "mood=closed",
    ]
    stdout, _ = init("app.carts", *options, "--every", "15m", "--name", "old-carts")
    assert "stale now   11 rows, such as" in stdout
    [one] = load([cli.folder / "old-carts.yaml"], environ={"DATABASE_URL": database})
    assert one.plan.match == (
        Match("in", "mood", ("open",)),
        Match("isNull", "note"),
        Match("before", "updated_at", offset=30 * 86400.0),
    )
    assert one.plan.write is not None
    assert one.plan.write.update == (Assignment("mood", "closed"),)
    assert (one.spec.spec.every, one.plan.source.schema, one.plan.source.key) == ("15m", "app", ())
    assert one.plan.limits.approve_above_rows == 1000
    assert one.url == database
    cli.run("check", "-f", "old-carts.yaml", DATABASE_URL=database)
    done = cli.run("run", "--once", "-f", "old-carts.yaml", DATABASE_URL=database)
    assert equation(done.stdout + done.stderr)[:2] == (11, 11)


def test_the_file_never_has_the_url(cli: CommandLine, init: Init, database: str) -> None:
    stdout, stderr = init("app.carts", "--delete")
    text = (cli.folder / "delete-carts.yaml").read_text()
    assert 'url: "${DATABASE_URL}"' in text
    assert not [each for each in (text, stdout, stderr) if database in each]
    assert 'CREATE INDEX CONCURRENTLY ON "app"."carts" ("mood", "updated_at");' in stdout
    assert next_commands(stdout) == [
        "kubesweep check -f delete-carts.yaml",
        "kubesweep run -f delete-carts.yaml --once",
        "envsubst '$DATABASE_URL' < delete-carts.yaml | kubectl apply -f -",
    ]
    done = cli.run("init", "--url", database, "--table", "app.parted", "--delete")
    assert next_commands(done.stdout)[0] == "export DATABASE_URL='URL'"


def test_rows_are_archived(cli: CommandLine, init: Init) -> None:
    init("app.carts", "--archive-to", "app.kept", "--where", "mood=closed,open", "--schedule", "@daily", "--dry-run")
    [one] = load([cli.folder / "archive-carts.yaml"], url="postgresql://a/b")
    assert one.plan.write is not None
    assert (one.plan.write.archive, one.plan.mode) == (Archive("kept", "app"), "DryRun")
    assert one.spec.spec.schedule == "@daily"


def test_numbers_are_times_if_they_look_like_times(cli: CommandLine, init: Init) -> None:
    init("app.carts", "--time", "seen_ms", "--handler", "shop.sweeps:close", "--name", "by-number")
    [one] = load([cli.folder / "by-number.yaml"], url="postgresql://a/b")
    assert Match("before", "seen_ms", offset=30 * 86400.0, unit="milliseconds") in one.plan.match
    assert one.plan.effect is not None
    assert (one.plan.effect.handler, one.plan.write) == ("shop.sweeps:close", None)


def test_a_condition_ends_the_sweep_where_the_answers_have_none(cli: CommandLine, init: Init) -> None:
    init("app.carts", "--where", "region=eu", "--set", "note=closed", "--name", "noted")
    [one] = load([cli.folder / "noted.yaml"], url="postgresql://a/b")
    assert one.plan.match[-1] == Match("notIn", "note", ("closed",))


def test_names_of_any_characters_survive(cli: CommandLine, init: Init, database: str) -> None:
    table = "Strange: {name} # 1"
    init(f'app."{table}"', "--time", "when", "--set", 'Ünï "q" x=no', "--webhook", "https://example.com/a?b=#c")
    [file] = cli.folder.glob("*.yaml")
    [one] = load([file], url=database)
    assert one.plan.source.table == table
    assert one.plan.match[-1] == Match("notIn", 'Ünï "q" x', ("no",))
    assert one.name == "update-strange-name-1"


def test_a_partitioned_table_and_a_key_of_two_columns(cli: CommandLine, init: Init, database: str) -> None:
    stdout, _ = init("app.parted", "--delete", "--where", "state=queued")
    assert "key (id, at)" in stdout
    assert 'CREATE INDEX ON ONLY "app"."parted"' in stdout
    cli.run("run", "--once", "-f", "delete-parted.yaml", DATABASE_URL=database)
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM app.parted").fetchone() == (2,)


def test_another_unique_key_is_used_where_there_is_no_primary_one(cli: CommandLine, init: Init) -> None:
    init("app.unique_only", "--delete")
    [one] = load([cli.folder / "delete-unique-only.yaml"], url="postgresql://a/b")
    assert one.plan.source.key == ("code",)


async def test_what_is_read_of_a_table(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(SCHEMA.encode())
        connection.execute(
            "CREATE TABLE jobs (id bigserial PRIMARY KEY, code int NOT NULL UNIQUE, state varchar NOT NULL CHECK (state IN ('a', 'b')), "
            "phase text, at timestamp, parent int REFERENCES app.parents ON DELETE SET NULL); CREATE INDEX ON jobs (state, at); "
            "INSERT INTO jobs (code, state, phase) SELECT n, 'a', 'p' || n % 3 FROM generate_series(1, 90) AS n; ANALYZE jobs; "
            "ALTER TABLE jobs ADD COLUMN status text DEFAULT 'late'"
        )
    found = await read_facts(database, None, "jobs")
    columns = found.columns
    assert (found.quoted, found.rows, found.partitioned) == ('"public"."jobs"', 90, False)
    assert (found.primary, found.keys, found.indexes[2:]) == (("id",), (("id",), ("code",)), (("state", "at"),))
    assert (columns["state"].choices, columns["state"].counts) == (("a", "b"), {"a": 90})
    assert columns["phase"].counts == {"p0": 30, "p1": 30, "p2": 30}
    assert columns["status"].counts == {"late": 90}  # not in the statistics, so counted
    assert (columns["at"].moment, columns["at"].not_null, columns["id"].moment) == ("naive", False, "")
    parents = await read_facts(database, "app", "parents")
    assert [(each.table, each.action) for each in parents.children] == [
        ("app.children", "CASCADE"),
        ("jobs", "SET NULL"),
    ]
    mood = (await read_facts(database, "app", "carts")).columns["mood"]
    assert (mood.choices, mood.counts) == (("open", "closed"), {"open": 40})


UNUSABLE = {
    (None, "carts"): (
        "TableMissing",
        'there is no table "carts"; there is one in schema "app": write --table app.carts',
    ),
    ("app", "cart"): ("TableMissing", 'there is no table "app.cart"; did you mean "carts"?'),
    ("App", "Carts"): ("TableMissing", 'there is no table "App.Carts"; did you mean "app.carts"?'),
    ("app", "seen"): (
        "NotATable",
        '"app"."seen" is a view: rows are locked and written in tables only. Name the table behind it in --table.',
    ),
    ("app", "stored"): (
        "NotATable",
        '"app"."stored" is a materialized view: rows are locked and written in tables only. Name the table behind it in --table.',
    ),
}


async def test_a_table_that_cannot_be_swept_says_why(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(SCHEMA.encode())
    found = {}
    for schema, table in UNUSABLE:
        with pytest.raises(SweepFailure) as failure:
            await read_facts(database, schema, table)
        found[schema, table] = (failure.value.reason, str(failure.value))
    assert found == UNUSABLE


def test_what_happens_has_no_default_without_a_terminal(cli: CommandLine, init: Init) -> None:
    _, stderr = init("app.carts", code=2)
    assert documented_text("AnswerNeeded") in stderr
    _, stderr = init("app.timeless", "--delete", code=2)
    assert '"app"."timeless" has no column with times, so age cannot matter; the columns are id, name.' in stderr
    assert "add --where COLUMN=VALUE." in stderr
    _, stderr = init("app.keyless", "--delete", code=2)
    assert '"app"."keyless" has no primary key' in stderr
    assert not list(cli.folder.glob("*.yaml"))


def test_a_sweep_that_would_never_end_is_refused(cli: CommandLine, init: Init) -> None:
    _, stderr = init("app.carts", "--where", "mood=open", "--set", "mood=open", code=2)
    assert "leaves every row" in stderr
    assert not list(cli.folder.glob("*.yaml"))


def test_children_that_a_delete_removes_have_to_be_accepted(cli: CommandLine, init: Init) -> None:
    _, stderr = init("app.parents", "--delete", code=2)
    assert "add --accept-children." in stderr
    assert "rows of app.children that refer to a deleted row are deleted too" in stderr
    init("app.parents", "--delete", "--accept-children")
    assert "delete: {children: accept}" in (cli.folder / "delete-parents.yaml").read_text()


def test_a_file_is_replaced_only_with_force(cli: CommandLine, init: Init) -> None:
    file = cli.folder / "delete-parted.yaml"
    file.write_text("mine")
    _, stderr = init("app.parted", "--delete", code=2)
    assert "delete-parted.yaml exists already: add --force" in stderr
    assert file.read_text() == "mine"
    init("app.parted", "--delete", "--force")
    assert "SweepSchedule" in file.read_text()
    _, stderr = init("app.parted", "--delete", "--out", "missing/a.yaml", code=2)
    assert documented_text("FileUnwritable") in stderr


def test_the_file_may_go_to_stdout_alone(cli: CommandLine, init: Init) -> None:
    stdout, stderr = init("app.parted", "--delete", "--out", "-")
    assert stdout.startswith("# Made by `kubesweep init`")
    assert "stale now" in stderr
    (cli.folder / "piped.yaml").write_text(stdout)
    assert [one.name for one in load([cli.folder / "piped.yaml"], url="postgresql://a/b")] == ["delete-parted"]


@pytest.fixture
def poor_role(postgres_server: Server, database: str) -> Iterator[str]:
    """The URL of a role that may read one column of app.carts."""
    with postgres_server.turn():
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("CREATE ROLE poor LOGIN")
        yield postgres_server.url(str(psycopg.conninfo.conninfo_to_dict(database)["dbname"]), "poor")
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("DROP OWNED BY poor; DROP ROLE poor")


def test_a_role_with_few_rights_gets_the_file_and_the_grants(
    cli: CommandLine, init: Init, database: str, poor_role: str
) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("GRANT USAGE ON SCHEMA app TO poor; GRANT SELECT (id, region) ON app.carts TO poor")
    _, stderr = init("app.carts", "--delete", url=poor_role, code=1)
    assert 'GRANT SELECT ON "app"."carts" TO "poor"' in stderr
    assert 'GRANT DELETE ON "app"."carts" TO "poor"' in stderr
    assert "the rows that match were not counted" in (cli.folder / "delete-carts.yaml").read_text()


def test_a_database_that_cannot_be_reached_is_exit_code_3(cli: CommandLine) -> None:
    done = cli.run("init", "--url", "postgresql://bob:hunter2@127.0.0.1:1/shop", "--table", "a", code=3)
    assert "Unreachable: no connection to the database" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr


def test_a_table_of_sqlite(cli: CommandLine) -> None:
    with closing(sqlite3.connect(cli.folder / "shop.db")) as connection:
        connection.executescript("""
            CREATE TABLE Tokens (id INTEGER PRIMARY KEY, state TEXT CHECK (state IN ('open', 'expired')), expiresAt BIGINT NOT NULL);
            INSERT INTO Tokens VALUES (1, 'open', 1700000000), (2, 'open', 4000000000), (3, 'expired', 1700000000);
            CREATE TABLE uses (id INTEGER PRIMARY KEY, token INTEGER REFERENCES Tokens ON DELETE CASCADE);
            CREATE VIEW seen AS SELECT * FROM Tokens;
        """)
    run = ["init", "--url", "sqlite:///shop.db", "--table"]
    stdout = cli.run(*run, "Tokens", "--set", "state=expired").stdout
    text = (cli.folder / "expire-tokens.yaml").read_text()
    assert "{column: expiresAt, before: now, unit: seconds}" in text
    assert "{column: state, in: [open]} # open 2, expired 1" in text
    assert 'url: "sqlite:///shop.db"' in text
    assert 'CREATE INDEX "Tokens_state_expiresAt" ON "Tokens" ("state", "expiresAt");' in stdout
    cli.run("run", "--once", "-f", "expire-tokens.yaml")
    with closing(sqlite3.connect(cli.folder / "shop.db")) as connection:
        assert connection.execute("SELECT id FROM Tokens WHERE state = 'open'").fetchall() == [(2,)]
    assert "is a view" in cli.run(*run, "seen", "--delete", code=2).stderr
    assert re.search(r'no table "token".*"Tokens"', cli.run(*run, "token", "--delete", code=2).stderr)
    assert "no schema" in cli.run(*run, "other.Tokens", "--delete", code=2).stderr
