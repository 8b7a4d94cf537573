"""How many pages does a sweep access? The number must depend on the stale rows, not on the table."""

from __future__ import annotations

import time
from dataclasses import dataclass

from bench import kubesweep_sweep
from bench.servers import Server

COUNTERS = """
    SELECT sum(heap_blks_read + heap_blks_hit), sum(idx_blks_read + idx_blks_hit)
    FROM pg_statio_user_tables WHERE relname = 'conversations'
"""
OTHERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
SIZE = "SELECT relpages FROM pg_class WHERE relname = 'conversations'"


@dataclass(frozen=True, slots=True)
class PageAccess:
    """``heap`` and ``index`` count every access, including repeated ones to the same page. ``memory``: the most bytes that one
    worker process had in RAM."""

    stale: int
    table_pages: int
    heap: int
    index: int
    seconds: float
    memory: int

    @property
    def per_row(self) -> float:
        return (self.heap + self.index) / self.stale


def measure_pages(server: Server, database: str, size: kubesweep_sweep.Size) -> PageAccess:
    """Sweep ``database`` and read Postgres' counters before and after.

    A backend reports its counts when it ends, so the counters are read when all other backends have ended.
    """
    before = _counters(server, database)
    done = kubesweep_sweep.measure(server.url(database), kubesweep_sweep.plan(size))
    after = _counters(server, database)
    with server.connect(database) as connection:
        found = connection.execute(SIZE).fetchone()
    assert found is not None
    return PageAccess(done.rows, int(found[0]), after[0] - before[0], after[1] - before[1], done.seconds, done.memory)


def _counters(server: Server, database: str) -> tuple[int, int]:
    with server.connect(database) as connection:
        while connection.execute(OTHERS).fetchone() != (0,):
            time.sleep(0.01)
        found = connection.execute(COUNTERS).fetchone()
    assert found is not None
    return int(found[0]), int(found[1])
