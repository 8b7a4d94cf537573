"""examples/conversations, run by its README: the files of the folder, the command line, a real Postgres and the receiver."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest

from examples.conversations.before import background_tasks
from examples.conversations.receiver import Receiver
from examples.conversations.support import sweeps
from kubesweep.errors import Reject
from kubesweep_worker import testing
from tests.kits.deadlines import scaled

EXAMPLE = Path(__file__).parents[2] / "examples" / "conversations"
VARIANTS = {"schema-from-number.sql": None, "schema-session-key.sql": 40}  # schema -> phone numbers; None: one each
ROWS = 1000
IDLE, EXPIRED = 300, 200  # of these, by seed.sql
AFTER = {"closed": 200, "expired": EXPIRED, "idle": IDLE, "pending": 100, "progress": 200}


def prepare(url: str, schema: str, numbers: int | None = None) -> None:
    """The tables and rows of the example, as its README makes them with psql."""
    settings = f"-c seed.rows={ROWS}" + (f" -c seed.numbers={numbers}" if numbers else "")
    with psycopg.connect(url, autocommit=True, options=settings) as connection:
        for file in (schema, "seed.sql"):
            connection.execute((EXAMPLE / file).read_bytes())


def rows(url: str) -> list[tuple[int, str, bool]]:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT id, status, closed_at IS NOT NULL FROM conversations ORDER BY id").fetchall()


def statuses(url: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for _, status, _ in rows(url):
        found[status] = found.get(status, 0) + 1
    return dict(sorted(found.items()))


@contextmanager
def receiving(**settings: Any) -> Iterator[Receiver]:
    with Receiver(("127.0.0.1", 0), quiet=True, **settings) as receiver:
        thread = threading.Thread(target=receiver.serve_forever)
        thread.start()
        try:
            yield receiver
        finally:
            receiver.shutdown()
            thread.join()


@dataclass
class Folder:
    """A copy of the example's folder whose webhook and notifications go to ``receiver``."""

    path: Path
    receiver: Receiver

    def __post_init__(self) -> None:
        shutil.copytree(EXAMPLE, self.path, ignore=shutil.ignore_patterns("__pycache__"))
        here = f"127.0.0.1:{self.receiver.server_port}"
        text = (self.path / "sweep.yaml").read_text()
        assert "127.0.0.1:8088" in text
        (self.path / "sweep.yaml").write_text(
            text.replace("127.0.0.1:8088", here).replace("backoff: 2s", "backoff: 100ms")
        )
        self.notify_url = f"http://{here}/idle"

    def kubesweep(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        queue = f"sqlite:///{self.path.parent}/queue.db"
        state = str(self.path.parent)
        environment = {**os.environ, "NOTIFY_URL": self.notify_url, "KUBESWEEP_QUEUE": queue, "XDG_STATE_HOME": state}
        command = (sys.executable, "-m", "kubesweep_cli", *arguments)
        return subprocess.run(
            command, check=False, cwd=self.path, env=environment, capture_output=True, text=True, timeout=scaled(120)
        )

    def sweep(self, url: str) -> dict[str, dict[str, Any]]:
        """Sweep once. Returns the finished sweep of each schedule, by its name."""
        ended = self.kubesweep("run", "--once", "-f", "sweep.yaml", "-f", "secret.yaml", "--url", url)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        status = self.kubesweep("status", "-o", "json")
        return {one["name"]: one["lastSweep"] for one in json.loads(status.stdout)}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


@pytest.fixture
def folder(tmp_path: Path, receiver: Receiver) -> Folder:
    return Folder(tmp_path / "conversations", receiver)


@pytest.mark.parametrize("schema", VARIANTS)
def test_both_schemas_are_swept_with_the_same_result(schema: str, database: str, folder: Folder) -> None:
    prepare(database, schema, VARIANTS[schema])
    before = {row[0]: row for row in rows(database)}

    done = folder.sweep(database)

    assert statuses(database) == AFTER
    idle, expired = done["process-idle-conversations"], done["process-expired-conversations"]
    assert (idle["planned"], idle["applied"], idle["state"]) == (IDLE, IDLE, "Completed")
    assert (expired["planned"], expired["applied"], expired["state"]) == (EXPIRED, EXPIRED, "Completed")
    assert folder.receiver.ledger.summary() == {"requests": IDLE + EXPIRED, "keys": IDLE + EXPIRED, "duplicates": 0}
    for row in rows(database):
        assert row == before[row[0]] or row[1:] in (("idle", False), ("expired", True))


def test_the_sweep_leaves_what_the_loop_leaves(database: str, folder: Folder) -> None:
    prepare(database, "schema-session-key.sql", 40)
    notified: list[int] = []
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS TABLE conversations")
        for deal in (background_tasks.process_idle_conversations, background_tasks.process_expired_conversations):
            while deal(connection, lambda what, conversation: notified.append(conversation["id"])):
                pass
        by_the_loop = rows(database)
        connection.execute("DELETE FROM conversations")
        connection.execute("INSERT INTO conversations OVERRIDING SYSTEM VALUE SELECT * FROM kept")

    folder.sweep(database)

    assert rows(database) == by_the_loop
    assert len(notified) == folder.receiver.ledger.summary()["keys"]


def test_a_lost_response_is_retried_under_the_same_key(database: str, tmp_path: Path) -> None:
    prepare(database, "schema-from-number.sql")
    with receiving(lose_every=100) as receiver:
        Folder(tmp_path / "conversations", receiver).sweep(database)
        summary = receiver.ledger.summary()

    assert statuses(database) == AFTER
    assert summary["keys"] == IDLE + EXPIRED
    assert summary["duplicates"] >= (IDLE + EXPIRED) // 100


def test_a_dry_run_counts_the_same_rows_and_changes_none(database: str, folder: Folder) -> None:
    prepare(database, "schema-session-key.sql", 40)
    before = rows(database)
    schedules = folder.path / "sweep.yaml"
    schedules.write_text(schedules.read_text().replace("\nspec:\n", "\nspec:\n  mode: DryRun\n"))

    done = folder.sweep(database)

    assert rows(database) == before
    assert {one["mode"] for one in done.values()} == {"DryRun"}
    assert done["process-idle-conversations"]["planned"] == IDLE
    assert done["process-expired-conversations"]["planned"] == EXPIRED
    assert folder.receiver.ledger.summary()["requests"] == 0


async def test_the_handler_rejects_an_invalid_number_permanently() -> None:
    someone = testing.row({"id": 1, "from_number": "4711", "session_key": "s"})
    with pytest.raises(Reject, match="international"):
        await sweeps.notify_idle(someone, testing.context())


async def test_the_handler_notifies_under_its_key(receiver: Receiver) -> None:
    someone = testing.row({"id": 1, "from_number": "+5511900000001", "session_key": "s"})
    async with aiohttp.ClientSession() as session:
        state = sweeps.Notifier(f"http://127.0.0.1:{receiver.server_port}/idle", session)
        for attempt in (1, 2):
            await sweeps.notify_idle(someone, testing.context(state, attempt=attempt))
    assert receiver.ledger.summary() == {"requests": 2, "keys": 1, "duplicates": 1}


async def test_a_users_test_sweeps_the_file_in_one_call(database: str, folder: Folder) -> None:
    prepare(database, "schema-from-number.sql")
    name = "process-expired-conversations"
    swept = await testing.sweep(folder.path / "sweep.yaml", url=database, name=name)
    assert (swept.sweep.applied, swept.dead) == (EXPIRED, ())


def test_check_reports_no_problem_in_the_example(database: str, folder: Folder) -> None:
    prepare(database, "schema-from-number.sql")
    done = folder.kubesweep("check", "-f", "sweep.yaml", "-f", "secret.yaml", "--url", database)
    assert done.returncode == 0, done.stdout + done.stderr
