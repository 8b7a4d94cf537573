"""The SQL of a sweep on PostgreSQL that is built once for a cutoff."""

from __future__ import annotations

import pytest

from kubesweep.api.plan import Assignment, Match, Plan, Source, Write
from kubesweep_worker.sources.base import Predicate, Range
from kubesweep_worker.sources.postgres.dialect import PostgresDialect
from kubesweep_worker.sources.postgres.statements import TEXTS, KeyColumn, Statements

FIRST, SECOND = "2026-03-01 00:00:00+00", "2026-03-02 00:00:00+00"


@pytest.fixture
def statements() -> Statements:
    plan = Plan(
        namespace="default",
        name="close",
        uid="u",
        source=Source(table="things"),
        match=(Match("before", "expires_at"),),
        write=Write(update=(Assignment("closed_at", sql=":cutoff"),)),
    )
    types = {"expires_at": "timestamp with time zone", "closed_at": "timestamp with time zone"}
    return Statements(plan, '"things"', (KeyColumn("id", "bigint"),), PostgresDialect(types))


def test_conditions_and_assignments_follow_the_cutoff_of_each_job(statements: Statements) -> None:
    for cutoff, other in ((FIRST, SECOND), (SECOND, FIRST), (FIRST, SECOND)):
        write = statements.write(Range(), Predicate(cutoff))
        assert write.count(cutoff) == 3  # the assignment, the condition, and whether the row matches again
        assert other not in write


def test_texts_of_past_cutoffs_are_dropped(statements: Statements) -> None:
    for day in range(10, 30):
        statements.write(Range(), Predicate(f"2026-03-{day} 00:00:00+00"))
    assert len(statements._texts) <= TEXTS
