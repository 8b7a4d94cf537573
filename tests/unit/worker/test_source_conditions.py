"""The conditions of a plan as SQL text."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesweep.api.plan import Match
from kubesweep.errors import Outage, SweepFailure
from kubesweep.text import as_sentence
from kubesweep_worker.sources.conditions import (
    quote_name,
    quote_text,
    stale,
    time_columns,
    used_columns,
)
from kubesweep_worker.sources.postgres.connection_url import without_password
from kubesweep_worker.sources.postgres.dialect import PostgresDialect, quote_pg
from kubesweep_worker.sources.postgres.errors import classify, classify_connect
from kubesweep_worker.sources.postgres.sqlstates import CLASSES, CODES, Verdict
from kubesweep_worker.sources.sqlite.errors import EXTENDED, PRIMARY

CUTOFF = "2026-03-01 00:00:00+00"
TYPES = PostgresDialect(
    {"status": "text", "at": "timestamp with time zone", "day": "date", "naive": "timestamp without time zone"},
    "Europe/Berlin",
)
CONDITIONS = [
    (Match("in", "status", ("a", "it's")), """t."status" IN ('a'::text, 'it''s'::text)"""),
    (Match("in", "status", ("a\\",)), """t."status" IN ( E'a\\\\'::text)"""),
    (Match("isNull", "at"), 't."at" IS NULL'),
    (Match("isNull", "at", is_null=False), 't."at" IS NOT NULL'),
    (Match("before", "at"), """t."at" < LEAST('2026-03-01 00:00:00+00'::timestamptz, now())"""),
    (
        Match("before", "at", offset=1800.0),
        """t."at" < LEAST('2026-03-01 00:00:00+00'::timestamptz, now()) - '1800.000000 seconds'::interval""",
    ),
    (
        Match("before", "day"),
        """t."day" < (LEAST('2026-03-01 00:00:00+00'::timestamptz, now())) AT TIME ZONE 'Europe/Berlin'"""
        """ AND t."day"::timestamp AT TIME ZONE 'Europe/Berlin' < LEAST('2026-03-01 00:00:00+00'::timestamptz, now())""",
    ),
    (Match("sql", sql="t.x < :cutoff"), "(\nt.x < LEAST('2026-03-01 00:00:00+00'::timestamptz, now())\n)"),
]


@pytest.mark.parametrize(("match", "expected"), CONDITIONS)
def test_a_condition_becomes_plain_sql(match: Match, expected: str) -> None:
    assert stale((match,), TYPES, CUTOFF) == expected


def test_conditions_are_anded_and_columns_named_once() -> None:
    matches = (
        Match("in", "status", ("a",)),
        Match("before", "at"),
        Match("before", "at", offset=1.0),
        Match("sql", sql="true"),
    )
    assert stale(matches, TYPES, CUTOFF).count(" AND ") == 3
    assert used_columns(matches) == ("status", "at")
    assert time_columns(matches) == ("at",)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_a_quoted_text_is_the_text_and_a_quoted_name_the_name(text: str) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        assert connection.execute(f"SELECT {quote_text(text)}").fetchone() == (text,)
        if text:
            cursor = connection.execute(f"SELECT 1 AS {quote_name(text)}")
            assert cursor.description[0][0] == text


@given(st.text(alphabet="a'\\\"%$"))
def test_a_literal_never_depends_on_standard_conforming_strings(text: str) -> None:
    literal = quote_pg(text)
    assert literal.startswith(" E'") == ("\\" in text)
    assert re.fullmatch(r"( E)?'(?:[^'\\]|''|\\\\)*'", literal)


def test_a_row_error_quotes_no_value() -> None:
    found = classify("22P02", 'invalid input syntax for type integer: "my secret"', "InvalidTextRepresentation")
    assert str(found) == "invalid input syntax for type integer"
    assert len(str(classify("P0001", "x" * 5000, "RaiseException"))) == 1024


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('FATAL:  password authentication failed for user "x"', "AuthenticationFailed"),
        ("fe_sendauth: no password supplied", "AuthenticationFailed"),
        ('FATAL:  no pg_hba.conf entry for host "::1"', "AuthenticationFailed"),
        ('FATAL:  database "x" does not exist', "DatabaseMissing"),
        ("connection refused", "Unreachable"),
        ("FATAL:  the database system is starting up", "Unreachable"),
    ],
)
def test_a_refused_connection_says_why(text: str, reason: str) -> None:
    found = classify_connect(text, text)
    assert isinstance(found, SweepFailure | Outage)
    assert found.reason == reason


@pytest.mark.parametrize("password", ["database", "exist", "authentication", "failed"])
def test_a_password_that_is_a_word_of_the_message_changes_no_reason(password: str) -> None:
    for text, reason in (
        ('database "x" does not exist', "DatabaseMissing"),
        ('password authentication failed for user "x"', "AuthenticationFailed"),
    ):
        found = classify_connect(text, without_password(text, f"postgresql://ann:{password}@db/x"))
        assert isinstance(found, SweepFailure)
        assert found.reason == reason
        assert (password in text) == ("***" in str(found))


def test_the_lines_of_a_refused_connection_become_one_that_another_sentence_can_follow() -> None:
    text = "connection refused\n\tIs the server running on that host?\n"
    found = str(classify_connect(text, text))
    assert found == "no connection to the database: connection refused; Is the server running on that host?"
    assert as_sentence(found) == found
    assert as_sentence("it is away") == "it is away."


def test_the_documented_reasons_of_outages_are_the_real_ones() -> None:
    docs = (Path(__file__).parents[3] / "docs" / "errors.md").read_text().split("Its reasons: ")[1].split("\n\n")[0]
    decisions = [*CLASSES.values(), *CODES.values(), *PRIMARY.values(), *EXTENDED.values()]
    real = {decision.reason for decision in decisions if decision.verdict is Verdict.OUTAGE}
    assert set(re.findall(r"`(\w+)`", docs)) == real | {
        "NoAnswer",
        "StatementCancelled",
        "Unreachable",
        "UrlMissing",
        "TableChanged",
        "DatabaseError",
    }
