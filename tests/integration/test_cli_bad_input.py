"""What is wrong becomes a sentence, an exit code and a next command; never a traceback, never a password."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.integration.cli_desk import Desk, next_commands
from tests.integration.postgres import LOCKED_ROLE, Server


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_missing_table_or_handler_is_the_specs_fault(desk: Desk, command: str) -> None:
    path = Path(desk.slow(2))
    good = path.read_text()
    path.write_text(good.replace("table: items", "table: itmes"))
    assert "itmes" in desk.run(command, "-f", str(path), code=2).stderr


def test_a_handler_that_cannot_be_imported_is_found_by_check(desk: Desk) -> None:
    path = Path(desk.slow(2))
    path.write_text(path.read_text().replace("slow_handler:wait", "slow_handler:wiat"))
    assert "HandlerNotImportable" in desk.run("check", "-f", str(path), code=2).stderr


def test_a_spec_error_has_its_file_and_line(desk: Desk) -> None:
    path = Path(desk.slow(2))
    path.write_text(path.read_text().replace("  match:", "  mach:"))
    for command in ("run", "worker", "check"):
        assert f"{path}:8: spec.mach: unknown field" in desk.run(command, "-f", str(path), code=2).stderr


@pytest.mark.parametrize("command", [["check"], ["run"], ["run", "--once"], ["worker"]])
def test_a_database_that_is_not_there_is_exit_code_3_without_its_password(desk: Desk, command: Sequence[str]) -> None:
    done = desk.run(*command, "-f", desk.slow(1), "--url", "postgresql://u:s3cret@127.0.0.1:1/db", code=3)
    assert "s3cret" not in done.stdout + done.stderr
    assert "kubesweep check -f" in done.stdout + done.stderr


def test_a_wrong_password_is_exit_code_3_and_is_not_repeated(
    desk: Desk, postgres_server: Server, database: str
) -> None:
    name = re.search(r"/([^/?]+)\?", database)
    assert name is not None
    url = postgres_server.url(name.group(1), LOCKED_ROLE, "s3cret-wrong")
    done = desk.run("run", "--once", "-f", desk.slow(1), "--url", url, code=3)
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
def test_wrong_usage_is_exit_code_2_with_a_hint(desk: Desk, arguments: Sequence[str], text: str) -> None:
    assert text in desk.run(*arguments, code=2).stderr


def test_a_queue_that_cannot_be_used_is_exit_code_3(desk: Desk) -> None:
    (desk.folder / "queue.db").write_text("this is no database, but it is long enough to be looked at" * 10)
    done = desk.run("dead", "list", "--queue", f"sqlite:///{desk.folder}/queue.db", code=3)
    assert "queue.db" in done.stderr


def test_a_sweep_that_fails_says_why_and_what_to_type(desk: Desk) -> None:
    path = Path(desk.slow(2))
    path.write_text(path.read_text().replace("slow_handler:wait", "slow_handler:wiat"))
    done = desk.run("run", "--once", "-f", str(path), code=1)
    assert "HandlerNotImportable" in done.stderr
    command = next(line for line in next_commands(done.stdout) if " check " in line)
    assert "HandlerNotImportable" in desk.shell(command).stderr
