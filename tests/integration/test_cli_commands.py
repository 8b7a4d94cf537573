"""The demo, check and the lists as users run them: real processes, and the printed next commands."""

from __future__ import annotations

import json
import re
import shlex
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from kubesweep.queue.connect import connect
from kubesweep.queue.model import Pace, PlanVersion, ScheduleRef
from tests.integration.command_line import ANSI, CommandLine, equation, next_commands, on_a_terminal


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[CommandLine, str]:
    """One demo for all tests that only read its folder."""
    made = CommandLine(tmp_path_factory.mktemp("demo"))
    return made, made.run("demo", "--rows", "3000", "--keep", "demo").stdout


def test_the_totals_of_the_demo_agree_with_its_database(demo: tuple[CommandLine, str]) -> None:
    cli, text = demo
    assert equation(text) == (2100, 2093, 0, 0, 7)
    assert text.count("✓") == 4
    assert "✗" not in text
    assert "CarrierRefused" in text
    with closing(sqlite3.connect(cli.folder / "demo" / "support.db")) as db:
        counts = dict(db.execute("SELECT status, count(*) FROM conversations GROUP BY status"))
    assert (counts["idle"], counts["expired"], counts["pending"] + counts["progress"]) == (1046, 1047, 607)


def test_without_a_terminal_there_is_no_escape_sequence(demo: tuple[CommandLine, str]) -> None:
    assert "\x1b" not in demo[1]


def test_the_demos_next_commands_work_in_their_order_and_fix_everything(cli: CommandLine) -> None:
    commands = next_commands(cli.run("demo", "--rows", "2000", "--keep", "my demo").stdout)
    assert [shlex.split(command)[1] for command in commands if "kubesweep" in command.split()[0]] == [
        "dead", "dead", "dead", "run", "check",
    ]  # fmt: skip
    outputs = []
    for command in commands:
        done = cli.shell(command)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        outputs.append(done.stdout)
        if " run --once " in command:
            with closing(sqlite3.connect(cli.folder / "my demo" / "support.db")) as db:
                counts = dict(db.execute("SELECT status, count(*) FROM conversations GROUP BY status"))
            assert (counts["idle"], counts["expired"]) == (700, 700)
    assert "CarrierRefused" in outputs[0]
    assert outputs[1].count("attempt 3") == 4
    assert "4 rows will be tried again" in outputs[3]
    assert not (cli.folder / "my demo").exists()


def test_the_demo_refuses_a_folder_in_use(cli: CommandLine) -> None:
    (cli.folder / "used").mkdir()
    (cli.folder / "used" / "file").touch()
    assert "not empty" in cli.run("demo", "--keep", "used", code=2).stderr


def test_check_shows_the_sql_samples_and_the_tried_write_and_changes_nothing(cli: CommandLine) -> None:
    file = cli.slow(12)
    plain = cli.run("check", "-f", file).stdout
    assert "UPDATE" not in plain
    assert plain.count("UTC,") == 2  # three ticks
    assert "result  no problem found" in plain
    text = cli.run("check", "-f", file, "--try-write", "--sql").stdout
    assert "12 rows, such as 0, 1, 2, 3, 4" in text
    assert 'UPDATE "items"' in text
    assert "10 rows written and rolled back: these rows stop matching" in text
    assert cli.states() == {"old": 12}


def test_check_finds_a_write_that_would_never_end(cli: CommandLine) -> None:
    path = Path(cli.slow(12))
    text = path.read_text()
    path.write_text(text.replace("value: new", "value: old"))
    refused = cli.run("check", "-f", str(path), code=2)
    assert "NeverEnds: spec.write.update leaves every row" in refused.stderr
    path.write_text(text.replace("value: new", "sql: \"'old'\""))
    assert "NeverEnds" in cli.run("check", "-f", str(path), "--try-write", code=1).stdout


def test_check_reports_rows_that_a_tried_write_leaves_unchanged(cli: CommandLine) -> None:
    file = cli.slow(12)
    with closing(sqlite3.connect(cli.folder / "items.db")) as connection:
        connection.execute(
            "CREATE TRIGGER keeps BEFORE UPDATE ON items WHEN OLD.id % 5 = 0 BEGIN SELECT RAISE(IGNORE); END"
        )
    text = cli.run("check", "-f", file, "--try-write", code=1).stdout
    assert "2 of 10 rows would stay unchanged" in text
    assert "WriteRefused: 2 rows stay unchanged" in text


def test_check_reports_a_step_that_exceeds_the_timeout_and_shows_the_rest(cli: CommandLine) -> None:
    path = Path(cli.slow(12))
    spins = "(WITH RECURSIVE n(n) AS (SELECT t.id UNION ALL SELECT n + 1 FROM n) SELECT count(*) FROM n) > 0"
    text = path.read_text().replace("table: items}", "table: items, statementTimeout: 100ms}")
    path.write_text(text.replace("in: [old]}]", f'in: [old]}}, {{sql: "{spins}"}}]'))
    shown = " ".join(cli.run("check", "-f", str(path), "--try-write", "--sql", code=1).stdout.split())
    assert "not counted: the count took longer than spec.source.statementTimeout" in shown
    assert "StatementTimeout: counting the stale rows took longer" in shown
    assert 'UPDATE "items"' in shown


def test_check_warns_of_a_trigger_with_exit_code_1(cli: CommandLine) -> None:
    file = cli.slow(2)
    with closing(sqlite3.connect(cli.folder / "items.db")) as db:
        db.execute("CREATE TRIGGER loud AFTER UPDATE ON items BEGIN SELECT 1; END")
        db.commit()
    assert 'trigger "loud"' in cli.run("check", "-f", file, code=1).stdout


def test_an_empty_queue_is_no_error(cli: CommandLine) -> None:
    assert "No dead letters" in cli.run("dead", "list").stdout
    assert "has no schedule yet" in cli.run("status").stdout
    assert json.loads(cli.run("status", "-o", "json").stdout) == []


async def test_a_throttle_holds_until_it_is_reset_and_its_next_command_resets_it(cli: CommandLine) -> None:
    queue, ref = connect(f"sqlite:///{cli.folder}/state/kubesweep/queue.db"), ScheduleRef.local("default", "carts")
    await queue.enqueue_check(ref, PlanVersion(1, "aaaa"))
    await queue.set_pace(ref, Pace.of(40.0, batch_time=1.0))
    printed = cli.run("throttle", "carts", "250").stdout
    assert printed.startswith("carts: the rate is 250 rows per second.\n")
    assert await queue.pace(ref) == Pace.of(40.0, "250", 1.0)
    assert "throttled:" in cli.run("status").stdout  # the table wraps the rest
    (shown,) = json.loads(cli.run("status", "-o", "json").stdout)
    assert (shown["throttle"], shown["paused"]) == ("250", False)
    cli.run("throttle", "carts", "pause")
    assert (await queue.stats([ref]))[0].paused
    (reset,) = next_commands(printed)
    assert cli.shell(reset).returncode == 0
    (stats,) = await queue.stats([ref])
    assert (stats.pace, stats.paused) == (Pace.of(40.0, batch_time=1.0), False)
    await queue.close()


def test_quiet_prints_results_only(demo: tuple[CommandLine, str]) -> None:
    cli, _ = demo
    queue = f"sqlite:///{cli.folder}/demo/queue.db"
    loud, quiet = (
        cli.run("dead", "list", "--queue", queue).stdout,
        cli.run("dead", "list", "-q", "--queue", queue).stdout,
    )
    assert "\nNext\n" in loud
    assert quiet.strip()
    assert quiet in loud
    assert "\nNext\n" not in quiet


def test_the_version_is_printed(cli: CommandLine) -> None:
    assert re.fullmatch(r"kubesweep \d+\.\d+\.\d+\S*\n", cli.run("--version").stdout)


def test_on_a_terminal_the_view_moves_and_leaves_the_terminal_as_it_was(cli: CommandLine) -> None:
    code, sent = on_a_terminal(cli, ["demo", "--rows", "3000", "--keep", "demo"])
    assert code == 0
    assert sent.count("\x1b[?25l") == sent.count("\x1b[?25h") == 1
    view = sent[sent.index("\x1b[?25l") : sent.index("\x1b[?25h")]
    assert "━" in view
    assert "Completed" in view
    assert "Ctrl-C" in view
    after = ANSI.sub("", sent[sent.index("\x1b[?25h") :])
    assert "2,100 planned" in after
    assert "Ctrl-C" not in after


def test_no_color_keeps_the_view_and_drops_the_colours(cli: CommandLine) -> None:
    for number, (arguments, environ) in enumerate([([], {"NO_COLOR": "1"}), (["--no-color"], {})]):
        cli.environ |= environ
        code, sent = on_a_terminal(cli, ["demo", "--rows", "1000", "--keep", f"demo{number}", *arguments])
        cli.environ.pop("NO_COLOR", None)
        assert code == 0
        assert "\x1b[?25l" in sent
        assert not re.search(r"\x1b\[[0-9;]*3[0-7][0-9;]*m", sent)
