"""The demo, check and the listings as people run them: real processes, and the printed next commands."""

from __future__ import annotations

import json
import re
import shlex
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.integration.cli_desk import ANSI, Desk, equation, next_commands, on_a_terminal


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Desk, str]:
    """One demo for all tests that only read it."""
    made = Desk(tmp_path_factory.mktemp("demo"))
    return made, made.run("demo", "--rows", "3000", "--keep", "world").stdout


def test_the_demo_adds_up_and_is_right_by_its_own_database(demo: tuple[Desk, str]) -> None:
    desk, text = demo
    assert equation(text) == (2100, 2093, 0, 0, 7)
    assert text.count("✓") == 4
    assert "✗" not in text
    assert "CarrierRefused" in text
    with closing(sqlite3.connect(desk.folder / "world" / "support.db")) as db:
        counts = dict(db.execute("SELECT status, count(*) FROM conversations GROUP BY status"))
    assert (counts["idle"], counts["expired"], counts["pending"] + counts["progress"]) == (1046, 1047, 607)


def test_without_a_terminal_there_is_no_escape_sequence(demo: tuple[Desk, str]) -> None:
    assert "\x1b" not in demo[1]


def test_the_demos_next_commands_work_in_their_order_and_cure_everything(desk: Desk) -> None:
    commands = next_commands(desk.run("demo", "--rows", "2000", "--keep", "my world").stdout)
    assert [shlex.split(command)[1] for command in commands if "kubesweep" in command.split()[0]] == [
        "dead", "dead", "dead", "run", "check",
    ]  # fmt: skip
    outputs = []
    for command in commands:
        done = desk.shell(command)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        outputs.append(done.stdout)
        if " run --once " in command:
            with closing(sqlite3.connect(desk.folder / "my world" / "support.db")) as db:
                counts = dict(db.execute("SELECT status, count(*) FROM conversations GROUP BY status"))
            assert (counts["idle"], counts["expired"]) == (700, 700)
    assert "CarrierRefused" in outputs[0]
    assert outputs[1].count("attempt 3") == 4
    assert "4 rows will be tried again" in outputs[3]
    assert not (desk.folder / "my world").exists()


def test_the_demo_refuses_a_folder_in_use(desk: Desk) -> None:
    (desk.folder / "used").mkdir()
    (desk.folder / "used" / "file").touch()
    assert "not empty" in desk.run("demo", "--keep", "used", code=2).stderr


def test_check_shows_the_sql_samples_and_the_tried_write_and_changes_nothing(desk: Desk) -> None:
    file = desk.slow(12)
    plain = desk.run("check", "-f", file).stdout
    assert "UPDATE" not in plain
    assert plain.count("UTC,") == 2  # three ticks
    assert "result  no problem found" in plain
    text = desk.run("check", "-f", file, "--try-write", "--sql").stdout
    assert "12 rows, such as 0, 1, 2, 3, 4" in text
    assert 'UPDATE "items"' in text
    assert "10 rows written and rolled back: these rows stop matching" in text
    assert desk.states() == {"old": 12}


def test_check_finds_a_write_that_would_never_end(desk: Desk) -> None:
    path = Path(desk.slow(12))
    text = path.read_text()
    path.write_text(text.replace("value: new", "value: old"))
    refused = desk.run("check", "-f", str(path), code=2)
    assert "NeverEnds: spec.write.update leaves every row" in refused.stderr
    path.write_text(text.replace("value: new", "sql: \"'old'\""))
    assert "NeverEnds" in desk.run("check", "-f", str(path), "--try-write", code=1).stdout


def test_check_tells_the_rows_that_a_tried_write_leaves_as_they_are(desk: Desk) -> None:
    file = desk.slow(12)
    with closing(sqlite3.connect(desk.folder / "items.db")) as connection:
        connection.execute(
            "CREATE TRIGGER keeps BEFORE UPDATE ON items WHEN OLD.id % 5 = 0 BEGIN SELECT RAISE(IGNORE); END"
        )
    text = desk.run("check", "-f", file, "--try-write", code=1).stdout
    assert "2 of 10 rows would stay unchanged" in text
    assert "WriteRefused: 2 rows stay unchanged" in text


def test_check_says_what_outlasts_the_timeout_and_shows_the_rest(desk: Desk) -> None:
    path = Path(desk.slow(12))
    spins = "(WITH RECURSIVE n(n) AS (SELECT t.id UNION ALL SELECT n + 1 FROM n) SELECT count(*) FROM n) > 0"
    text = path.read_text().replace("table: items}", "table: items, statementTimeout: 100ms}")
    path.write_text(text.replace("in: [old]}]", f'in: [old]}}, {{sql: "{spins}"}}]'))
    shown = " ".join(desk.run("check", "-f", str(path), "--try-write", "--sql", code=1).stdout.split())
    assert "not counted: the count took longer than spec.source.statementTimeout" in shown
    assert "StatementTimeout: counting the stale rows took longer" in shown
    assert 'UPDATE "items"' in shown


def test_check_warns_of_a_trigger_with_exit_code_1(desk: Desk) -> None:
    file = desk.slow(2)
    with closing(sqlite3.connect(desk.folder / "items.db")) as db:
        db.execute("CREATE TRIGGER loud AFTER UPDATE ON items BEGIN SELECT 1; END")
        db.commit()
    assert 'trigger "loud"' in desk.run("check", "-f", file, code=1).stdout


def test_an_empty_queue_is_no_error(desk: Desk) -> None:
    assert "No dead letters" in desk.run("dead", "list").stdout
    assert "has no schedule yet" in desk.run("status").stdout
    assert json.loads(desk.run("status", "-o", "json").stdout) == []


def test_quiet_prints_results_only(demo: tuple[Desk, str]) -> None:
    desk, _ = demo
    queue = f"sqlite:///{desk.folder}/world/queue.db"
    loud, quiet = (
        desk.run("dead", "list", "--queue", queue).stdout,
        desk.run("dead", "list", "-q", "--queue", queue).stdout,
    )
    assert "\nNext\n" in loud
    assert quiet.strip()
    assert quiet in loud
    assert "\nNext\n" not in quiet


def test_the_version_is_printed(desk: Desk) -> None:
    assert re.fullmatch(r"kubesweep \d+\.\d+\.\d+\S*\n", desk.run("--version").stdout)


def test_on_a_terminal_the_view_moves_and_leaves_the_terminal_as_it_was(desk: Desk) -> None:
    code, sent = on_a_terminal(desk, ["demo", "--rows", "3000", "--keep", "world"])
    assert code == 0
    assert sent.count("\x1b[?25l") == sent.count("\x1b[?25h") == 1
    view = sent[sent.index("\x1b[?25l") : sent.index("\x1b[?25h")]
    assert "━" in view
    assert "Completed" in view
    assert "Ctrl-C" in view
    after = ANSI.sub("", sent[sent.index("\x1b[?25h") :])
    assert "2,100 planned" in after
    assert "Ctrl-C" not in after


def test_no_color_keeps_the_view_and_drops_the_colours(desk: Desk) -> None:
    for number, (arguments, environ) in enumerate([([], {"NO_COLOR": "1"}), (["--no-color"], {})]):
        code, sent = on_a_terminal(desk, ["demo", "--rows", "1000", "--keep", f"world{number}", *arguments], **environ)
        assert code == 0
        assert "\x1b[?25l" in sent
        assert not re.search(r"\x1b\[[0-9;]*3[0-7][0-9;]*m", sent)
