"""Answers of a webhook: each has one meaning for each row, and no message shows a secret or breaks a terminal."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

from hypothesis import strategies as st
from multidict import CIMultiDict

from kubesweep.errors import Outage, Reject, RetryAfter, RowError, Skip
from kubesweep.masking import masking
from kubesweep_worker.effects.base import BatchRefused, RowOutcome
from kubesweep_worker.effects.batch_results import row_results
from kubesweep_worker.effects.webhook_response import (
    MAX_RETRY_AFTER,
    MOST_READ,
    REDIRECTS,
    SHOWN,
    TRY_LATER,
    Answer,
    class_of,
    raise_for_response,
)
from tests.fuzz.damage import TEXTS, damaged_bytes, damaged_text, damaged_tree
from tests.fuzz.oracles import check_message
from tests.fuzz.target import Target

__all__ = ["TARGET"]

KEYS = ("0f3c", "9ab1", "77de")
SECRETS = ["Bearer +s3cret/t0ken==", "k3y--of  the   shop", "\\\\back\\slash", "ann:hunter2"]
NOW = 1_800_000_000.0
BODIES: list[Any] = [
    {"results": [{"idempotencyKey": key, "result": result} for key, result in zip(KEYS, ("success", "skip", "reject"), strict=True)]},
    {"results": [{"idempotencyKey": key, "result": "retry", "seconds": 1.5, "message": "later"} for key in KEYS]},
    {"results": [{"idempotencyKey": KEYS[0], "result": "success"}] * 2, "more": {}},
    {"ok": True},
    {"error": f"invalid token {SECRETS[0]}", "results": None},
]  # fmt: skip
NAMES = ["results", "idempotencyKey", "result", "seconds", "message", *KEYS]
HEADERS = {
    "Retry-After": ["5", " 10 ", "-1", "1e9", "99999999999999", "٣", "Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 21 Oct 99999 07:28:00 +9999", "soon", "0" * 5000],
    "Content-Encoding": ["gzip", "x-gzip", "deflate", " GZIP ", "br", "identity", "gzip, gzip"],
    "Location": ["https://other.example/x", "//x", "http://[::1", "http://a:99999/", "http://a\x1b[31m/", "http://" + "a" * 5000 + "/", f"http://{SECRETS[3]}@h/", "http://\u202e/"],
    "Content-Type": ["application/json", "text/html"],
}  # fmt: skip
RUNS = ["\\" * 400, " " * 400, "&#0" * 200, "%25" * 200, SECRETS[0][:9], "k3y" + " " * 300, *TEXTS]


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    text = json.dumps(draw(damaged_tree(BODIES, NAMES)))
    if draw(st.booleans()):
        text = draw(damaged_text([text, *SECRETS, "<html>no</html>", ""], RUNS))
    data = text.encode("utf-8", "surrogatepass") * draw(st.sampled_from((1, 1, 1, 1, 2, 60)))
    compressed = draw(st.integers(0, 5))
    data = gzip.compress(data) if compressed == 0 else zlib.compress(data) if compressed == 1 else data
    return draw(damaged_bytes([data])) if draw(st.booleans()) else data


@st.composite
def headers(draw: st.DrawFn) -> dict[str, str]:
    chosen = draw(st.lists(st.sampled_from(sorted(HEADERS)), max_size=3, unique=True))
    return {name: draw(damaged_text(HEADERS[name], most=1)) for name in chosen}


STATUS = st.sampled_from(
    [
        200,
        200,
        200,
        202,
        204,
        299,
        301,
        308,
        304,
        400,
        401,
        404,
        408,
        409,
        413,
        425,
        429,
        500,
        503,
        599,
        600,
        999,
        100,
        0,
    ]
)
CASES = st.fixed_dictionaries({"status": STATUS, "headers": headers(), "body": bodies(), "complete": st.booleans(), "rows": st.integers(1, 3)})  # fmt: skip
_MASK = masking(SECRETS)


def check(case: dict[str, Any]) -> None:
    answer = Answer(case["status"], CIMultiDict(case["headers"]), case["body"][:MOST_READ], case["complete"])
    assert class_of(answer.status) in ("2xx", "3xx", "4xx", "5xx", "429")
    error = _raised(answer)
    if 200 <= answer.status < 300:
        assert error is None
        _check_rows(KEYS[: case["rows"]], answer)
    elif answer.status in TRY_LATER or 500 <= answer.status < 600:
        assert isinstance(error, Outage)
        assert error.retry_after is None or 0 <= error.retry_after <= MAX_RETRY_AFTER
    else:
        assert isinstance(error, RowError)
        assert answer.status not in REDIRECTS or "effect.webhook.url" in str(error)
    if error is not None:
        _check_text(str(error))


def _raised(answer: Answer) -> Exception | None:
    try:
        raise_for_response(answer, NOW, _MASK)
    except (Outage, RowError) as error:
        return error
    return None


def _check_rows(keys: tuple[str, ...], answer: Answer) -> None:
    try:
        found = row_results(keys, answer, _MASK)
    except BatchRefused:
        assert len(keys) > 1
        return
    except Outage as error:
        _check_text(str(error))
        return
    assert list(found) == list(keys), "a row has no outcome, or more than one"
    for outcome in found.values():
        _check_outcome(outcome)


def _check_outcome(outcome: RowOutcome) -> None:
    if outcome is None or isinstance(outcome, Skip):
        return
    assert isinstance(outcome, RowError)
    assert outcome.error in ("Rejected", "RetryAfter", "ResultMissing", "ResultInvalid")
    assert isinstance(outcome, Reject | RetryAfter) or outcome.error.startswith("Result")
    assert outcome.retry_after is None or 0 <= outcome.retry_after < float("inf")
    _check_text(str(outcome))


def _check_text(text: str) -> None:
    check_message(text, "")
    assert len(text) <= SHOWN + 400, f"a message has {len(text)} characters"
    for secret in (
        "+s3cret/t0ken==",
        "k3y--of",
        "ann:hunter2",
    ):  # damage leaves other parts of them, which are no secrets
        assert secret not in text, "a message contains a secret"


TARGET = Target("answers", CASES, check)
