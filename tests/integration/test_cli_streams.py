"""Standard streams that are closed, full, or without a reader."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.integration.command_line import PROGRAM, CommandLine


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    made = CommandLine(tmp_path)
    made.slow(5)
    (tmp_path / "go").touch()
    return made


@pytest.mark.parametrize("how", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", "2>/dev/full", "PYTHONIOENCODING=ascii"])
def test_a_sweep_completes_with_any_standard_streams(cli: CommandLine, how: str) -> None:
    command = f"{shlex.quote(PROGRAM)} run --once -f slow.yaml"
    done = cli.shell(f"{how} {command}" if "=" in how else f"{command} {how}")
    assert (done.returncode, cli.states()) == (0, {"new": 5})
    assert "Traceback" not in done.stdout + done.stderr


def test_a_sweep_completes_without_a_reader(cli: CommandLine) -> None:
    cli.shell(f"({shlex.quote(PROGRAM)} run --once -f slow.yaml; echo $? > code) | true")
    assert ((cli.folder / "code").read_text().strip(), cli.states()) == ("0", {"new": 5})


EVERY = [
    "--help", "version", "run --once -f slow.yaml", "status", "status -o yaml", "dead list", "check slow.yaml",
    "trigger -f slow.yaml -o json",
]  # fmt: skip


@pytest.mark.parametrize("command", EVERY)
def test_a_reader_that_closes_the_pipe_changes_nothing(cli: CommandLine, command: str) -> None:
    done = cli.shell(f"({shlex.quote(PROGRAM)} {command}; echo $? > code) | true")
    assert (done.stderr.count("Traceback"), done.stderr.count("Broken pipe")) == (0, 0)
    assert (cli.folder / "code").read_text().strip() == "0"


@pytest.mark.parametrize("command", EVERY)
def test_a_closed_output_is_no_error(cli: CommandLine, command: str) -> None:
    done = cli.shell(f"{shlex.quote(PROGRAM)} {command} >&-")
    assert (done.returncode, "Traceback" in done.stderr, "bug" in done.stderr) == (0, False, False)


@pytest.mark.parametrize("command", EVERY)
def test_output_that_cannot_be_written_is_one_message(cli: CommandLine, command: str) -> None:
    done = cli.shell(f"{shlex.quote(PROGRAM)} {command} > /dev/full")
    assert done.returncode == 1
    assert "stdout cannot be written: No space left on device." in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("command", "code"), [("get", 2), ("status nobody", 2), ("dead show", 1)])
def test_a_message_that_cannot_be_written_keeps_the_exit_code(cli: CommandLine, command: str, code: int) -> None:
    assert cli.shell(f"{shlex.quote(PROGRAM)} {command} 2> /dev/full").returncode == code
    assert cli.shell(f"{shlex.quote(PROGRAM)} {command} 2>&-").returncode == code
