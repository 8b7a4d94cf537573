"""Signatures of Standard Webhooks, and the id of a request for many rows."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import re

import pytest

from kubesweep.api.secret_values import check_signing_secrets, signing_key
from kubesweep_worker.effects.signature import signature, webhook_id

# The values that the libraries of https://www.standardwebhooks.com test themselves with.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID, TIMESTAMP, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SIGNED = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_signature_is_that_of_the_reference_libraries() -> None:
    assert signature([SECRET], ID, TIMESTAMP, BODY) == SIGNED


def test_each_secret_signs_and_one_without_the_prefix_is_its_own_text() -> None:
    key = "a plain password".replace(" ", "-")
    digest = hmac.new(key.encode(), f"{ID}.{TIMESTAMP}.".encode() + BODY, hashlib.sha256).digest()
    plain = f"v1,{base64.b64encode(digest).decode()}"
    assert signature([SECRET, key], ID, TIMESTAMP, BODY) == f"{SIGNED} {plain}"


@pytest.mark.parametrize(("id_", "at", "body"), [("x", TIMESTAMP, BODY), (ID, 0, BODY), (ID, TIMESTAMP, b"{}")])
def test_id_time_and_body_are_signed(id_: str, at: int, body: bytes) -> None:
    assert signature([SECRET], id_, at, body) != SIGNED


def test_the_id_depends_on_the_set_of_rows_and_not_on_their_order() -> None:
    keys = ["b", "a", "c"]
    assert {webhook_id(order) for order in itertools.permutations(keys)} == {webhook_id(keys)}
    assert len({webhook_id(["a", "b"]), webhook_id(["a", "c"]), webhook_id(keys), webhook_id(["ab", ""])}) == 4
    assert webhook_id(["a"]) == "a"


def test_secrets_are_separated_by_blanks_or_lines() -> None:
    assert check_signing_secrets(f" {SECRET}\nold secret\n") == (SECRET, "old", "secret")
    assert signing_key("old") == b"old"
    assert len(signing_key(SECRET)) == 24


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (" \n", "no signing secret: write whsec_ and the base64 of 24 to 64 random bytes"),
        ("whsec_", "signing secret 1 of 1 is not base64 after whsec_: write whsec_ and the base64 of 24 to 64 random bytes"),
        (f"{SECRET} whsec_hunter2!", "signing secret 2 of 2 is not base64 after whsec_: write whsec_ and the base64 of 24"),
        ("whsk_hunter2", "signing secret 1 of 1 is a key of an asymmetric signature, which is not supported: write one"),
        ("hunter2 " * 9, "more than 8 signing secrets: keep the current one and its successor"),
    ],
)  # fmt: skip
def test_an_unusable_secret_is_refused_and_not_shown(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)) as caught:
        check_signing_secrets(text)
    assert "hunter2" not in str(caught.value)
