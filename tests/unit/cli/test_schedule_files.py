"""Files on the command line: which schedules one has, and which one a schedule of a queue came from."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubesweep.errors import SpecError
from kubesweep.queue.model import ScheduleRef
from kubesweep_cli.shell import known_files, schedule_files
from kubesweep_cli.shell.known_files import remember_files, run_again
from kubesweep_cli.shell.schedule_files import files_here, names_in, needed_files

TEXT = """
apiVersion: v1
kind: Secret
metadata: {name: db}
---
kind: SweepSchedule
metadata:
  namespace: shop
  name: close-carts
---
kind: SweepSchedule
metadata: {namespace: shop, name: "purge-carts"}
"""
CARTS, USERS = ScheduleRef.local("shop", "close-carts"), ScheduleRef.local("shop", "users")
QUEUE = "redis://:s3cret@host/0"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "carts.yaml").write_text(TEXT)
    (tmp_path / "other.yml").write_bytes(b"kind: \xff")
    (tmp_path / "folder.yaml").mkdir()
    return tmp_path


def test_the_schedules_of_a_file_are_found_whatever_else_is_there(folder: Path) -> None:
    assert names_in(folder / "carts.yaml") == ["close-carts", "purge-carts"]
    assert files_here() == [Path("carts.yaml")]
    assert [names_in(folder / name) for name in ("other.yml", "folder.yaml", "missing.yaml")] == [[], [], []]


def test_arguments_and_options_are_files_and_none_is_an_error_with_an_example() -> None:
    assert needed_files("run", [Path("a.yaml")], [Path("b.yaml")]) == [Path("a.yaml"), Path("b.yaml")]
    with pytest.raises(SpecError, match=r"run carts\.yaml"):
        needed_files("run", None, [])
    with pytest.raises(SpecError, match="trigger close-carts"):
        needed_files("run", [Path("close-carts")], None)


def test_a_command_repeats_the_files_of_its_schedules_if_all_are_known(folder: Path) -> None:
    remember_files(QUEUE, [(CARTS, Path("carts.yaml"))], " --url sqlite:///shop.db")
    command, why = run_again(QUEUE, [CARTS], None)
    assert command.endswith(f"run --once -f {folder}/carts.yaml --url sqlite:///shop.db")
    assert why == known_files.RUNS_IT
    for refs, queue in (([CARTS, USERS], QUEUE), ([CARTS], "sqlite:///other.db")):
        assert run_again(queue, refs, None) == ("", known_files.WORDS)
    remember_files(QUEUE, [(USERS, folder / "carts.yaml")])
    assert run_again(QUEUE, [CARTS, USERS], None)[0] == "", "the two need different options"
    (folder / "carts.yaml").unlink()
    assert run_again(QUEUE, [CARTS], None)[0] == ""


def test_the_record_has_no_password_is_bounded_and_may_be_damaged(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_files, "MOST", 2)
    for name in ("a", "b", "c"):
        remember_files(QUEUE, [(ScheduleRef.local("shop", name), folder / "carts.yaml")])
    record = folder / "state" / "kubesweep" / "files.json"
    assert ("s3cret" in record.read_text(), record.read_text().count("carts.yaml")) == (False, 2)
    assert [run_again(QUEUE, [ScheduleRef.local("shop", name)], None)[0] != "" for name in ("a", "c")] == [False, True]
    for damaged in ("{", "[]", '{"x": 1}', ""):
        record.write_text(damaged)
        assert run_again(QUEUE, [CARTS], None)[0] == ""
        remember_files(QUEUE, [(CARTS, folder / "carts.yaml")])
        assert run_again(QUEUE, [CARTS], None)[0] != ""


def test_stdin_is_not_remembered(folder: Path) -> None:
    remember_files(QUEUE, [(CARTS, schedule_files.STDIN)])
    assert run_again(QUEUE, [CARTS], None)[0] == ""
