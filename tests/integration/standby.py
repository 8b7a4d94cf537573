"""A primary with a standby that replays its changes, both real."""

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


@contextmanager
def primary_with_standby() -> Iterator[tuple[Server, Server]]:
    with postgres(REPLICATING) as primary:
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
                yield primary, standby
            finally:
                standby.stop()
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _copy(primary: Server, standby: Server) -> None:
    sockets = standby.folder / "s"
    sockets.mkdir()
    standby.folder.chmod(0o777)
    sockets.chmod(0o777)
    data = standby.folder / "data"
    command = [primary.program("pg_basebackup"), "--pgdata", str(data), "--write-recovery-conf", "--checkpoint=fast"]
    command += ["--dbname", primary.url()]
    subprocess.run(command, check=True, user=primary.system_user, timeout=scaled(120))
    with (data / "postgresql.conf").open("a") as file:
        file.write(f"unix_socket_directories = '{sockets}'\n")
