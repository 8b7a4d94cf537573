"""``kubesweep status --watch``: in place on a terminal, a document for each change in a pipe, until somebody ends it."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import yaml

from tests.integration.command_line import CommandLine, on_a_terminal
from tests.kits.deadlines import scaled


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    made = CommandLine(tmp_path)
    made.slow(3)
    (tmp_path / "go").touch()
    return made


def test_in_a_pipe_each_change_is_one_document(cli: CommandLine) -> None:
    process = cli.start("status", "--watch", "-o", "json")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline()) == []
    cli.run("trigger", "-f", "slow.yaml")
    (enqueued,) = json.loads(process.stdout.readline())
    cli.run("suspend", "slow")
    (suspended,) = json.loads(process.stdout.readline())
    assert (enqueued["suspended"], suspended["suspended"]) == (False, True)
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=scaled(60))
    assert (process.returncode, rest, errors) == (130, "", "")


def test_sigterm_ends_it_with_143(cli: CommandLine) -> None:
    process = cli.start("status", "-w", "-o", "yaml")
    assert process.stdout is not None
    assert process.stdout.readline() == "--- []\n"
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=scaled(60))
    assert (process.returncode, errors) == (143, "")
    assert yaml.safe_load("--- []\n") == []


def test_it_ends_when_nobody_reads_it(cli: CommandLine) -> None:
    process = cli.start("status", "--watch", "-o", "json")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    cli.run("trigger", "-f", "slow.yaml")
    assert process.wait(timeout=scaled(60)) == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()


def test_on_a_terminal_it_is_redrawn_and_leaves_the_cursor(cli: CommandLine) -> None:
    cli.run("run", "--once", "slow.yaml")
    code, sent = on_a_terminal(cli, ["status", "--watch"], interrupt_at="Completed")
    assert code == 130
    assert sent.count("\x1b[?25l") == sent.count("\x1b[?25h") == 1
    assert "Traceback" not in sent
