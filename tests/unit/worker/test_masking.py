"""Secret header values are masked in any encoding."""

from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote, quote_plus

import pytest

from kubesweep_worker.effects.masking import masking

SECRET = 'h"unter2/<&é 77'


@pytest.mark.parametrize(
    "echo",
    [
        SECRET,
        SECRET.upper(),
        json.dumps(SECRET),
        json.dumps(SECRET).replace("/", "\\/"),
        json.dumps(json.dumps(SECRET)),
        json.dumps(SECRET).replace("<", "\\u003c").replace("&", "\\u0026"),
        "".join(f"\\u{ord(character):04x}" for character in SECRET),
        quote(SECRET.encode("latin-1"), safe=""),
        quote_plus(SECRET.encode("latin-1")),
        quote(quote(SECRET.encode("latin-1"), safe=""), safe=""),
        html.escape(SECRET),
        "".join(f"&#{ord(character)};" for character in SECRET),
        base64.b64encode(f"Bearer {SECRET}".encode()).decode(),
    ],
)
def test_a_secret_is_masked_in_whatever_way_it_is_escaped(echo: str) -> None:
    shown = masking([f"Bearer {SECRET}"])(f"cannot use {echo} here")
    assert "unter2" not in shown.lower()
    assert "cannot use" in shown
    assert "***" in shown
    assert "here" in shown


def test_a_token_a_cookie_and_a_password_are_masked_without_the_header_around_them() -> None:
    login = base64.b64encode(b"ann:hunter2").decode()
    mask = masking(["Bearer t0ken", "session=abcdef; lang=en", f"Basic {login}"])
    assert mask("t0ken abcdef hunter2 Bearer en") == "*** *** *** Bearer en"


def test_a_secret_that_the_end_of_the_text_cuts_off_is_masked() -> None:
    assert masking(["Bearer 0123456789"])("denied: 012345") == "denied: ***"


def test_without_headers_nothing_is_masked() -> None:
    assert masking([])("as it is") == "as it is"
    assert masking([""])("as it is") == "as it is"
