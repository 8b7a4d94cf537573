"""How far behind the standby of the measured server is."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.servers import Server

INTERVAL = 0.1  # seconds between two samples
PATIENCE = 300.0  # seconds
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
