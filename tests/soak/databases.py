"""The databases of the soak: constant inflow, and what they know of every row."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

import psycopg

from tests.kits.kube_client import Namespace, Object
from tests.kits.polling import eventually
from tests.kits.workloads import Server
from tests.soak.lanes import DEFECT, TABLES, Lane, schema

RATE = 2  # rows a second for each lane
ROLE = "sweeper"
BACKLOG = 2500  # rows of a slow lane at the beginning
# A server behind a cut network neither answers nor refuses: give up after a few seconds.
PATIENT = {
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}
INSERT = """
INSERT INTO {table} (lane, defect)
    SELECT lane, (lane + number) %% {defect} = 0 FROM unnest(%s::int[]) lane, generate_series(%s::int, %s::int) number
"""
COUNTS = """
SELECT lane, count(*), count(*) FILTER (WHERE status = 'open' AND NOT defect), count(*) FILTER (WHERE defect) FROM {table} GROUP BY lane
"""
WRITES = "SELECT lane, count(*), count(DISTINCT id) FROM {table}_written GROUP BY lane"


@dataclass(frozen=True)
class Rows:
    """What a database has of one lane. ``writes`` exceeds ``written`` if a row was written twice."""

    inserted: int
    open: int  # without defects
    defect: int
    writes: int
    written: int


class Database:
    """One server with both tables. ``lanes``: those whose rows it has."""

    def __init__(self, namespace: Namespace, server: Server, lanes: Sequence[Lane]) -> None:
        self.namespace, self.server, self.lanes = namespace, server, lanes
        service = namespace.get("v1 Service", server.service)
        assert service is not None
        self._address = service["spec"]["clusterIP"]  # the node routes it, so no tunnel can break
        self._numbers = {table: [each.number for each in lanes if each.table == table] for table in TABLES}

    @property
    def url(self) -> str:
        """For workers: a role of their own leaves the reserved connections to the soak."""
        return f"postgresql://{ROLE}:{self.server.password}@{self.server.host}/postgres"

    def pod(self) -> Object:
        (found,) = self.namespace.all("v1 Pod", f"app={self.server.service}")
        return found

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        url = f"postgresql://postgres:{self.server.password}@{self._address}/postgres"
        return psycopg.connect(url, autocommit=True, **PATIENT)  # type: ignore[arg-type]

    def _is_reachable(self) -> bool:
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def create(self) -> None:
        """Create the tables, with the backlog of the slow lanes."""
        # A ready pod is not enough: kube-proxy routes the address of its Service a moment later.
        eventually("the database can be reached by its Service", 60, self._is_reachable)
        with closing(self.connect()) as root:
            for setting in ("fsync = off", "full_page_writes = off", "max_wal_size = '1GB'"):
                root.execute(f"ALTER SYSTEM SET {setting}".encode())  # a killed server loses nothing, only a machine
            root.execute("SELECT pg_reload_conf()")
            for table in TABLES:
                root.execute(schema(table).encode())
                slow = [each.number for each in self.lanes if each.slow and each.table == table]
                root.execute(INSERT.format(table=table, defect=DEFECT).encode(), [slow, 1, BACKLOG])
            root.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{self.server.password}'".encode())
            root.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {ROLE}".encode())

    def insert(self, first: int, last: int) -> None:
        """Insert the rows with these numbers into every lane."""
        with closing(self.connect()) as root, root.transaction():
            for table, lanes in self._numbers.items():
                root.execute(INSERT.format(table=table, defect=DEFECT).encode(), [lanes, first, last])

    def newest(self) -> dict[str, int]:
        """The highest key of each table."""
        with closing(self.connect()) as root:
            return {table: _one(root, f"SELECT coalesce(max(id), 0) FROM {table}") for table in TABLES}

    def swept_after(self, newest: dict[str, int]) -> bool:
        """Whether each quick lane has a written row that is newer than ``newest``."""
        with closing(self.connect()) as root:
            return all(
                _one(root, f"SELECT coalesce(max(id), 0) FROM {each.table}_written WHERE lane = {each.number}")
                > newest[each.table]
                for each in self.lanes
                if each.quick
            )

    def behind(self) -> int:
        """The number of stale rows that can be written."""
        with closing(self.connect()) as root:
            return sum(
                _one(root, f"SELECT count(*) FROM {table} WHERE status = 'open' AND NOT defect") for table in TABLES
            )

    def rows(self) -> dict[int, Rows]:
        """The rows of each lane, by its number. Reads the tables completely."""
        found: dict[int, Rows] = {}
        with closing(self.connect()) as root:
            for table in TABLES:
                writes = {
                    lane: (count, distinct)
                    for lane, count, distinct in root.execute(WRITES.format(table=table).encode())
                }
                for lane, inserted, open_, defect in root.execute(COUNTS.format(table=table).encode()):
                    found[lane] = Rows(inserted, open_, defect, *writes.get(lane, (0, 0)))
        return found


class Inflow(threading.Thread):
    """Inserts rows into one database at a constant rate. After an outage it inserts what is missing."""

    def __init__(self, database: Database) -> None:
        super().__init__(daemon=True)
        self._database, self._done = database, threading.Event()

    def run(self) -> None:
        began, inserted = time.monotonic(), 0
        while not self._done.wait(1.0):
            due = int(RATE * (time.monotonic() - began))
            with suppress(psycopg.Error):
                self._database.insert(inserted + 1, due)
                inserted = due

    def stop(self) -> None:
        self._done.set()
        self.join()


def _one(root: psycopg.Connection[tuple[Any, ...]], query: str) -> int:
    row = root.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])
