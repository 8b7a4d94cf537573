"""``kubesweep init`` as a new user types it: from a table to its first swept row in under two minutes of typing, without an editor."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from tests.integration.application_tables import APPLICATIONS, SESSIONS, Application
from tests.integration.command_line import CommandLine
from tests.integration.typed_session import CTRL_C, TypedSession

MOST_MINUTES = 2
# What a person types for the URL; the test's own URL is another one.
EXPORT = "export DATABASE_URL=postgresql://sweeper:hunter2@localhost/shop"


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


@pytest.mark.parametrize("application", APPLICATIONS.values(), ids=APPLICATIONS.keys())
def test_from_the_table_to_the_first_swept_row_in_two_minutes_of_typing(
    cli: CommandLine, database: str, application: Application
) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE \"{name}\" SET timezone = 'Asia/Kolkata'".encode())
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(application.schema.encode())
    person = TypedSession(cli, DATABASE_URL=database)
    person.type(EXPORT)
    output = person.run(f"kubesweep init --table {application.table}", application.answers)
    assert f"kubesweep run -f {application.file} --once" in output
    assert database not in (cli.folder / application.file).read_text()
    person.run(f"kubesweep run -f {application.file} --once")
    query, rows = application.left
    with psycopg.connect(database) as connection:
        assert connection.execute(query.encode()).fetchall() == rows
    print(
        f"{application.table}: {person.typed} characters in {person.asked} answers and 3 commands, {person.minutes:.1f} minutes of typing"
    )
    assert person.minutes < MOST_MINUTES
    cli.run(
        "check", "-f", application.file, code=0 if application.table == "conversations" else 1, DATABASE_URL=database
    )


def test_a_file_for_sqlite_needs_no_variable(cli: CommandLine) -> None:
    with closing(sqlite3.connect(cli.folder / "shop.db")) as connection:
        connection.executescript(SESSIONS)
    person = TypedSession(cli)
    words = ("Time column", "older than", "What happens", "How often", "Name", "Write delete-django-session.yaml")
    person.run("kubesweep init --url sqlite:///shop.db --table django_session", [(each, "") for each in words])
    assert "url: " in (cli.folder / "delete-django-session.yaml").read_text()
    cli.run("check", "-f", "delete-django-session.yaml")
    person.run("kubesweep run -f delete-django-session.yaml --once")
    with closing(sqlite3.connect(cli.folder / "shop.db")) as connection:
        assert connection.execute("SELECT session_key FROM django_session").fetchall() == [("young",)]


@pytest.mark.parametrize("prompts", [0, 3, 5])
def test_ctrl_c_at_any_question_writes_nothing(cli: CommandLine, prompts: int) -> None:
    with closing(sqlite3.connect(cli.folder / "shop.db")) as connection:
        connection.executescript(SESSIONS)
    words = ("Time column", "older than", "What happens", "How often", "Name", "Write delete-django-session.yaml")
    answers = [*((each, "") for each in words[:prompts]), (words[prompts], CTRL_C)]
    TypedSession(cli).run("kubesweep init --url sqlite:///shop.db --table django_session", answers, code=130)
    assert not list(cli.folder.glob("*.yaml"))


def test_a_wrong_answer_is_explained_and_asked_again(cli: CommandLine) -> None:
    with closing(sqlite3.connect(cli.folder / "shop.db")) as connection:
        connection.executescript(SESSIONS)
    answers = [
        ("Time column", "expire_dat"),
        ("Time column", "session_data"),
        ("Time column", ""),
        ("older than", "30"),
        ("older than", "30d"),
        ("What happens", "remove"),
        ("What happens", "webhook https://example.com/hook"),
        ("And then", "delete"),
        ("How often", "0 25 * * *"),
        ("How often", "0 4 * * *"),
        ("Name", "Sessions"),
        ("Name", "sessions"),
        ("Write sessions.yaml", "d"),
    ]
    output = TypedSession(cli).run("kubesweep init --url sqlite:///shop.db --table django_session", answers)
    for sentence in (
        'did you mean "expire_date"?',
        'column "session_data" is TEXT, which is no time; those with times are expire_date',
        '"30" has no unit',
        "write COLUMN=VALUE, delete, archive TABLE, webhook URL or handler MODULE:FUNCTION",
        "bad hour",
        '"Sessions" is not a name of Kubernetes',
    ):
        assert sentence in output
    text = (cli.folder / "sessions.yaml").read_text()
    assert "mode: DryRun" in text
    assert 'webhook: {url: "https://example.com/hook"}' in text


def test_no_at_the_last_question_writes_nothing(cli: CommandLine) -> None:
    with closing(sqlite3.connect(cli.folder / "shop.db")) as connection:
        connection.executescript(SESSIONS)
    words = ("Time column", "older than", "What happens", "How often", "Name")
    answers = [*((each, "") for each in words), ("Write", "n")]
    output = TypedSession(cli).run("kubesweep init --url sqlite:///shop.db --table django_session", answers, code=1)
    assert "Nothing was written." in output
    assert not list(cli.folder.glob("*.yaml"))
