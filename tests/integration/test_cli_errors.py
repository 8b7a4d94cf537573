"""Every row of docs/errors.md, section "Command line"."""

from __future__ import annotations

import asyncio
import re
import shlex
from pathlib import Path

import pytest

import kubesweep_cli
from kubesweep import listen_address
from kubesweep.queue import connect as queue_connect
from kubesweep.queue.model import ScheduleRef, pace
from tests.integration.command_line import PLAN, CommandLine, dead_letter
from tests.kits.errors_page import command_line_rows as rows
from tests.kits.errors_page import documented_text as _text


def test_every_code_of_the_command_line_has_a_row() -> None:
    files = [
        *Path(kubesweep_cli.__file__).parent.rglob("*.py"),
        Path(queue_connect.__file__),
        Path(pace.__file__),
        Path(listen_address.__file__),
    ]
    source = "\n".join(path.read_text() for path in files)
    codes = set(re.findall(r'SpecError\(\s*"(\w+)"', source)) | set(re.findall(r'^_CODE = "(\w+)"', source, re.M))
    assert {code for _, code, _ in rows()} == codes


@pytest.mark.parametrize(("how", "code", "text"), [row for row in rows() if row[0].startswith("`kubesweep")])
def test_the_command_answers_with_the_documented_text(how: str, code: str, text: str, tmp_path: Path) -> None:
    cli = CommandLine(tmp_path)
    asyncio.run(_prepare(cli, code))
    command = _here(how.partition("`")[2].partition("`")[0], tmp_path)
    printed = cli.run(*shlex.split(command)[1:], code=2).stderr
    expected = _here(text, tmp_path)
    assert expected in printed if code == "NotConfirmed" else printed.startswith(f"error: {expected}")


def _here(text: str, folder: Path) -> str:
    return re.sub(r"\bhere\b", str(folder), text)


async def _prepare(cli: CommandLine, code: str) -> None:
    """A dead letter for the row about purging; else only a folder that is not empty."""
    (cli.folder / "state").mkdir()
    if code == "NotConfirmed":
        await dead_letter(cli, "one")


async def test_two_schedules_of_one_name_want_a_namespace(tmp_path: Path) -> None:
    cli = CommandLine(tmp_path)
    for namespace in ("east", "west"):
        await dead_letter(cli, "twin", namespace=namespace)
    assert _text("AmbiguousName") in cli.run("dead", "list", "twin", code=2).stderr


async def test_a_schedule_that_never_ticked_cannot_be_triggered_by_name(tmp_path: Path) -> None:
    cli = CommandLine(tmp_path)
    queue = queue_connect.connect(f"sqlite:///{cli.folder}/state/kubesweep/queue.db")
    await queue.enqueue_check(ScheduleRef.local("default", "young"), PLAN)
    await queue.close()
    assert _text("NeverSwept") in cli.run("trigger", "young", code=2).stderr


async def test_a_schedule_of_a_cluster_is_throttled_by_its_annotation(tmp_path: Path) -> None:
    cli = CommandLine(tmp_path)
    queue = queue_connect.connect(f"sqlite:///{cli.folder}/state/kubesweep/queue.db")
    await queue.enqueue_check(ScheduleRef("inst0001", "shop", "young", "8b5f6f0e"), PLAN)
    await queue.close()
    printed = cli.run("throttle", "young", "5", code=2).stderr
    assert _text("ServedByController") in printed
    assert "kubectl annotate sweepschedule young -n shop kubesweep.dev/throttle=5 --overwrite" in printed
    assert "kubesweep.dev/throttle-" in cli.run("throttle", "young", "reset", code=2).stderr


def test_a_state_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    cli = CommandLine(tmp_path)
    (tmp_path / "file").write_text("")
    assert _text("StateFolder") in cli.run("status", code=2, XDG_STATE_HOME=str(tmp_path / "file")).stderr
