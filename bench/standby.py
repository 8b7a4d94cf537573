"""A streaming standby of the measured server, and how far behind it is."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.servers import Server
from tests.integration import postgres as tests_postgres

INTERVAL = 0.1  # seconds between two samples
PATIENCE = 300.0  # seconds
SLOT = "standby"  # keeps the WAL that the standby still needs, also across checkpoints
LAG = """
    SELECT count(*),
           coalesce(max(extract(epoch FROM replay_lag)), 0)::float8,
           coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)), 0)::float8
    FROM pg_stat_replication
"""


@dataclass(slots=True)
class ReplayLag:
    """The largest lag that was seen."""

    seconds: float = 0.0
    megabytes: float = 0.0


@contextmanager
def standby(server: Server) -> Iterator[None]:
    """A standby of ``server`` that replays while inside; stopped and removed at the end."""
    server.allow_replication()
    folder = Path(tempfile.mkdtemp(prefix="ks-standby-"))
    try:
        made = tests_postgres.Server(folder)
        data, sockets = folder / "data", folder / "s"
        folder.chmod(0o755)
        data.mkdir(mode=0o700)
        sockets.mkdir()
        sockets.chmod(0o777)
        if made.system_user is not None:
            shutil.chown(data, made.system_user)
        backup = (made.binaries / "pg_basebackup", "-d", server.url("postgres"), "-D", data, "-R", "-C", "-S", SLOT)
        subprocess.run((*backup, "-c", "fast"), check=True, user=made.system_user)
        with (data / "postgresql.conf").open("a") as file:
            file.write(f"unix_socket_directories = '{sockets}'\n")
        made.start()
        try:
            yield
        finally:
            made.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def replay_lag(server: Server) -> Iterator[ReplayLag]:
    """Samples the lag while inside. It stays 0 without a standby."""
    found, ended = ReplayLag(), threading.Event()

    def sample() -> None:
        with server.connect() as connection:
            while not ended.wait(INTERVAL):
                row = connection.execute(LAG).fetchone()
                assert row is not None
                found.seconds = max(found.seconds, row[1])
                found.megabytes = max(found.megabytes, row[2] / 1e6)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


def caught_up(server: Server, standbys: int) -> None:
    """Returns when this many standbys have replayed what there is. Raises RuntimeError if they do not."""
    end = time.monotonic() + PATIENCE
    with server.connect() as connection:
        while (row := connection.execute(LAG).fetchone()) is None or row[0] < standbys or row[2] > 0:
            if time.monotonic() > end:
                raise RuntimeError(
                    f"{standbys} standby was to replay the WAL; connected, seconds and bytes behind: {row}"
                )
            time.sleep(INTERVAL)
