"""Every result as a document: one list in JSON or YAML on stdout, everything else on stderr."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.command_line import CommandLine, next_commands, on_a_terminal

REFUSING = """
from kubesweep.errors import Reject

async def wait(row, ctx):
    raise Reject("the carrier refuses it")
"""


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


def document(cli: CommandLine, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
    """The same in both formats."""
    found = json.loads(cli.run(*arguments, "-o", "json", code=code).stdout)
    assert isinstance(found, list)
    return found


def test_a_run_is_a_document_with_its_progress_on_stderr(cli: CommandLine) -> None:
    file = cli.slow(12)
    (cli.folder / "go").touch()
    done = cli.run("run", file, "--once", "-o", "yaml")
    (one,) = yaml.safe_load(done.stdout)
    assert (one["name"], one["lastSweep"]["state"], one["lastSweep"]["applied"]) == ("slow", "Completed", 12)
    assert "slow: Completed" in done.stderr
    (past,) = document(cli, "history", "slow")
    assert (past["name"], past["state"], past["applied"]) == ("slow", "Completed", 12)
    assert past.keys() <= {"namespace", "name", *one["lastSweep"]}


def test_the_actions_answer_as_in_the_status_of_a_cluster(cli: CommandLine) -> None:
    file = cli.slow(3)
    (enqueued,) = document(cli, "trigger", "-f", file)
    assert enqueued.keys() == {"namespace", "name", "command", "outcome", "reason", "message", "sweep"}
    assert (enqueued["command"], enqueued["outcome"], enqueued["reason"]) == ("Trigger", "Done", "Triggered")
    (refused,) = document(cli, "trigger", "slow", code=1)
    assert (refused["outcome"], refused["reason"], refused["sweep"]) == ("Refused", "SweepRunning", enqueued["sweep"])
    (nothing,) = document(cli, "approve", "slow", code=1)
    assert (nothing["outcome"], nothing["reason"]) == ("Refused", "NothingToApprove")
    (throttled,) = document(cli, "throttle", "slow", "5")
    assert (throttled["command"], throttled["message"]) == ("Throttle", "the rate is 5 rows per second")
    assert [document(cli, verb, "slow")[0]["reason"] for verb in ("suspend", "resume")] == ["Suspended", "Resumed"]


def test_a_check_is_a_document_with_its_exit_code(cli: CommandLine) -> None:
    file = cli.slow(3)
    (passed,) = document(cli, "check", file, "--try-write")
    assert (passed["result"], passed["stale"]["rows"], passed["tried"]["wouldApply"]) == ("Passed", 3, 3)
    (unreachable,) = document(cli, "check", file, "--url", "postgresql://u:s3cret@127.0.0.1:1/db", code=3)
    assert (unreachable["result"], "s3cret" in str(unreachable)) == ("Unreachable", False)


def test_dead_letters_as_documents(cli: CommandLine) -> None:
    file = cli.slow(3)
    (cli.folder / "slow_handler.py").write_text(REFUSING)
    cli.run("run", "--once", file, code=1)
    (listed,) = document(cli, "dead", "list")
    (group,) = listed["errors"]
    assert (listed["name"], group["error"], group["count"], sorted(group["sampleKeys"])) == (
        "slow",
        "Rejected",
        3,
        ['["0"]', '["1"]', '["2"]'],
    )
    shown = document(cli, "dead", "show", "slow", "--limit", "2")
    assert [each["error"] for each in shown] == ["Rejected"] * 2
    assert shown[0]["attempts"][0].keys() == {"time", "error", "message"}
    (one,) = document(cli, "dead", "show", "--key", "1")
    assert (one["key"], one["retrying"]) == ("1", False)
    (retried,) = document(cli, "dead", "retry", "slow", "--key", "1")
    assert (retried["command"], retried["outcome"], retried["rows"]) == ("RetryDeadLetters", "Done", 1)
    (none,) = document(cli, "dead", "retry", "slow", "--key", "77", code=1)
    assert none["rows"] == 0
    (purged,) = document(cli, "dead", "purge", "slow", "--yes")
    assert (purged["reason"], purged["rows"]) == ("DeadLettersPurged", 3)
    assert document(cli, "dead", "list") == []
    assert document(cli, "dead", "show", code=1) == []


def test_a_printed_command_names_the_file_that_the_schedule_came_from(cli: CommandLine) -> None:
    file = cli.slow(3)
    (cli.folder / "slow_handler.py").write_text(REFUSING)
    cli.run("run", "--once", file, code=1)
    (run, _) = next_commands(cli.run("dead", "retry", "slow", "--key", "1").stdout)
    assert run == f"kubesweep run --once -f {file}"
    (cli.folder / "state" / "kubesweep" / "files.json").unlink()
    printed = cli.run("dead", "retry", "slow", "--key", "2").stdout
    assert "FILE" not in printed
    assert "run its file with --once" in printed


def test_stdin_and_an_argument_are_files_too(cli: CommandLine) -> None:
    file = cli.slow(2)
    shell = cli.shell("kubesweep check - < slow.yaml && kubesweep check -f - < slow.yaml && kubesweep check slow.yaml")
    assert (shell.returncode, shell.stdout.count("2 rows, such as 0, 1")) == (0, 3)
    assert "slow.yaml is a file: name a schedule in it, such as slow" in cli.run("status", file, code=2).stderr.replace(
        file, "slow.yaml"
    )
    cli.run("trigger", "-f", file)
    assert "slow.yaml is a file" in cli.run("trigger", "slow.yaml", code=2).stderr


def test_without_a_file_the_command_for_the_one_that_is_here_is_printed(cli: CommandLine) -> None:
    cli.slow(1)
    assert "Name it:  kubesweep check slow.yaml" in cli.run("check", code=2).stderr
    assert next_commands(cli.run("status").stdout) == ["kubesweep run slow.yaml"]


def test_a_dry_run_changes_neither_the_rows_nor_the_queue(cli: CommandLine) -> None:
    file = cli.slow(12)
    cli.run("trigger", "-f", file)
    before = cli.run("status", "-o", "json").stdout
    (one,) = document(cli, "run", file, "--dry-run")
    sweep = one["lastSweep"]
    assert (sweep["mode"], sweep["planned"], len(sweep["sampleKeys"])) == ("DryRun", 12, 10)
    printed = cli.run("run", file, "--dry-run").stdout
    assert "keys of rows that match: 0, 1, 2" in printed
    assert next_commands(printed) == [f"kubesweep run --once -f {file}"]
    after = cli.run("status", "-o", "json").stdout
    assert [{**one, "backlog": None} for one in json.loads(after)] == [
        {**one, "backlog": None} for one in json.loads(before)
    ]
    assert cli.states() == {"old": 12}


def test_the_version_is_one_object(cli: CommandLine) -> None:
    found = json.loads(cli.run("version", "-o=json").stdout)
    assert found.keys() == {"kubesweep", "python", "platform"}
    assert cli.run("version").stdout == f"kubesweep {found['kubesweep']}\n"


@pytest.mark.parametrize("columns", [40, 60])
def test_a_narrow_terminal_shows_whole_words(cli: CommandLine, columns: int) -> None:
    file = cli.slow(3)
    (cli.folder / "go").touch()
    cli.run("run", "--once", file)
    for arguments in (["status"], ["history"], ["run", "--once", file], ["run", "--help"]):
        code, sent = on_a_terminal(cli, arguments, columns=columns)
        assert code == 0
        if arguments[-1] != "--help":
            assert "Completed" in sent


@pytest.mark.parametrize("columns", ["0", "-1", "wide", ""])
def test_a_useless_width_counts_as_none(cli: CommandLine, columns: str) -> None:
    file = cli.slow(3)
    (cli.folder / "go").touch()
    assert "slow: Completed, 3 of 3 rows" in cli.run("run", "--once", file, COLUMNS=columns).stdout
    code, sent = on_a_terminal(cli, ["status"], COLUMNS=columns)
    assert (code, "Completed" in sent) == (0, True)
