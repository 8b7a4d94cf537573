"""A small PostgreSQL table and its plan, for tests of errors."""

from __future__ import annotations

from typing import Any

import psycopg

from kubesweep_worker.sources import open_source
from kubesweep_worker.sources.base import InspectableSource, Range
from tests.integration.postgres_plans import make_plan

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


SCHEMA = """
CREATE TABLE things (id int PRIMARY KEY, status text NOT NULL, expires_at timestamptz, note varchar(5));
INSERT INTO things SELECT n, 'pending', now() - interval '1 day' FROM generate_series(1, 10) AS n;
"""


ALL = Range()


def opened(database: str, **changes: Any) -> InspectableSource:
    return open_source(make_plan(**changes), lambda: database)
