"""A standby that replays the changes of its primary, both real. bench/ uses it too."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.postgres import Server, postgres
from tests.kits.deadlines import scaled

REPLICATING = {"wal_level": "replica", "max_wal_senders": "4", "fsync": "off", "wal_receiver_status_interval": "1"}
SLOT = "standby"  # keeps the WAL that the standby still needs, also across checkpoints


@contextmanager
def primary_with_standby() -> Iterator[tuple[Server, Server]]:
    with postgres(REPLICATING) as primary, standby_of(primary) as standby:
        yield primary, standby


@contextmanager
def standby_of(primary: Server) -> Iterator[Server]:
    """A running standby, stopped and removed at the end. A primary has one at a time."""
    with (primary.folder / "data" / "pg_hba.conf").open("a") as file:
        file.write("local replication all trust\n")
    with primary.connect() as connection:
        connection.execute("SELECT pg_reload_conf()")
    folder = Path(tempfile.mkdtemp(prefix="ks-pg-"))
    try:
        standby = Server(folder)
        _copy(primary, standby)
        standby.start()
        try:
            yield standby
        finally:
            standby.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy(primary: Server, standby: Server) -> None:
    data, sockets = standby.folder / "data", standby.folder / "s"
    standby.folder.chmod(0o755)
    data.mkdir(mode=0o700)
    sockets.mkdir()
    sockets.chmod(0o777)
    if standby.system_user is not None:
        shutil.chown(data, standby.system_user)
    command = [primary.program("pg_basebackup"), "--pgdata", str(data), "--write-recovery-conf", "--checkpoint=fast"]
    command += ["--create-slot", "--slot", SLOT, "--dbname", primary.url()]
    subprocess.run(command, check=True, user=primary.system_user, timeout=scaled(300))
    with (data / "postgresql.conf").open("a") as file:
        file.write(f"unix_socket_directories = '{sockets}'\n")
