"""Tables that leave rows unchanged without an error."""

from __future__ import annotations

from typing import Any

import psycopg

from kubesweep.api.plan import Archive, Write
from kubesweep_worker.sources.base import InspectableSource, Keys, Predicate, Range

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


TABLE = """
CREATE TABLE things (id int PRIMARY KEY, status text NOT NULL, expires_at timestamptz);
INSERT INTO things SELECT n, 'pending', now() - interval '1 day' FROM generate_series(1, 10) AS n;
CREATE TABLE kept (LIKE things);
"""


ALL, REFUSED = Range(None, None, 10), (("3",), ("8",))


DELETE, ARCHIVE = Write(), Write(archive=Archive("kept"))


async def assert_refusals_reported(source: InspectableSource, cutoff: str, named: str) -> None:
    tried = await source.try_write(cutoff, 10)
    assert (tried.tried, tried.still_stale, tried.refused) == (10, 0, 2)
    for scope in (ALL, Keys(REFUSED)):
        written = await source.write(scope, Predicate(cutoff))
        assert (written.applied, written.refused) == (8 if scope is ALL else 0, REFUSED)
        # Of a write that leaves all its rows matching, and no trigger explains it, the caller judges.
        assert named in written.why or written.still_stale == 2
    assert await source.keys(Range(), Predicate(cutoff)) == REFUSED
    await source.close()


POLICY = "ALTER TABLE things ENABLE ROW LEVEL SECURITY; CREATE POLICY seen ON things FOR SELECT USING (true);"
