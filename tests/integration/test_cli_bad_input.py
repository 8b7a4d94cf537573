"""A problem becomes a message, an exit code and a next command, never a traceback and never a password."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.integration.command_line import CommandLine, next_commands
from tests.integration.postgres import LOCKED_ROLE, Server


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_missing_table_is_a_spec_error(cli: CommandLine, command: str) -> None:
    path = Path(cli.slow(2))
    good = path.read_text()
    path.write_text(good.replace("table: items", "table: itmes"))
    assert "itmes" in cli.run(command, "-f", str(path), code=2).stderr


def test_a_handler_that_cannot_be_imported_is_found_by_check(cli: CommandLine) -> None:
    path = Path(cli.slow(2))
    path.write_text(path.read_text().replace("slow_handler:wait", "slow_handler:wiat"))
    assert "HandlerNotImportable" in cli.run("check", "-f", str(path), code=2).stderr


def test_a_spec_error_has_its_file_and_line(cli: CommandLine) -> None:
    path = Path(cli.slow(2))
    path.write_text(path.read_text().replace("  match:", "  mach:"))
    for command in ("run", "worker", "check"):
        assert f"{path}:8: spec.mach: unknown field" in cli.run(command, "-f", str(path), code=2).stderr


@pytest.mark.parametrize("command", [["check"], ["run"], ["run", "--once"], ["worker"]])
def test_a_database_that_is_not_there_is_exit_code_3_without_its_password(
    cli: CommandLine, command: Sequence[str]
) -> None:
    done = cli.run(*command, "-f", cli.slow(1), "--url", "postgresql://u:s3cret@127.0.0.1:1/db", code=3)
    assert "s3cret" not in done.stdout + done.stderr
    assert "kubesweep check -f" in done.stdout + done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "status", "history", "dead list", "dead show", "dead retry one", "dead purge one --yes", "approve one", "suspend one",
        "resume one", "throttle one 5", "trigger one", "dashboard",
    ],
)  # fmt: skip
def test_a_mistyped_path_of_a_queue_is_an_error_and_creates_nothing(cli: CommandLine, command: str) -> None:
    queue = cli.folder / "typo" / "queue.db"
    done = cli.run(*command.split(), "--queue", f"sqlite:///{queue}", code=2)
    assert f"there is no file {queue}" in done.stderr
    assert not queue.parent.exists()


@pytest.mark.parametrize("command", [["check"], ["run"], ["run", "--once"], ["run", "--dry-run"], ["worker"]])
def test_a_url_that_cannot_be_parsed_is_wrong_and_not_unreachable(cli: CommandLine, command: Sequence[str]) -> None:
    done = cli.run(*command, "-f", cli.slow(1), "--url", "postgresql://u:s3cret@h/db?nonsense=1", code=2)
    assert "UrlInvalid" in done.stdout + done.stderr
    assert "s3cret" not in done.stdout + done.stderr


def test_a_wrong_password_is_exit_code_3_and_is_not_repeated(
    cli: CommandLine, postgres_server: Server, database: str
) -> None:
    name = re.search(r"/([^/?]+)\?", database)
    assert name is not None
    url = postgres_server.url(name.group(1), LOCKED_ROLE, "s3cret-wrong")
    done = cli.run("run", "--once", "-f", cli.slow(1), "--url", url, code=3)
    assert "password" in done.stderr
    assert "s3cret-wrong" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["run"], "--file"),
        (["runn"], "Did you mean 'run'"),
        (["dead", "list", "--queue", "nosuch://x"], "nosuch"),
        (["dead", "show", "nobody"], "has no schedule yet"),
        (["status", "-o", "xml"], "-o json"),
        (["trigger"], "NAME or -f FILE"),
        (["demo", "--rows", "1"], "100"),
    ],
)
def test_wrong_usage_is_exit_code_2_with_a_hint(cli: CommandLine, arguments: Sequence[str], text: str) -> None:
    assert text in cli.run(*arguments, code=2).stderr


def test_a_queue_that_cannot_be_used_is_exit_code_3(cli: CommandLine) -> None:
    (cli.folder / "queue.db").write_text("this is no database, but it is long enough to be read" * 10)
    done = cli.run("dead", "list", "--queue", f"sqlite:///{cli.folder}/queue.db", code=3)
    assert "queue.db" in done.stderr


def test_a_sweep_that_fails_says_why_and_what_to_type(cli: CommandLine) -> None:
    path = Path(cli.slow(2))
    path.write_text(path.read_text().replace("slow_handler:wait", "slow_handler:wiat"))
    done = cli.run("run", "--once", "-f", str(path), code=1)
    assert "HandlerNotImportable" in done.stderr
    command = next(line for line in next_commands(done.stdout) if " check " in line)
    assert "HandlerNotImportable" in cli.shell(command).stderr
