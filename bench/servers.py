"""The Postgres of the measurements: as in the tests, but durable (fsync is on).

The settings are the same for every competitor: enough memory and WAL to avoid checkpoints during a run, and no autovacuum.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from tests.integration import postgres as tests_postgres
from tests.integration.standby import standby_of

SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "1GB",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
}
TEMPLATE = "measured"


class Server:
    """A running Postgres. ``fresh`` gives each run an identical database."""

    def __init__(self, server: tests_postgres.Server) -> None:
        self._server = server
        self._numbers = itertools.count(1)

    def url(self, database: str) -> str:
        return self._server.url(database)

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        return self._server.connect(database)

    @property
    def pid(self) -> int:
        """The process id of the postmaster, the parent of all its processes."""
        return int((self._server.folder / "data/postmaster.pid").read_text().split("\n", 1)[0])

    def template(self) -> str:
        """Create the empty template that ``fresh`` copies. Drops the previous one."""
        with self.connect() as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {TEMPLATE} WITH (FORCE)")
            connection.execute(f"CREATE DATABASE {TEMPLATE}")
        return TEMPLATE

    @contextmanager
    def fresh(self) -> Iterator[str]:
        """A copy of the template, file by file, checkpointed; dropped at the end. Yields its name."""
        name = f"run_{next(self._numbers)}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY file_copy")
            connection.execute("CHECKPOINT")
            try:
                yield name
            finally:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def program(self, name: str) -> str:
        """The path of a program of its version, such as pgbench."""
        return self._server.program(name)

    @contextmanager
    def standby(self) -> Iterator[None]:
        """A standby replays its changes while inside."""
        with standby_of(self._server):
            yield

    def version(self) -> str:
        with self.connect() as connection:
            row = connection.execute("SHOW server_version").fetchone()
        assert row is not None
        return str(row[0])


@contextmanager
def postgres() -> Iterator[Server]:
    """Start a server in a temporary folder; stopped and removed at the end."""
    with tests_postgres.postgres(SETTINGS) as server:
        yield Server(server)
