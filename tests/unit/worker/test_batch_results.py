"""What each answer to a request for many rows means for each row."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from kubesweep.errors import Outage, Reject, RetryAfter, RowError, Skip
from kubesweep.masking import masking
from kubesweep_worker.effects.base import BatchRefused, RowOutcome
from kubesweep_worker.effects.batch_results import row_results
from kubesweep_worker.effects.webhook_response import MOST_READ, Answer

KEYS = ("a", "b")


def outcomes(body: bytes, keys: tuple[str, ...] = KEYS, encoding: str = "", complete: bool = True) -> list[RowOutcome]:
    answer = Answer(200, {"Content-Encoding": encoding} if encoding else {}, body, complete)
    found = row_results(keys, answer, masking(["hunter2"]))
    return [found[key] for key in keys]


def outcome(**entry: Any) -> RowOutcome:
    (found,) = outcomes(json.dumps({"results": [{"idempotencyKey": "a", **entry}]}).encode(), ("a",))
    return found


def code(found: RowOutcome) -> str:
    return found.error if isinstance(found, RowError) else type(found).__name__


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \r\n",
        b"<html>fine</html>",
        b'["results"]',
        b'{"ok": true}',
        b'{"results": [',
        b"\xff\xfe",
        b'{"a": ' + b"[" * 20_000,
        b"results " * 20_000,
    ],
    ids=lambda body: repr(body[:12]),
)
def test_a_success_without_results_is_that_of_every_row(body: bytes) -> None:
    assert outcomes(body) == [None, None]


def test_each_entry_decides_about_its_own_row() -> None:
    assert outcome(result="success", seconds="x") is None
    assert isinstance(outcome(result="skip"), Skip)
    rejected, retried, at_once = outcome(result="reject", message="no\nsuch cart"), outcome(result="retry", seconds=1.5), outcome(result="retry")  # fmt: skip
    assert isinstance(rejected, Reject)
    assert str(rejected) == "no such cart"
    assert isinstance(retried, RetryAfter)
    assert (retried.error, retried.retry_after, str(retried)) == ("RetryAfter", 1.5, "the receiver asked for a retry")
    assert isinstance(at_once, RetryAfter)
    assert not at_once.retry_after


def test_a_row_that_results_do_not_name_failed_and_the_others_did_not() -> None:
    body = {
        "results": [{"idempotencyKey": "b", "result": "success"}, {"idempotencyKey": "z"}, 5, {"idempotencyKey": []}]
    }
    missing, named = outcomes(json.dumps(body).encode())
    assert named is None
    assert code(missing) == "ResultMissing"
    assert str(missing) == (
        "the receiver's results do not name this row's idempotencyKey; 3 of 4 entries name no row of the request"
    )
    assert [code(each) for each in outcomes(b'{"results": []}')] == ["ResultMissing"] * 2


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({}, "result must be one of success, skip, reject, retry; given: missing"),
        ({"result": "hunter2"}, "result must be one of success, skip, reject, retry; given: ***"),
        ({"result": ["skip"]}, "result must be one of success, skip, reject, retry; given: ['skip']"),
        ({"result": "reject", "message": 5}, "message must be text"),
        ({"result": "retry", "seconds": -1}, "seconds must be a number that is not negative"),
        ({"result": "retry", "seconds": "5"}, "seconds must be a number that is not negative"),
        ({"result": "retry", "seconds": True}, "seconds must be a number that is not negative"),
        ({"result": "retry", "seconds": 10**400}, "seconds must be a finite number"),
    ],
)
def test_a_malformed_entry_fails_its_row_and_says_why(entry: dict[str, Any], why: str) -> None:
    found = outcome(**entry)
    assert code(found) == "ResultInvalid"
    assert str(found) == f"the receiver's result of this row cannot be used: {why}"


def test_two_entries_for_one_row_fail_it() -> None:
    twice = [{"idempotencyKey": "a", "result": each} for each in ("success", "reject")]
    first, other = outcomes(json.dumps({"results": [*twice, {"idempotencyKey": "b", "result": "skip"}]}).encode())
    assert str(first) == "the receiver's result of this row cannot be used: it has 2 entries"
    assert isinstance(other, Skip)


@pytest.mark.parametrize("results", ["null", "{}", '"ok"', "3"])
def test_results_that_are_not_a_list_fail_every_row(results: str) -> None:
    found = outcomes(f'{{"results": {results}}}'.encode())
    assert [(code(each), str(each)) for each in found] == [
        ("ResultInvalid", "the receiver answered 200, but its results are not a list")
    ] * 2


def test_a_secret_in_a_message_is_masked_before_the_message_is_shortened() -> None:
    found = outcome(result="reject", message="x" * 196 + "hunter2" + "y" * 100)
    assert "hun" not in str(found)
    assert len(str(found)) == 200


def test_results_may_have_a_byte_order_mark_and_be_compressed() -> None:
    body = b'\xef\xbb\xbf {"results": [{"idempotencyKey": "a", "result": "skip"}]}'
    assert isinstance(outcomes(body, ("a",))[0], Skip)
    assert isinstance(outcomes(gzip.compress(body), ("a",), "gzip")[0], Skip)


@pytest.mark.parametrize("body", [b"", b'{"results": [{"idem'])
def test_an_answer_that_broke_off_is_an_outage_and_no_success(body: bytes) -> None:
    with pytest.raises(Outage, match="broke off, so its results are unknown"):
        outcomes(body, complete=False)
    assert outcomes(b"<html>", complete=False) == [None, None]


@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_an_answer_that_is_too_long_to_read_is_asked_for_again_row_by_row(encoding: str) -> None:
    body = b'{"results": [' + b" " * MOST_READ
    body = gzip.compress(body) if encoding else body
    with pytest.raises(BatchRefused):
        outcomes(body, encoding=encoding, complete=False)
    (found,) = outcomes(body, ("a",), encoding, complete=False)
    assert code(found) == "ResultInvalid"
    assert "more than 65536 bytes" in str(found)
