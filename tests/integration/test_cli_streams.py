"""Standard streams that are closed, full, or read by nobody."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.integration.cli_desk import PROGRAM, Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    made = Desk(tmp_path)
    made.slow(5)
    (tmp_path / "go").touch()
    return made


@pytest.mark.parametrize("how", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", "2>/dev/full", "PYTHONIOENCODING=ascii"])
def test_a_sweep_is_done_whatever_becomes_of_its_streams(desk: Desk, how: str) -> None:
    command = f"{shlex.quote(PROGRAM)} run --once -f slow.yaml"
    done = desk.shell(f"{how} {command}" if "=" in how else f"{command} {how}")
    assert (done.returncode, desk.states()) == (0, {"new": 5})
    assert "Traceback" not in done.stdout + done.stderr


def test_a_reader_that_goes_away_fails_no_work(desk: Desk) -> None:
    desk.shell(f"({shlex.quote(PROGRAM)} run --once -f slow.yaml; echo $? > code) | true")
    assert ((desk.folder / "code").read_text().strip(), desk.states()) == ("0", {"new": 5})


@pytest.mark.parametrize("command", ["run --once -f slow.yaml", "status", "check -f slow.yaml"])
def test_output_that_cannot_be_written_is_told_in_one_sentence(desk: Desk, command: str) -> None:
    done = desk.shell(f"{shlex.quote(PROGRAM)} {command} > /dev/full")
    assert done.returncode == 1
    assert "stdout cannot be written: No space left on device." in done.stderr
    assert "Traceback" not in done.stderr
