"""The competitors of a sweep: one UPDATE statement of the same rows, and the loop that a sweep replaces."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from bench.servers import Server
from examples.conversations.before.background_tasks import process_expired_conversations

STATEMENT = """
    UPDATE conversations SET status = 'expired', closed_at = now()
    WHERE status IN ('pending', 'progress') AND expires_at < now()
"""


def statement(server: Server, database: str) -> tuple[int, float]:
    """One UPDATE of every stale row. Returns rows and seconds."""
    with server.connect(database) as connection:
        began = time.perf_counter()
        rows = connection.execute(STATEMENT).rowcount
        return rows, time.perf_counter() - began


def loop(server: Server, database: str, most: int) -> tuple[int, float]:
    """The loop of examples/conversations/before over ``most`` rows, without its notifications. Returns rows and seconds."""
    with server.connect(database) as connection:
        began, rows = time.perf_counter(), 0
        while rows < most:
            dealt = process_expired_conversations(connection, lambda what, conversation: None)
            if dealt == 0:
                break
            rows += dealt
        return rows, time.perf_counter() - began


@contextmanager
def old_snapshot(server: Server, database: str, hold: bool) -> Iterator[None]:
    """While inside, an open transaction keeps xmin back, so no dead row version of ``database`` can be removed."""
    if not hold:
        yield
        return
    with psycopg.connect(server.url(database)) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.execute("SELECT 1 FROM conversations LIMIT 1")
        yield
        connection.rollback()


def count_stale(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute(
        "SELECT count(*) FROM conversations WHERE status IN ('pending', 'progress') AND expires_at < now()"
    ).fetchone()
    assert row is not None
    return int(row[0])
