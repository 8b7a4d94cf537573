"""Tables with an archive, for tests on both databases."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from kubesweep.api.plan import Archive, Write
from kubesweep.errors import SweepFailure
from kubesweep_worker.sources import open_source
from kubesweep_worker.sources.base import Range
from tests.integration.postgres_plans import make_plan

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


ALL = Range(None, None, 3)


ARCHIVE = Write(archive=Archive("kept"))


TABLES = """
CREATE TABLE things (id int PRIMARY KEY, status text NOT NULL, expires_at timestamptz, note text);
INSERT INTO things SELECT n, 'pending', now() - interval '1 day', 'note ' || n FROM generate_series(1, 3) AS n;
CREATE TABLE kept (LIKE things);
"""


ADDED = "ALTER TABLE {} ADD COLUMN extra text DEFAULT 'new'"


# What a migration does to both tables, and what the archive then has of row 1 under the last column.
BOTH = {
    "added": ((ADDED,), "extra", "new"),
    "renamed": (("ALTER TABLE {} RENAME COLUMN note TO remark",), "remark", "note 1"),
    "dropped": (("ALTER TABLE {} DROP COLUMN note",), "status", "pending"),
    "dropped and added": (("ALTER TABLE {} DROP COLUMN note", ADDED), "extra", "new"),
}


ONE = {
    "added": (ADDED.format("things"), 'got column "extra" while this worker ran'),
    "renamed": ("ALTER TABLE things RENAME COLUMN note TO remark", 'got column "remark" while this worker ran'),
}


async def refused(url: str, archive: str, expected: str) -> None:
    source = open_source(make_plan(write=Write(archive=Archive(archive))), lambda: url)
    with pytest.raises(SweepFailure, match=expected):
        await source.inspect()
    await source.close()
