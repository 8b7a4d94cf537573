"""A pod without a cluster: the environment that the controller sets, Secrets mounted as the kubelet does, and the program of
the image as a process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from kubesweep.api.plan import Assignment, Match, Plan, RetryPolicy, RowLimits, Source, Write
from kubesweep.queue.connect import connect
from kubesweep.queue.model import DeadLetter, Finding, ScheduleRef, Stats, SweepRequest
from tests.kits.deadlines import scaled
from tests.kits.servers import Server

PROGRAM = str(Path(sys.executable).parent / "kubesweep-worker")
ROWS = 40
TABLE = f"""
CREATE TABLE carts (id integer PRIMARY KEY, status text NOT NULL);
INSERT INTO carts SELECT g, 'old' FROM generate_series(1, {ROWS}) g;
"""


def pod_plan(**changes: Any) -> Plan:
    fields: dict[str, Any] = {
        "namespace": "shop",
        "name": "carts",
        "uid": ScheduleRef.local("shop", "carts").uid,
        "generation": 3,
        "source": Source(table="carts"),
        "match": (Match("in", "status", ("old",)),),
        "write": Write(update=(Assignment("status", "new"),)),
        "limits": RowLimits(batch_rows=10),
        "retry": RetryPolicy(max_attempts=1),
    }
    return Plan(**{**fields, **changes})


class SecretVolume:
    """A Secret as the kubelet mounts it: its files are links through ``..data``, which is swapped as a whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._version = 0
        folder.mkdir(parents=True)

    def show(self, **entries: str) -> None:
        """Replace the Secret's entries; without entries it does not exist."""
        self._version += 1
        data = self.folder / f"..{self._version}"
        data.mkdir()
        for name, text in entries.items():
            (data / name).write_text(text)
        (self.folder / "..data_tmp").symlink_to(data.name)
        (self.folder / "..data_tmp").rename(self.folder / "..data")
        for old in self.folder.glob("[!.]*"):
            if old.name not in entries:
                old.unlink()
        for name in entries:
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(Path("..data") / name)


class Pod:
    """One schedule's pods. ``database`` is the mounted Secret support-db, ``headers`` hook-headers, ``signing`` the entry of
    signWith, ``login`` the queue's."""

    def __init__(self, folder: Path, server: Server, plan: Plan) -> None:
        self.folder, self.server, self.plan = folder, server, plan
        self.database = SecretVolume(folder / "database")
        self.headers = SecretVolume(folder / "headers")
        self.signing = SecretVolume(folder / "signing")
        self.login = SecretVolume(folder / "queue")
        self.queue = connect(server.url)
        self.started: list[subprocess.Popen[str]] = []
        kept = {name: value for name, value in os.environ.items() if not name.startswith("KUBESWEEP_")}
        self.environment = {
            **kept,
            "KUBERNETES_SERVICE_HOST": "10.0.0.1",
            "KUBESWEEP_PLAN": plan.to_json(),
            "KUBESWEEP_QUEUE": server.url,
            "KUBESWEEP_DATABASE_URL_FILE": str(self.database.folder / "url"),
            "KUBESWEEP_DATABASE_SECRET": "support-db/url",
            "KUBESWEEP_HEADERS_DIR": str(self.headers.folder),
            "KUBESWEEP_SIGNING_DIR": str(self.signing.folder),
            "KUBESWEEP_JOB_NAME": "carts-tick-29400000",
            "KUBESWEEP_JOB_UID": "6a1f",
        }

    def start(self, command: str = "work", environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [PROGRAM, command],
            cwd=self.folder,
            env={**self.environment, **(environment or {})},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def run(
        self, command: str = "tick", environment: Mapping[str, str] | None = None, code: int = 0
    ) -> list[dict[str, Any]]:
        """Run to its end; returns the log entries."""
        process = self.start(command, environment)
        _, errors = process.communicate(timeout=scaled(60))
        assert process.returncode == code, errors
        return [json.loads(line) for line in errors.splitlines()]

    async def open(self) -> None:
        await self.queue.open_sweep(self.plan.ref, SweepRequest(tick=1.0, plan=self.plan.version))

    async def check(self) -> None:
        assert await self.queue.enqueue_check(self.plan.ref, self.plan.version)

    async def stats(self) -> Stats:
        (stats,) = await self.queue.stats([self.plan.ref])
        return stats

    async def finding(self, kind: str) -> Finding:
        (found,) = [finding for finding in (await self.stats()).findings if finding.kind == kind]
        return found

    async def dead(self) -> tuple[DeadLetter, ...]:
        return await self.queue.dead_letters(self.plan.ref)

    async def close(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate()
        await self.queue.close()


def log_until(process: subprocess.Popen[str], said: str, **fields: object) -> Mapping[str, Any]:
    """The first log entry whose message contains ``said``, with these fields."""
    seen = ""
    for line in process.stderr or ():
        seen += line
        entry: dict[str, Any] = json.loads(line)
        if said in entry["message"] and all(entry.get(name) == value for name, value in fields.items()):
            return entry
    raise AssertionError(f"{said!r} was never said:\n{seen}")


def make_carts(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TABLE.encode())


@pytest.fixture
def role(locked_role: str, database: str) -> Iterator[Callable[[str], None]]:
    """Change the password of the role that needs one, and end its connections. The database has carts."""
    make_carts(database)
    with psycopg.connect(database, autocommit=True) as root:
        root.execute(f"CREATE ROLE {locked_role} LOGIN SUPERUSER".encode())

        def change(password: str) -> None:
            statement = sql.SQL("ALTER ROLE {} PASSWORD {}")
            root.execute(statement.format(sql.Identifier(locked_role), sql.Literal(password)))
            root.execute("UPDATE carts SET status = 'old'")
            root.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (locked_role,))

        yield change


@pytest.fixture
def server() -> Iterator[Server]:
    """A Valkey server for one test."""
    made = Server("valkey").start()
    yield made
    made.remove()


def statuses(url: str) -> dict[str, int]:
    with psycopg.connect(url) as connection:
        return dict(connection.execute("SELECT status, count(*) FROM carts GROUP BY status").fetchall())
