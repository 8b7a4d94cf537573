"""PgBouncer in transaction mode before a server of the tests, where the machine has the program."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg

from tests.integration.postgres import Server
from tests.kits.deadlines import scaled

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
PORT = 6432  # names the socket file; nothing listens on it


class Pooler:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def url(self, database: str) -> str:
        """The URL of this database through the pooler."""
        name = psycopg.conninfo.conninfo_to_dict(database)["dbname"]
        return f"postgresql://postgres@/{quote(str(name), safe='')}?host={quote(str(self.folder), safe='')}&port={PORT}"


@contextmanager
def pgbouncer(server: Server, pool: int = 1) -> Iterator[Pooler]:
    """A running pooler with ``pool`` connections to each database. With one, each session inherits the settings of the previous one."""
    assert PROGRAM is not None
    folder = Path(tempfile.mkdtemp(prefix="ks-pool-"))
    folder.chmod(0o777)
    (folder / "users").write_text('"postgres" ""\n')
    lines = {
        "listen_port": str(PORT),
        "unix_socket_dir": str(folder),
        "auth_type": "trust",
        "auth_file": str(folder / "users"),
        "pool_mode": "transaction",
        "default_pool_size": str(pool),
        "max_client_conn": "100",
    }
    settings = "".join(f"{name} = {value}\n" for name, value in lines.items())
    (folder / "ini").write_text(f"[databases]\n* = host={server.folder / 's'}\n[pgbouncer]\n{settings}")
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [PROGRAM, "-q", str(folder / "ini")], user=server.system_user, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        until = time.monotonic() + scaled(30)
        while not (folder / f".s.PGSQL.{PORT}").exists():
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError((folder / "log").read_text())
            time.sleep(0.01)
        yield Pooler(folder)
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)
