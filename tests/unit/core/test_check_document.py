"""The document of a check: it comes back from its JSON, decides the exit code, and says the same as text."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from kubesweep.check_document import (
    CheckDocument,
    CheckedEffect,
    CheckedStatements,
    CheckedTable,
    CheckError,
    CheckResult,
    CheckWarning,
    StaleCount,
    TriedWrite,
    as_fields,
    document_json,
    exit_code,
    parse_document,
    result_of,
    with_ticks,
)
from kubesweep.check_report import facts, plain_report, result_text, tried_text
from kubesweep.ticks import Cron, Every

NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z, a Friday
WARNING = CheckWarning(code="no-index", message="create the index")
FULL = CheckDocument(
    namespace="shop",
    name="carts",
    mode="Enforce",
    plan="5d1f",
    result=CheckResult.WARNINGS,
    origin="sweep.yaml:1",
    table=CheckedTable(
        name='"carts"', key=("region", "id"), rows_estimate=1200, session={"TimeZone": "UTC"}, children=("a child",)
    ),
    stale=StaleCount(rows=100_000, more=True, sample_keys=("42", '["eu","17"]')),
    effect=CheckedEffect(host="example.com", status=204),
    suspended=False,
    next_ticks=("2027-01-15T08:05:00Z",),
    time_zone="Europe/Berlin",
    tried=TriedWrite(rows=10, would_apply=10),
    warnings=(WARNING,),
    statements=CheckedStatements(
        plan="SELECT 1 FROM carts", stale="SELECT 2", write="UPDATE carts", query_plan="Seq Scan", rows_estimate=7
    ),
)
LEAST = CheckDocument(namespace="shop", name="carts", mode="DryRun", plan="5d1f", result=CheckResult.PASSED)
TEXT = """carts  sweep.yaml:1  Enforce
  table       "carts", about 1,200 rows, key (region, id)
  session     TimeZone UTC
  children    a child
  stale now   more than 100,000 rows, such as 42, ["eu","17"]
  effect      webhook to example.com, which answered OPTIONS with 204
  next ticks  Fri 2027-01-15 09:05:00 CET
  tried       10 rows written and rolled back: these rows stop matching
  ! no-index: create the index
  result  1 warning: read before the first sweep"""


def changed(document: CheckDocument, **fields: Any) -> CheckDocument:
    return msgspec.structs.replace(document, **fields)


@pytest.mark.parametrize("document", [FULL, LEAST, changed(LEAST, error=CheckError(message="no"))])
def test_a_document_comes_back_from_its_json(document: CheckDocument) -> None:
    text = document_json(document)
    assert text.startswith('{"kind":"CheckReport","')
    assert "\n" not in text
    assert parse_document(text) == document
    assert json.loads(text) == as_fields(document)


def test_fields_without_a_value_are_absent() -> None:
    expected = {"kind", "namespace", "name", "mode", "plan", "result"}
    assert as_fields(LEAST).keys() == expected
    assert as_fields(FULL)["stale"] == {"rows": 100_000, "more": True, "sampleKeys": ["42", '["eu","17"]']}
    assert as_fields(FULL)["table"]["rowsEstimate"] == 1200


@pytest.mark.parametrize(
    "line", ["", "working", '{"level": "info", "message": "x"}', "[]", document_json(LEAST).replace("CheckReport", "X")]
)
def test_any_other_line_is_no_document(line: str) -> None:
    assert parse_document(line) is None


def test_a_field_that_a_later_version_adds_is_ignored() -> None:
    assert parse_document(json.dumps({**as_fields(LEAST), "later": [1]})) == LEAST


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (CheckResult.PASSED, 0),
        (CheckResult.WARNINGS, 1),
        (CheckResult.FAILED, 1),
        (CheckResult.INVALID, 2),
        (CheckResult.UNREACHABLE, 3),
    ],
)
def test_the_result_decides_the_exit_code(result: CheckResult, code: int) -> None:
    assert exit_code(changed(LEAST, result=result)) == code


def test_a_write_that_would_not_work_counts_more_than_a_warning() -> None:
    assert result_of((), fails=False) is CheckResult.PASSED
    assert result_of((WARNING,), fails=False) is CheckResult.WARNINGS
    assert result_of((WARNING,), fails=True) is CheckResult.FAILED


def test_the_next_ticks_are_in_the_zone_of_the_schedule() -> None:
    found = with_ticks(LEAST, Cron("0 9 * * *", "Europe/Berlin"), NOW, suspended=False)
    assert found.next_ticks == ("2027-01-16T08:00:00Z", "2027-01-17T08:00:00Z", "2027-01-18T08:00:00Z")
    times = "Sat 2027-01-16 09:00:00 CET, Sun 2027-01-17 09:00:00 CET, Mon 2027-01-18 09:00:00 CET"
    assert facts(found) == [("next ticks", times)]
    every = with_ticks(LEAST, Every(3600.0), NOW, suspended=False)
    assert facts(every)[0][1].startswith("Fri 2027-01-15 09:00:00 UTC, ")


def test_a_schedule_that_never_fires_has_a_warning_unless_it_is_suspended() -> None:
    leap_day = Cron("0 0 29 2 *", "Etc/UTC")
    late = datetime(9900, 1, 1, tzinfo=UTC).timestamp()  # no later tick can be computed
    found = with_ticks(LEAST, leap_day, late, suspended=False)
    assert (found.result, found.warnings[0].code) == (CheckResult.WARNINGS, "never")
    assert facts(found) == [("next ticks", "never")]
    failed = with_ticks(changed(LEAST, result=CheckResult.FAILED), leap_day, late, suspended=False)
    assert failed.result is CheckResult.FAILED
    suspended = with_ticks(LEAST, leap_day, NOW, suspended=True)
    assert (suspended.result, suspended.warnings) == (CheckResult.PASSED, ())
    assert facts(suspended) == [("next ticks", "suspended")]


def test_the_plain_report_has_all_of_the_document() -> None:
    assert plain_report(FULL) == TEXT
    with_sql = plain_report(FULL, sql=True)
    for part in ("finds the next rows\n    SELECT 1\n    FROM carts", "writes them", "about 7 rows", "    Seq Scan"):
        assert part in with_sql


def test_what_is_not_known_is_not_said() -> None:
    assert plain_report(LEAST) == "carts  DryRun\n  result  no problem found"
    error = CheckError(reason="TableMissing", message="no table carts")
    failed = changed(LEAST, result=CheckResult.INVALID, error=error)
    assert plain_report(failed) == "carts  DryRun\n  result  TableMissing: no table carts"
    assert result_text(changed(failed, error=CheckError(message="no"))) == "no"


def test_text_of_a_database_cannot_control_a_terminal() -> None:
    evil = "x\x1b[2J\u202e"
    document = changed(FULL, warnings=(CheckWarning(code="trigger", message=evil),))
    assert not {"\x1b", "\u202e"} & set(plain_report(document) + document_json(document))
    assert parse_document(document_json(document)) == document


@pytest.mark.parametrize(
    ("tried", "text"),
    [
        (TriedWrite(rows=0), "no row is stale now, so there was nothing to try"),
        (TriedWrite(rows=10, still_stale=3), "3 of 10 rows would still match"),
        (TriedWrite(rows=1, refused=1), "1 of 1 row would stay unchanged"),
        (TriedWrite(rows=1, would_apply=1), "1 row written and rolled back: these rows stop matching"),
    ],
)
def test_a_tried_write_says_what_it_showed(tried: TriedWrite, text: str) -> None:
    assert tried_text(tried) == text
    document = changed(LEAST, tried=tried)
    assert document.fails == bool(tried.still_stale or tried.refused)
    assert (result_text(document) == "a sweep would not work: see above") == document.fails


def test_a_count_that_took_too_long_is_reported() -> None:
    assert ("stale now", "not counted: the count took longer than spec.source.statementTimeout") in facts(
        changed(FULL, stale=None)
    )
    handler = changed(LEAST, effect=CheckedEffect(handler="app:close"))
    assert facts(handler) == [("effect", "handler app:close, which can be called with (row, ctx)")]
    hook = changed(LEAST, effect=CheckedEffect(host="example.com"))
    assert facts(hook) == [("effect", "webhook to example.com, whose name resolves (--probe sends a request)")]
