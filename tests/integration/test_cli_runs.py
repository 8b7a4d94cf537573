"""Runs, workers, signals and approvals, as real processes."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import time
from pathlib import Path

import psycopg
import pytest

from kubesweep.api.loading.files import load
from kubesweep.queue.connect import connect
from kubesweep.queue.model import SweepRequest
from tests.integration.command_line import ANSI, CommandLine, equation, next_commands, on_a_terminal, read_until
from tests.kits.deadlines import scaled


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


def test_ctrl_c_settles_rows_in_progress_and_the_next_run_continues(cli: CommandLine) -> None:
    file = cli.slow(300)
    process = cli.start("run", "--once", "-f", file)
    assert process.stderr is not None
    read_until(process.stderr, "handler entered")
    process.send_signal(signal.SIGINT)
    read_until(process.stderr, "finishing the rows in progress")
    (cli.folder / "go").touch()
    output, _ = process.communicate(timeout=scaled(60))
    assert process.returncode == 130
    assert "continue where this run stopped" in output
    states = cli.states()
    assert 0 < states["new"] < 300
    (stats,) = json.loads(cli.run("status", "-o", "json").stdout)
    assert (stats["queue"]["running"], stats["lastSweep"]["applied"]) == (0, states["new"])
    again = cli.run("run", "--once", "-f", file)
    assert "an earlier sweep is not finished" in again.stderr
    assert equation(again.stdout) == (300, 300, 0, 0, 0)
    assert cli.states() == {"new": 300}


def test_a_run_that_begins_during_another_waits_for_that_sweep_and_helps(cli: CommandLine) -> None:
    file = cli.slow(100)
    first = cli.start("run", "--once", "-f", file)
    assert first.stderr is not None
    read_until(first.stderr, "handler entered")
    second = cli.start("run", "--once", "-f", file)
    assert second.stderr is not None
    read_until(second.stderr, "an earlier sweep is not finished")
    (cli.folder / "go").touch()
    for process in (first, second):
        output, errors = process.communicate(timeout=scaled(60))
        assert process.returncode == 0, errors
        assert equation(output) == (100, 100, 0, 0, 0)
    assert cli.states() == {"new": 100}


def test_a_second_ctrl_c_stops_a_handler_that_does_not_end(cli: CommandLine) -> None:
    process = cli.start("run", "--once", "-f", cli.slow(50))
    assert process.stderr is not None
    read_until(process.stderr, "handler entered")
    process.send_signal(signal.SIGINT)
    read_until(process.stderr, "finishing the rows in progress")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=scaled(60))
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert cli.states() == {"old": 50}


def test_sigterm_ends_a_run_of_one_sweep_with_143_and_the_next_one_continues_it(cli: CommandLine) -> None:
    file = cli.slow(100)
    process = cli.start("run", "--once", file)
    read_until(process.stderr, "handler entered")
    process.send_signal(signal.SIGTERM)
    read_until(process.stderr, "finishing the rows in progress")
    (cli.folder / "go").touch()
    _, errors = process.communicate(timeout=scaled(60))
    assert (process.returncode, "Traceback" in errors) == (143, False)
    assert equation(cli.run("run", "--once", file).stdout)[:2] == (100, 100)


def test_a_worker_beside_the_trigger_does_the_work_and_ends_on_sigterm(cli: CommandLine) -> None:
    file = cli.slow(40)
    (cli.folder / "go").touch()
    cli.run("trigger", "-f", file)
    process = cli.start("worker", "-f", file)
    assert process.stdout is not None
    read_until(process.stdout, "Completed")
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=scaled(60))
    assert process.returncode == 0, errors
    assert cli.states() == {"new": 40}
    assert "is enqueued" in cli.run("trigger", "slow").stdout


def test_a_sweep_of_too_many_rows_waits_for_approval_and_prints_the_command(cli: CommandLine) -> None:
    file = cli.slow(30)
    (cli.folder / "go").touch()
    path = Path(file)
    path.write_text(path.read_text().replace("batchRows: 10", "batchRows: 10, approveAbove: {rows: 5}"))
    waiting = cli.run("run", "--once", "-f", file, code=1)
    approve = next(command for command in next_commands(waiting.stdout) if " approve " in command)
    assert cli.states() == {"old": 30}
    shown = cli.shell(approve)
    assert shown.returncode == 0
    assert "AboveApprovalLimit: 30 rows are stale: more than 5 (limits.approveAbove.rows)" in shown.stdout
    assert "rows     30 rows\n" in shown.stdout
    assert re.search(r"the sweep of \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\S+ awaits approval", shown.stdout)
    assert re.search(r"^  such as  \d+(, \d+){9}$", shown.stdout, re.MULTILINE)
    assert equation(cli.run("run", "--once", "-f", file).stdout) == (30, 30, 0, 0, 0)
    assert "waits for approval" in cli.run("approve", "slow", code=1).stderr


@pytest.mark.parametrize(
    ("typed", "arguments", "code", "states"),
    [("n\n", (), 1, {"old": 30}), ("y\n", (), 0, {"new": 30}), ("", ("--yes",), 0, {"new": 30})],
    ids=["no", "yes", "--yes"],
)
def test_on_a_terminal_an_approval_asks_after_the_proposal(
    cli: CommandLine, typed: str, arguments: tuple[str, ...], code: int, states: dict[str, int]
) -> None:
    path = Path(cli.slow(30))
    (cli.folder / "go").touch()
    path.write_text(path.read_text().replace("batchRows: 10", "batchRows: 10, approveAbove: {share: 50}"))
    cli.run("run", "--once", "-f", str(path), code=1)
    (waiting,) = json.loads(cli.run("status", "-o", "json").stdout)
    assert waiting["lastSweep"]["proposal"]["rows"] == 30
    answered, sent = on_a_terminal(cli, ["approve", "slow", *arguments], typed)
    assert answered == code
    assert "100 % of the table (limits.approveAbove.share: 50 %)" in ANSI.sub("", sent)
    assert ("[y/N]" in sent) is bool(typed)
    assert ("Nothing was approved" in sent) is (code == 1)
    cli.run("run", "--once", "-f", str(path), code=code)
    assert cli.states() == states


def test_a_file_edited_in_the_middle_of_a_sweep_counts_from_the_next_start_on(cli: CommandLine) -> None:
    path = Path(cli.slow(3))
    path.write_text(path.read_text().replace("batchRows: 10", "batchRows: 10, approveAbove: {rows: 1}"))
    cli.run("run", "--once", "-f", str(path), code=1)
    (waiting,) = json.loads(cli.run("status", "-o", "json").stdout)
    path.write_text(path.read_text().replace(", approveAbove: {rows: 1}", ""))
    (cli.folder / "go").touch()
    cli.run("run", "--once", "-f", str(path))
    (done,) = json.loads(cli.run("status", "-o", "json").stdout)
    assert (waiting["lastSweep"]["state"], done["history"][0]["state"]) == ("AwaitingApproval", "Superseded")
    assert (done["lastSweep"]["state"], done["lastSweep"]["applied"]) == ("Completed", 3)
    assert done["lastSweep"]["planGeneration"] > waiting["lastSweep"]["planGeneration"]


def test_a_sweep_of_a_run_whose_clock_was_ahead_is_replaced_after_an_edit(cli: CommandLine) -> None:
    path, where = Path(cli.slow(3)), f"sqlite:///{cli.folder / 'queue.db'}"
    (cli.folder / "go").touch()
    tomorrow = int(1000 * (time.time() + 86_400))
    (ahead,) = load([path], generation=tomorrow)

    async def begin() -> None:
        queue = connect(where)
        await queue.open_sweep(ahead.ref, SweepRequest(tick=None, plan=ahead.plan.version))
        await queue.close()

    asyncio.run(begin())
    path.write_text(path.read_text().replace("batchRows: 10", "batchRows: 10, maxRowsPerSweep: 100"))
    cli.run("run", "--once", "-f", str(path), "--queue", where)
    assert cli.states() == {"new": 3}


def test_a_suspended_schedule_is_not_swept_and_reported(cli: CommandLine) -> None:
    path = Path(cli.slow(3))
    path.write_text(path.read_text().replace('schedule: "@yearly"', 'schedule: "@yearly"\n  suspend: true'))
    done = cli.run("run", "--once", "-f", str(path))
    assert "suspended" in done.stderr
    assert cli.states() == {"old": 3}


def test_run_and_dead_list_use_the_same_queue_by_default(cli: CommandLine) -> None:
    cli.slow(20)
    (cli.folder / "slow_handler.py").write_text("def wait(row, ctx):\n    raise ValueError('no')\n")
    file = cli.folder / "slow.yaml"
    file.write_text(file.read_text().replace("limits:", "retry: {maxAttempts: 1}\n  limits:"))
    text = cli.run("run", "--once", "-f", "slow.yaml", code=1).stdout
    assert equation(text) == (20, 0, 0, 0, 20)
    listed = cli.run("dead", "list").stdout
    assert "slow" in listed
    assert "ValueError" in listed
    shown = cli.run("dead", "show", "slow", "--key", "7", "--key", '["8"]').stdout
    assert shown.count("slow  key ") == 2
    assert "No dead letters of slow" in cli.run("dead", "show", "slow", "--error", "Other", code=1).stderr


def test_purging_needs_a_yes_and_makes_the_rows_eligible_again(cli: CommandLine) -> None:
    cli.slow(5)
    (cli.folder / "slow_handler.py").write_text("def wait(row, ctx):\n    raise ValueError('no')\n")
    file = cli.folder / "slow.yaml"
    file.write_text(file.read_text().replace("limits:", "retry: {maxAttempts: 1}\n  limits:"))
    cli.run("run", "--once", "-f", "slow.yaml", code=1)
    assert "--yes" in cli.run("dead", "purge", "slow", code=2).stderr
    assert "needs the NAME of a schedule, or --all" in cli.run("dead", "purge", "--yes", code=2).stderr
    assert "5 rows purged" in cli.run("dead", "purge", "slow", "--yes").stdout
    (cli.folder / "slow_handler.py").write_text("def wait(row, ctx):\n    pass\n")
    assert equation(cli.run("run", "--once", "-f", "slow.yaml").stdout) == (5, 5, 0, 0, 0)


def test_a_dry_run_counts_and_names_keys_and_changes_nothing(cli: CommandLine) -> None:
    path = Path(cli.slow(12))
    path.write_text(path.read_text().replace('schedule: "@yearly"', 'schedule: "@yearly"\n  mode: DryRun'))
    text = cli.run("run", "--once", "-f", str(path)).stdout
    assert "would sweep 12 rows" in text
    assert "keys of rows that match: 0, 1, 2" in text
    (line,) = (one for one in cli.run("status", COLUMNS="97").stdout.splitlines() if "Completed" in one)
    assert line.split()[1:3] + line.split()[5:7] == ["Completed", "(DryRun)", "12", "-"]
    assert cli.states() == {"old": 12}


def test_a_handler_that_blocks_its_threads_for_ever_ends_the_run_and_does_not_hang_it(cli: CommandLine) -> None:
    path = Path(cli.slow(50))
    path.write_text(
        path.read_text().replace("timeout: 4m", "timeout: 200ms").replace("concurrency: 2", "concurrency: 1")
    )
    (cli.folder / "slow_handler.py").write_text("import threading\ndef wait(row, ctx):\n    threading.Event().wait()\n")
    done = cli.run("run", "--once", "-f", str(path), code=1)
    assert "handler calls hang" in done.stderr
    assert cli.states() == {"old": 50}


def test_a_second_ctrl_c_stops_a_handler_that_blocks_its_thread(cli: CommandLine) -> None:
    file = cli.slow(50)
    (cli.folder / "slow_handler.py").write_text(
        "import sys, threading\ndef wait(row, ctx):\n"
        "    print('handler entered', file=sys.stderr, flush=True)\n    threading.Event().wait()\n"
    )
    process = cli.start("run", "--once", "-f", file)
    assert process.stderr is not None
    read_until(process.stderr, "handler entered")
    process.send_signal(signal.SIGINT)
    read_until(process.stderr, "finishing the rows in progress")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=scaled(60))
    assert process.returncode == 130


def test_the_same_commands_sweep_postgres(cli: CommandLine, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as db:
        db.execute("CREATE TABLE items (id bigint PRIMARY KEY, state text NOT NULL)")
        db.execute("INSERT INTO items SELECT n, 'old' FROM generate_series(1, 3000) AS n")
    file = cli.slow(1)
    (cli.folder / "go").touch()
    checked = cli.run("check", "-f", file, "--url", database, "--try-write").stdout
    assert "10 rows written and rolled back: these rows stop matching" in checked
    [again] = next_commands(checked)
    assert " --url " in again
    done = cli.run("run", "--once", "-f", file, "--url", database)
    assert equation(done.stdout) == (3000, 3000, 0, 0, 0)
    with psycopg.connect(database) as db:
        assert db.execute("SELECT DISTINCT state FROM items").fetchall() == [("new",)]


def test_a_queue_that_is_deleted_during_a_sweep_is_recovered_and_every_row_is_swept(cli: CommandLine) -> None:
    process = cli.start("run", "--once", "-f", cli.slow(60))
    assert process.stderr is not None
    read_until(process.stderr, "handler entered")
    for file in (cli.folder / "state" / "kubesweep").glob("queue.db*"):
        file.unlink()
    read_until(process.stderr, "slow: Lost")
    (cli.folder / "go").touch()
    output, errors = process.communicate(timeout=scaled(60))
    assert process.returncode == 0, errors
    planned, applied, skipped, retrying, dead = equation(output)
    assert planned == applied + skipped
    assert (retrying, dead) == (0, 0)
    assert cli.states() == {"new": 60}
