"""What runs beside the application: nothing, one statement, a loop of chunks, or Kubesweep, each of which updates, deletes or
archives the same rows.

The loop is what pt-archiver does with ``--limit 1000 --commit-each --bulk-delete``: it goes up the primary key, and each chunk is
a transaction.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from bench import kubesweep_sweep
from bench.servers import Server
from kubesweep.api.compile import compile_plan
from kubesweep.api.models.source import Source
from kubesweep.api.models.spec import SweepSchedule

CHUNK = 1000
STALE = "status IN ('pending', 'progress') AND expires_at < now()"
SET = "SET status = 'expired', closed_at = now()"
STATEMENTS = {
    "update": f"UPDATE conversations {SET} WHERE {STALE}",
    "delete": f"DELETE FROM conversations WHERE {STALE}",
    "archive": f"""
        WITH gone AS (DELETE FROM conversations WHERE {STALE} RETURNING *)
        INSERT INTO conversations_archive SELECT * FROM gone
    """,
}
_CHUNK = f"WITH chunk AS (SELECT id FROM conversations WHERE id > %s AND {STALE} ORDER BY id LIMIT {CHUNK}),"
_DELETED = "DELETE FROM conversations t USING chunk WHERE t.id = chunk.id RETURNING"
CHUNKS = {
    "update": f"{_CHUNK} done AS (UPDATE conversations t {SET} FROM chunk WHERE t.id = chunk.id RETURNING t.id)",
    "delete": f"{_CHUNK} done AS ({_DELETED} t.id)",
    "archive": f"""
        {_CHUNK} gone AS ({_DELETED} t.*),
        done AS (INSERT INTO conversations_archive SELECT * FROM gone RETURNING id)
    """,
}
WRITES: dict[str, dict[str, Any]] = {
    "update": {"update": [{"column": "status", "value": "expired"}, {"column": "closed_at", "sql": "now()"}]},
    "delete": {"delete": {}},
    "archive": {"delete": {"archiveTo": {"table": "conversations_archive"}}},
}
HEALTH: dict[str, Any] = {"health": {"auto": True}}


class Done(NamedTuple):
    """Rows written, and when the work began and ended, in seconds since 1970."""

    rows: int
    began: float
    ended: float


def knows_health() -> bool:
    """Whether this version has the field ``source.health``."""
    return "health" in Source.model_fields


def nothing(seconds: float) -> Done:
    """The application alone."""
    began = time.time()
    time.sleep(seconds)
    return Done(0, began, time.time())


def statement(server: Server, database: str, write: str) -> Done:
    with server.connect(database) as connection:
        began = time.time()
        rows = connection.execute(STATEMENTS[write].encode()).rowcount
        return Done(rows, began, time.time())


def loop(server: Server, database: str, write: str) -> Done:
    query = f"{CHUNKS[write]} SELECT count(*), max(id) FROM done".encode()
    with server.connect(database) as connection:
        began, rows, after = time.time(), 0, 0
        while (found := connection.execute(query, (after,)).fetchone()) is not None and found[0]:
            rows, after = rows + found[0], found[1]
        return Done(rows, began, time.time())


def kubesweep(
    server: Server, database: str, write: str, workers: int, idle: float, source: dict[str, Any] | None = None
) -> Done:
    """A schedule with every default, except the fields ``source``. ``workers`` processes, as pods, are ready for ``idle`` seconds."""
    fields = {"urlFrom": {"secretKeyRef": {"name": "unused", "key": "url"}}, "table": "conversations", **(source or {})}
    spec = {
        "every": "1h",
        "source": fields,
        "match": [{"column": "status", "in": ["pending", "progress"]}, {"column": "expires_at", "before": "now"}],
        "write": WRITES[write],
        "worker": {"maxReplicas": workers},
    }
    document = {"apiVersion": "kubesweep.dev/v1alpha1", "kind": "SweepSchedule", "metadata": {"name": "bench"}}
    plan = compile_plan(SweepSchedule.model_validate({**document, "spec": spec}), generation=1)
    done = kubesweep_sweep.measure(server.url(database), plan, idle)
    return Done(done.rows, done.began, done.ended)
