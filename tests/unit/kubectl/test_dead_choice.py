"""Which dead letters a command is about, and how many there are by the status."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubectl_sweep.dead.choice import MAX_KEYS, count, make_choice, total
from kubectl_sweep.dead.letters_document import find_document, read_letters
from kubesweep.errors import SpecError


def schedule(*groups: tuple[str, int], dead: int = 0) -> dict[str, Any]:
    errors = [{"error": error, "count": number} for error, number in groups]
    return {"metadata": {"name": "carts"}, "status": {"errors": errors, "queue": {"dead": dead}}}


def test_without_a_filter_the_annotation_is_the_nonce_alone() -> None:
    assert make_choice(None, None).annotation("n1") == "n1"


def test_a_filter_is_an_object_with_only_the_fields_that_it_has() -> None:
    assert json.loads(make_choice("HTTP500", None).annotation("n1")) == {"nonce": "n1", "error": "HTTP500"}
    found = json.loads(make_choice(None, ["42", '["eu","17"]', "42"]).annotation("n1"))
    assert found == {"nonce": "n1", "keys": ["42", '["eu","17"]']}


def test_a_key_in_either_form_is_one_key() -> None:
    assert make_choice(None, ["42", '["42"]']).keys == ("42",)


def test_too_many_keys_are_refused_with_the_limit() -> None:
    with pytest.raises(SpecError, match="at most 1000") as refused:
        make_choice(None, [str(each) for each in range(MAX_KEYS + 1)])
    assert refused.value.code == "TooManyKeys"


def test_options_and_arguments_repeat_the_choice() -> None:
    choice = make_choice("a b", ["42"])
    assert choice.options == " --error 'a b' --key 42"
    assert choice.arguments == ["--error", "a b", "--key", "42"]


def test_the_status_counts_all_rows_and_those_of_one_error() -> None:
    body = schedule(("HTTP500", 3), ("Timeout", 2), dead=5)
    assert (total(body), count(body, make_choice(None, None)), count(body, make_choice("Timeout", None))) == (5, 5, 2)
    assert count(body, make_choice("Other", None)) == 0
    assert count(body, make_choice(None, ["1"])) is None
    many = schedule(*((f"E{number}", 1) for number in range(20)), dead=99)
    assert count(many, make_choice("Other", None)) is None  # it has only the 20 largest groups


LETTER = {
    "key": '["eu","17"]', "error": "HTTP500", "message": "Internal Server Error", "origin": "shop", "retrying": False,
    "attempts": [{"time": "2026-03-01T12:00:00Z", "error": "HTTP500", "message": "no"}], "lastTime": "2026-03-01T12:00:05Z",
}  # fmt: skip
DOCUMENT = {"schedule": {"namespace": "shop", "name": "carts", "uid": "u1"}, "total": 7, "letters": [LETTER]}


@pytest.mark.parametrize("indent", [None, 2])
def test_the_document_is_found_among_the_lines_of_a_log(indent: int | None) -> None:
    log = '{"level": "info", "message": "connected"}\n'
    found = find_document(f"{log}{json.dumps(DOCUMENT, indent=indent)}\n{log}", "letters")
    assert found == DOCUMENT
    letters = read_letters(DOCUMENT)
    assert (letters.total, letters.letters[0].key, letters.letters[0].error) == (7, ("eu", "17"), "HTTP500")
    assert [each.message for each in letters.letters[0].attempts] == ["no"]


@given(text=st.text())
def test_any_output_is_read(text: str) -> None:
    assert find_document(text, "letters") is None or "letters" in text


@given(
    entry=st.dictionaries(
        st.sampled_from(["key", "error", "attempts", "lastTime"]),
        st.none()
        | st.integers()
        | st.text()
        | st.lists(st.none() | st.dictionaries(st.text(), st.text(), max_size=2), max_size=2),
    )
)
def test_a_letter_of_any_shape_can_be_shown(entry: dict[str, Any]) -> None:
    (letter,) = read_letters({"letters": [entry]}).letters
    assert letter.attempts
