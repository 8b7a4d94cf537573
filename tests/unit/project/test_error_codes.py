"""The error codes of the databases: each has a decision, and docs/errors.md documents it."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import psycopg
import pytest

from kubesweep.errors import KubesweepError, Outage, RowError, ScopeOutage, SweepFailure
from kubesweep_worker.sources.postgres import sqlstates
from kubesweep_worker.sources.postgres.errors import StatementRefused, classify
from kubesweep_worker.sources.postgres.sqlstates import CLASSES, CODES, Decision, Verdict
from kubesweep_worker.sources.sqlite import errors
from kubesweep_worker.sources.sqlite.errors import EXTENDED, PRIMARY, classify_sqlite

DOCS = (Path(__file__).parents[3] / "docs" / "errors.md").read_text()
EVERY = sorted(
    {
        state
        for known in vars(psycopg.errors).values()
        if isinstance(known, type) and isinstance(state := getattr(known, "sqlstate", None), str)
    }
)
KINDS: dict[Verdict, type[KubesweepError]] = {
    Verdict.SWEEP: SweepFailure,
    Verdict.OUTAGE: Outage,
    Verdict.ROW: RowError,
    Verdict.DEFECT: SweepFailure,
}


def sqlite_error(name: str) -> sqlite3.Error:
    error = sqlite3.OperationalError("text")
    error.sqlite_errorcode, error.sqlite_errorname = getattr(sqlite3, name), name
    return error


def lines(decisions: dict[str, Decision]) -> list[str]:
    return [
        f"| `{code}` | {one.verdict.value} | {f'`{one.reason}`' if one.reason else 'its name'} | {one.why} |"
        for code, one in decisions.items()
    ]


def test_every_code_of_postgres_is_decided() -> None:
    assert len(EVERY) > 250
    assert [state for state in EVERY if state[:2] not in CLASSES] == []
    assert [code for code in CODES if code not in EVERY] == []


@pytest.mark.parametrize("state", EVERY)
def test_a_postgres_code_becomes_the_error_of_its_decision(state: str) -> None:
    decision = sqlstates.decide(state)
    found = classify(state, "text", "Name", maybe_applied=True)
    assert type(found) is {**KINDS, Verdict.SWEEP: StatementRefused}[decision.verdict]
    if isinstance(found, Outage):
        assert (found.reason, found.maybe_applied) == (decision.reason, True)
    elif isinstance(found, SweepFailure):
        assert found.reason == decision.reason
    else:
        assert isinstance(found, RowError)
        assert found.error == "Name"


@pytest.mark.parametrize("state", [*EVERY, "45000", "99999", "VIP01"])
def test_an_error_raised_by_a_trigger_is_a_row_error_for_any_code(state: str) -> None:
    assert isinstance(classify(state, "is a vip", "Name", function="exec_stmt_raise"), RowError)


def test_an_outage_raised_through_another_language_stays_an_outage() -> None:
    assert isinstance(classify("55P03", "text", "Name", function="PLy_elog_impl"), Outage)
    assert isinstance(classify("42501", "text", "Name", function="PLy_elog_impl"), RowError)


def test_a_refusal_of_row_level_security_is_its_rows_and_a_missing_grant_the_sweeps() -> None:
    assert isinstance(classify("42501", "text", "Name", function="ExecWithCheckOptions"), RowError)
    assert isinstance(classify("42501", "text", "Name", function="aclcheck_error"), StatementRefused)


def test_rows_without_an_identity_in_a_publication_fail_the_sweep_by_a_reason_of_their_own() -> None:
    found = [classify("55000", "text", "Name", function=each) for each in ("CheckCmdReplicaIdentity", "another", None)]
    assert [each.reason for each in found if isinstance(each, StatementRefused)] == [
        "NoReplicaIdentity",
        "NotPermittedNow",
        "NotPermittedNow",
    ]


def test_an_unlisted_code_is_a_row_error() -> None:
    assert isinstance(classify("45000", "text", "Name"), RowError)


def test_a_broken_connection_has_no_code() -> None:
    found = classify(None, "text", "Name", maybe_applied=True)
    assert isinstance(found, Outage)
    assert (found.reason, found.maybe_applied) == ("ConnectionLost", True)


def test_every_result_code_of_sqlite_is_decided() -> None:
    primary = {
        name
        for name, code in vars(sqlite3).items()
        if name.startswith("SQLITE_")
        and isinstance(code, int)
        and name in {"SQLITE_NOTICE", "SQLITE_WARNING", *PRIMARY}
    }
    assert primary == PRIMARY.keys()
    assert sorted(getattr(sqlite3, name) for name in PRIMARY) == [*range(1, 29)]
    assert [name for name in EXTENDED if not hasattr(sqlite3, name)] == []


@pytest.mark.parametrize("name", [*PRIMARY, *EXTENDED])
def test_an_sqlite_code_becomes_the_error_of_its_decision(name: str) -> None:
    decision = errors.decide(getattr(sqlite3, name), name)
    assert isinstance(classify_sqlite(sqlite_error(name)), KINDS[decision.verdict])


def test_an_extended_code_of_sqlite_is_decided_by_its_name_or_by_its_primary_code() -> None:
    for decisions in (PRIMARY, EXTENDED):
        assert {name: errors.decide(getattr(sqlite3, name), name) for name in decisions} == decisions
    assert errors.decide(sqlite3.SQLITE_BUSY_RECOVERY, "SQLITE_BUSY_RECOVERY") == PRIMARY["SQLITE_BUSY"]
    assert errors.decide(99, "SQLITE_OF_TOMORROW") == errors.UNKNOWN


def test_a_smaller_scope_helps_sqlite_only_against_a_timeout() -> None:
    names = ["SQLITE_INTERRUPT", "SQLITE_BUSY", "SQLITE_FULL"]
    assert [isinstance(classify_sqlite(sqlite_error(name)), ScopeOutage) for name in names] == [True, False, False]


def test_an_error_that_python_raises_for_sqlite_has_no_code_and_fails_the_sweep() -> None:
    found = classify_sqlite(sqlite3.ProgrammingError("You can only execute one statement at a time."))
    assert isinstance(found, SweepFailure)
    assert found.reason == "SqlInvalid"


def test_the_documented_codes_are_the_real_ones() -> None:
    documented = re.findall(r"^\| `(?:[0-9A-Z]{2}|[0-9A-Z]{5}|SQLITE_\w+)` \| .*$", DOCS, re.MULTILINE)
    assert documented == [*lines(CLASSES), *lines(CODES), *lines(PRIMARY), *lines(EXTENDED)]
