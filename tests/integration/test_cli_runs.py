"""Runs, workers, signals and approvals, as real processes."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from pathlib import Path

import psycopg
import pytest

from kubesweep.api.loading.files import load
from kubesweep.queue.connect import connect
from kubesweep.queue.model import SweepRequest
from tests.integration.cli_desk import Desk, equation, next_commands, read_until
from tests.kits.deadlines import scaled


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_ctrl_c_settles_what_is_in_hand_gives_the_rest_back_and_the_next_run_goes_on(desk: Desk) -> None:
    file = desk.slow(300)
    process = desk.start("run", "--once", "-f", file)
    assert process.stderr is not None
    read_until(process.stderr, "handler entered")
    process.send_signal(signal.SIGINT)
    read_until(process.stderr, "finishing the rows in progress")
    (desk.folder / "go").touch()
    output, _ = process.communicate(timeout=scaled(60))
    assert process.returncode == 130
    assert "continue where this run stopped" in output
    states = desk.states()
    assert 0 < states["new"] < 300
    (stats,) = json.loads(desk.run("status", "-o", "json").stdout)
    assert (stats["queue"]["running"], stats["lastSweep"]["applied"]) == (0, states["new"])
    again = desk.run("run", "--once", "-f", file)
    assert "an earlier sweep is not finished" in again.stderr
    assert equation(again.stdout) == (300, 300, 0, 0, 0)
    assert desk.states() == {"new": 300}


def test_a_run_that_begins_during_another_waits_for_that_sweep_and_helps(desk: Desk) -> None:
    file = desk.slow(100)
    first = desk.start("run", "--once", "-f", file)
    assert first.stderr is not None
    read_until(first.stderr, "handler entered")
    second = desk.start("run", "--once", "-f", file)
    assert second.stderr is not None
    read_until(second.stderr, "an earlier sweep is not finished")
    (desk.folder / "go").touch()
    for process in (first, second):
        output, errors = process.communicate(timeout=scaled(60))
        assert process.returncode == 0, errors
        assert equation(output) == (100, 100, 0, 0, 0)
    assert desk.states() == {"new": 100}


def test_a_second_ctrl_c_stops_a_handler_that_does_not_end(desk: Desk) -> None:
    process = desk.start("run", "--once", "-f", desk.slow(50))
    assert process.stderr is not None
    read_until(process.stderr, "handler entered")
    process.send_signal(signal.SIGINT)
    read_until(process.stderr, "finishing the rows in progress")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=scaled(60))
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert desk.states() == {"old": 50}


def test_a_worker_beside_the_trigger_does_the_work_and_ends_on_sigterm(desk: Desk) -> None:
    file = desk.slow(40)
    (desk.folder / "go").touch()
    desk.run("trigger", "-f", file)
    process = desk.start("worker", "-f", file)
    assert process.stdout is not None
    read_until(process.stdout, "Completed")
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=scaled(60))
    assert process.returncode == 0, errors
    assert desk.states() == {"new": 40}
    assert "is enqueued" in desk.run("trigger", "slow").stdout


def test_a_sweep_of_too_many_rows_waits_for_approval_and_says_the_command(desk: Desk) -> None:
    file = desk.slow(30)
    (desk.folder / "go").touch()
    path = Path(file)
    path.write_text(path.read_text().replace("batchRows: 10", "batchRows: 10, approveAbove: {rows: 5}"))
    held = desk.run("run", "--once", "-f", file, code=1)
    approve = next(command for command in next_commands(held.stdout) if " approve " in command)
    assert desk.states() == {"old": 30}
    assert desk.shell(approve).returncode == 0
    assert equation(desk.run("run", "--once", "-f", file).stdout) == (30, 30, 0, 0, 0)
    assert "waits for approval" in desk.run("approve", "slow", code=1).stderr


def test_a_file_edited_in_the_middle_of_a_sweep_counts_from_the_next_start_on(desk: Desk) -> None:
    path = Path(desk.slow(3))
    path.write_text(path.read_text().replace("batchRows: 10", "batchRows: 10, approveAbove: {rows: 1}"))
    desk.run("run", "--once", "-f", str(path), code=1)
    (held,) = json.loads(desk.run("status", "-o", "json").stdout)
    path.write_text(path.read_text().replace(", approveAbove: {rows: 1}", ""))
    (desk.folder / "go").touch()
    desk.run("run", "--once", "-f", str(path))
    (done,) = json.loads(desk.run("status", "-o", "json").stdout)
    assert (held["lastSweep"]["state"], done["history"][0]["state"]) == ("AwaitingApproval", "Superseded")
    assert (done["lastSweep"]["state"], done["lastSweep"]["applied"]) == ("Completed", 3)
    assert done["lastSweep"]["planGeneration"] > held["lastSweep"]["planGeneration"]


def test_a_sweep_of_a_run_whose_clock_was_ahead_is_replaced_after_an_edit(desk: Desk) -> None:
    path, where = Path(desk.slow(3)), f"sqlite:///{desk.folder / 'queue.db'}"
    (desk.folder / "go").touch()
    tomorrow = int(1000 * (time.time() + 86_400))
    (ahead,) = load([path], generation=tomorrow)

    async def begin() -> None:
        queue = connect(where)
        await queue.open_sweep(ahead.ref, SweepRequest(tick=None, plan=ahead.plan.version))
        await queue.close()

    asyncio.run(begin())
    path.write_text(path.read_text().replace("batchRows: 10", "batchRows: 10, maxRowsPerSweep: 100"))
    desk.run("run", "--once", "-f", str(path), "--queue", where)
    assert desk.states() == {"new": 3}


def test_a_suspended_schedule_is_not_swept_and_said_so(desk: Desk) -> None:
    path = Path(desk.slow(3))
    path.write_text(path.read_text().replace('schedule: "@yearly"', 'schedule: "@yearly"\n  suspend: true'))
    done = desk.run("run", "--once", "-f", str(path))
    assert "suspended" in done.stderr
    assert desk.states() == {"old": 3}


def test_run_and_dead_list_meet_without_being_told(desk: Desk) -> None:
    desk.slow(20)
    (desk.folder / "slow_handler.py").write_text("def wait(row, ctx):\n    raise ValueError('no')\n")
    file = desk.folder / "slow.yaml"
    file.write_text(file.read_text().replace("limits:", "retry: {maxAttempts: 1}\n  limits:"))
    text = desk.run("run", "--once", "-f", "slow.yaml", code=1).stdout
    assert equation(text) == (20, 0, 0, 0, 20)
    listed = desk.run("dead", "list").stdout
    assert "slow" in listed
    assert "ValueError" in listed
    shown = desk.run("dead", "show", "slow", "--key", "7", "--key", '["8"]').stdout
    assert shown.count("slow  key ") == 2
    assert "No dead letters of slow" in desk.run("dead", "show", "slow", "--error", "Other", code=1).stderr


def test_purging_wants_a_yes_and_makes_the_rows_eligible_again(desk: Desk) -> None:
    desk.slow(5)
    (desk.folder / "slow_handler.py").write_text("def wait(row, ctx):\n    raise ValueError('no')\n")
    file = desk.folder / "slow.yaml"
    file.write_text(file.read_text().replace("limits:", "retry: {maxAttempts: 1}\n  limits:"))
    desk.run("run", "--once", "-f", "slow.yaml", code=1)
    assert "--yes" in desk.run("dead", "purge", "slow", code=2).stderr
    assert "needs the NAME of a schedule, or --all" in desk.run("dead", "purge", "--yes", code=2).stderr
    assert "5 rows purged" in desk.run("dead", "purge", "slow", "--yes").stdout
    (desk.folder / "slow_handler.py").write_text("def wait(row, ctx):\n    pass\n")
    assert equation(desk.run("run", "--once", "-f", "slow.yaml").stdout) == (5, 5, 0, 0, 0)


def test_a_dry_run_counts_and_names_keys_and_changes_nothing(desk: Desk) -> None:
    path = Path(desk.slow(12))
    path.write_text(path.read_text().replace('schedule: "@yearly"', 'schedule: "@yearly"\n  mode: DryRun'))
    text = desk.run("run", "--once", "-f", str(path)).stdout
    assert "would sweep 12 rows" in text
    assert "keys of rows that match: 0, 1, 2" in text
    (line,) = (one for one in desk.run("status").stdout.splitlines() if "Completed" in one)
    assert line.split()[1:3] + line.split()[4:6] == ["Completed", "(DryRun)", "12", "-"]
    assert desk.states() == {"old": 12}


def test_a_handler_that_blocks_its_threads_for_ever_ends_the_run_and_does_not_hang_it(desk: Desk) -> None:
    path = Path(desk.slow(50))
    path.write_text(
        path.read_text().replace("timeout: 4m", "timeout: 200ms").replace("concurrency: 2", "concurrency: 1")
    )
    (desk.folder / "slow_handler.py").write_text(
        "import threading\ndef wait(row, ctx):\n    threading.Event().wait()\n"
    )
    done = desk.run("run", "--once", "-f", str(path), code=1)
    assert "handler calls hang" in done.stderr
    assert desk.states() == {"old": 50}


def test_a_second_ctrl_c_stops_a_handler_that_blocks_its_thread(desk: Desk) -> None:
    file = desk.slow(50)
    (desk.folder / "slow_handler.py").write_text(
        "import sys, threading\ndef wait(row, ctx):\n"
        "    print('handler entered', file=sys.stderr, flush=True)\n    threading.Event().wait()\n"
    )
    process = desk.start("run", "--once", "-f", file)
    assert process.stderr is not None
    read_until(process.stderr, "handler entered")
    process.send_signal(signal.SIGINT)
    read_until(process.stderr, "finishing the rows in progress")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=scaled(60))
    assert process.returncode == 130


def test_the_same_commands_sweep_postgres(desk: Desk, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as db:
        db.execute("CREATE TABLE items (id bigint PRIMARY KEY, state text NOT NULL)")
        db.execute("INSERT INTO items SELECT n, 'old' FROM generate_series(1, 3000) AS n")
    file = desk.slow(1)
    (desk.folder / "go").touch()
    checked = desk.run("check", "-f", file, "--url", database, "--try-write").stdout
    assert "10 rows written and rolled back: these rows stop matching" in checked
    [again] = next_commands(checked)
    assert " --url " in again
    done = desk.run("run", "--once", "-f", file, "--url", database)
    assert equation(done.stdout) == (3000, 3000, 0, 0, 0)
    with psycopg.connect(database) as db:
        assert db.execute("SELECT DISTINCT state FROM items").fetchall() == [("new",)]


def test_a_queue_that_is_deleted_in_the_middle_is_healed_and_every_row_is_swept(desk: Desk) -> None:
    process = desk.start("run", "--once", "-f", desk.slow(60))
    assert process.stderr is not None
    read_until(process.stderr, "handler entered")
    for file in (desk.folder / "state" / "kubesweep").glob("queue.db*"):
        file.unlink()
    read_until(process.stderr, "slow: Lost")
    (desk.folder / "go").touch()
    output, errors = process.communicate(timeout=scaled(60))
    assert process.returncode == 0, errors
    planned, applied, skipped, held, dead = equation(output)
    assert planned == applied + skipped
    assert (held, dead) == (0, 0)
    assert desk.states() == {"new": 60}
