"""examples/django-sessions: the sweep leaves the same sessions as ``manage.py clearsessions``, on Postgres and on SQLite."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.integration.postgres import Server
from tests.kits.deadlines import scaled

EXAMPLE = Path(__file__).parents[2] / "examples" / "django-sessions"
SESSIONS = int(os.environ.get("DJANGO_SESSIONS", "300000"))
ALL = "SELECT session_key, session_data, expire_date FROM django_session ORDER BY session_key"


def run(*command: str, **environment: str) -> tuple[str, float]:
    """Run a command in the example's folder. Returns its output and its duration in seconds."""
    began = time.perf_counter()
    done = subprocess.run(
        (sys.executable, *command),
        check=False,
        cwd=EXAMPLE,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=scaled(300),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, time.perf_counter() - began


@dataclass
class Shop:
    """A database of the example; ``copy`` makes a second one with the same sessions."""

    kind: str
    url: str
    postgres: Server | None = None

    def copy(self) -> Shop:
        if self.postgres is not None:
            name = psycopg.conninfo.conninfo_to_dict(self.url)["dbname"]
            return Shop(self.kind, self.postgres.create(template=str(name)), self.postgres)
        other = self.url + "-copy"
        shutil.copyfile(self.file, other.removeprefix("sqlite:///"))
        return Shop(self.kind, other)

    @property
    def file(self) -> str:
        return self.url.removeprefix("sqlite:///")

    def sessions(self) -> list[tuple[Any, ...]]:
        if self.postgres is not None:
            with psycopg.connect(self.url) as connection:
                return connection.execute(ALL).fetchall()
        with sqlite3.connect(self.file) as file:
            found = file.execute(ALL).fetchall()
        file.close()
        return found

    def manage(self, *arguments: str) -> float:
        return run("manage.py", *arguments, DATABASE_URL=self.url)[1]


@pytest.fixture(params=["postgres", "sqlite"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Shop:
    if request.param == "sqlite":
        return Shop("sqlite", f"sqlite:///{tmp_path}/shop.sqlite3")
    server: Server = request.getfixturevalue("postgres_server")
    return Shop("postgres", server.create(), server)


def test_the_sweep_leaves_exactly_what_clearsessions_leaves(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.manage("migrate", "-v0")
    making = shop.manage("makesessions", "--count", str(SESSIONS))
    swept = shop.copy()
    before = len(shop.sessions())

    clearing = shop.manage("clearsessions")
    queue = f"sqlite:///{tmp_path}/queue.db"
    sweep = ("-m", "kubesweep_cli", "run", "--once", "-f", "sweep.yaml", "-f", "secret.yaml")
    _, sweeping = run(*sweep, "--url", swept.url, "--queue", queue, XDG_STATE_HOME=str(tmp_path))
    status, _ = run("-m", "kubesweep_cli", "status", "-o", "json", "--queue", queue, XDG_STATE_HOME=str(tmp_path))

    left = shop.sessions()
    assert before == SESSIONS
    assert SESSIONS * 0.35 < len(left) < SESSIONS * 0.45
    assert swept.sessions() == left
    counted = json.loads(status)[0]["lastSweep"]
    assert (counted["state"], counted["applied"]) == ("Completed", before - len(left))
    with capsys.disabled():
        print(
            f"\n{shop.kind}: {before:,} sessions made in {making:.1f} s, {before - len(left):,} removed:"
            f" clearsessions {clearing:.1f} s, kubesweep {sweeping:.1f} s"
        )
