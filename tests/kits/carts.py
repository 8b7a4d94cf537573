"""A table of stale carts and a schedule that sweeps it once, for tests that change a release during a sweep.

Writes are slow until ``full_speed``, so the sweep still runs after the change. A trigger records each write.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg

from tests.kits.conversations_app import full_speed, slow_writes
from tests.kits.kube_client import Namespace, Object
from tests.kits.polling import eventually
from tests.kits.releases import SCHEDULE, apply, sweep, swept
from tests.kits.workloads import start_postgres

NAME = "carts"
ROWS = 4000
SECONDS = 0.4  # for each row, until ``full_speed``


class Carts:
    def __init__(self, namespace: Namespace, connection: psycopg.Connection[Any]) -> None:
        self._namespace, self._connection = namespace, connection

    def written(self, at_least: int) -> bool:
        [[count]] = self._connection.execute("select count(*) from writes").fetchall()
        return int(count) >= at_least

    def full_speed(self) -> None:
        full_speed(self._connection)

    def until_swept_once(self) -> Object:
        """Wait until the sweep completes, and check that it wrote each row once. Returns the schedule."""
        found = self._namespace.until(SCHEDULE, NAME, swept(), what="the sweep completes", patience=240)
        last = found["status"]["lastSweep"]
        assert last["applied"] + last["unconfirmed"] == last["planned"] == ROWS
        [[total, rows]] = self._connection.execute("select count(*), count(distinct id) from writes").fetchall()
        assert (total, rows) == (ROWS, ROWS)
        return found


@contextmanager
def slow_sweep_of_carts(namespace: Namespace) -> Iterator[Carts]:
    """The table and the schedule in a namespace that a release serves. The sweep has written its first rows."""
    postgres = start_postgres(namespace)
    login = f"postgres:{postgres.password}"
    schedule = sweep(
        NAME,
        f"postgresql://{login}@{postgres.host}/postgres",
        "carts",
        match=[{"column": "status", "in": ["open"]}, {"column": "updated_at", "before": "now-1h"}],
        write={"update": [{"column": "status", "value": "abandoned"}]},
        limits={"batchRows": 25},
        worker={"maxReplicas": 2, "jobsPerReplica": 2},
    )
    with namespace.forwarded(f"service/{postgres.service}", postgres.port) as port:
        local = f"postgresql://{login}@127.0.0.1:{port}/postgres"
        with closing(psycopg.connect(local, autocommit=True)) as connection:
            _fill(connection)
            slow_writes(connection, "carts", SECONDS)
            apply(namespace, schedule)
            carts = Carts(namespace, connection)
            eventually("the first rows are written", 120, lambda: carts.written(1))
            yield carts


def _fill(connection: psycopg.Connection[Any]) -> None:
    connection.execute("create table carts (id bigint primary key, status text, updated_at timestamptz)")
    connection.execute("create table writes (id bigint)")
    connection.execute(
        "create function note() returns trigger language plpgsql as "
        "'begin insert into writes values (new.id); return new; end'"
    )
    connection.execute("create trigger note after update on carts for each row execute function note()")
    connection.execute(
        "insert into carts select i, 'open', now() - interval '1 day' from generate_series(1, %s) i", [ROWS]
    )
