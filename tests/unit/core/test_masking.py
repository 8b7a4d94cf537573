"""Secret header values are masked in any encoding."""

from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote, quote_plus

import pytest

from kubesweep.masking import masking, without_secret

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


@pytest.mark.parametrize("secret", ["e", "no", "key"])
def test_a_short_secret_is_masked_as_a_word_and_in_no_other_word(secret: str) -> None:
    text = "the connection of the keyword ended: code=42"
    assert masking([secret])(text) == without_secret(text, secret) == text
    assert masking([secret])(f"no such ({secret}): x={secret}.").count("***") >= 2
    assert without_secret(f"such ({secret}): x={secret}.", secret) == "such (***): x=***."


def test_a_longer_password_is_masked_inside_a_word_too() -> None:
    assert without_secret("xhunter2x and .*", "hunter2") == "x***x and .*"
    assert without_secret("a.b", ".*ab") == "a.b"
    assert without_secret("as it is", "") == "as it is"


def test_without_headers_nothing_is_masked() -> None:
    assert masking([])("as it is") == "as it is"
    assert masking([""])("as it is") == "as it is"


@pytest.mark.parametrize(
    "echo", ["t0k  en", "t0k en", "t0k+%20\\u0020en", "t0k &#32;&#x20;en", "t0k" + " " * 50 + "en"]
)
def test_blanks_in_a_row_match_any_number_of_them(echo: str) -> None:
    assert masking(["t0k  en"])(f"no {echo}!") == "no ***!"


def test_a_blank_that_is_written_as_plus_does_not_hide_a_plus_of_the_secret() -> None:
    assert masking(["t0k +en"])("no t0k++en t0k +en") == "no *** ***"


def test_a_secret_behind_many_escapes_is_masked() -> None:
    assert masking(["/s3cret"])("\\" * 7 + "/s3cret") == "***"
    assert "s3cret" not in masking(["/s3cret"])("\\" * 70 + "/s3cret")


@pytest.mark.parametrize(
    ("character", "echo"),
    [
        *(
            ("é", echo)
            for echo in ("\\u00e9", "\\\\u00e9", "\\xe9", "\\\\xE9", "&#233;", "&#000233;", "&#xE9;", "&#x0e9;")
        ),
        *(("é", echo) for echo in ("&eacute;", "%e9", "%25E9", "%C3%A9", "%25c3%25a9")),
        *(("/", echo) for echo in ("/", "\\/", "\\\\/", "%2F", "%252f", "&#47;", "&#x2f;", "\\u002f", "\\x2f")),
        *((" ", echo) for echo in (" ", "\t", "+", "%20", "\\ ")),
        *(("😀", echo) for echo in ("\\ud83d\\ude00", "\\\\uD83D\\\\uDE00", "%F0%9F%98%80", "&#128512;", "&#x1F600;")),
    ],
)
def test_each_spelling_of_a_character_is_found(character: str, echo: str) -> None:
    assert masking([f"t0{character}k3n"])(f"no t0{echo}k3n!") == "no ***!"


@pytest.mark.parametrize(
    ("value", "text", "shown"),
    [
        ("Bearer abcd", "abcd Bearer abcd", "*** ***"),
        ("Bearer abc", "abc Bearer abc", "abc ***"),
        ("Bearer", "Bearer", "***"),
        ("s3cret; abc=wxyz", "s3cret abc wxyz", "*** abc ***"),
        ("x1y2 hunter2", "hunter2 x1y2", "*** ***"),  # no scheme, because it is no word
        ("Bearer one two", "one two", "***"),  # the longest part first
        ("Bearer hunter2", base64.b64encode(b"hunter2").decode(), "***=="),
        ("x=hunter2", base64.b64encode(b"x=hunter2").decode(), "***"),
        ("Basic " + base64.b64encode(b"ann:abcd").decode(), "abcd ann:abcd", "*** ***"),
        ("Basic " + base64.b64encode(b"ann:abc").decode(), "abc ann:abc", "abc ***"),
        ("BASIC " + base64.b64encode(b"ann:hunter2").decode(), "hunter2", "***"),
        ("Basic not-base64!", "not-base64!", "***"),
        ("Basic YW5u!OmFiY2Q=", "abcd", "abcd"),
        ("Basic " + base64.b64encode(b"\xff\xfe\xfd").decode(), "/f79 //79", "/f79 ***"),
    ],
)
def test_parts_of_four_characters_or_more_are_masked_by_themselves(value: str, text: str, shown: str) -> None:
    assert masking([value])(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [("no 012", "no 012"), ("no 0123", "no ***"), ("no 01234567", "no ***"), ("0123", "***"), ("012345678", "***")],
)
def test_a_secret_that_is_cut_off_shows_less_than_four_characters(text: str, shown: str) -> None:
    assert masking(["0123456789"])(text) == shown


def test_a_secret_that_is_the_beginning_of_another_does_not_leave_the_end_of_it() -> None:
    assert masking(["Bearer hunt", "Bearer hunter2"])("hunter2 hunt") == "*** ***"
