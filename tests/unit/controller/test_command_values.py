"""The values of commands: a nonce, or an object with a filter. What is not understood completely acts on nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesweep.queue.model import plain_key
from kubesweep_controller.status.command_values import MAX_KEYS, MAX_NONCE, MAX_VALUE, CommandValue, read_value

FILTER = ("error", "keys")
TEXTS = st.text(max_size=20)
KEYS = st.lists(TEXTS, min_size=1, max_size=3).map(tuple)


def read(**fields: Any) -> CommandValue:
    return read_value(json.dumps(fields), FILTER)


@pytest.mark.parametrize("text", ["1800000000", "fixed it", '"a"', "[1]", "", "null", "a{b}"])
def test_a_plain_text_is_a_nonce_without_a_filter(text: str) -> None:
    assert read_value(text, FILTER) == CommandValue(text)


def test_a_plain_text_counts_up_to_a_limit() -> None:
    assert read_value("a" * 2000, FILTER) == CommandValue("a" * 1024)


def test_a_command_without_a_filter_takes_each_text_as_it_is() -> None:
    assert read_value('{"nonce": "1"}', ()) == CommandValue('{"nonce": "1"}')


def test_an_object_has_a_nonce_and_what_the_command_acts_on() -> None:
    assert read(nonce="1") == CommandValue("1")
    assert read(nonce="1", error="Http500") == CommandValue("1", error="Http500")
    keys = (("42",), ("eu", "17"))
    assert read(nonce="1", keys=["42", '["eu", "17"]', '["42"]']) == CommandValue("1", keys=keys)
    assert read_value(' {"nonce": "1", "sweep": "5b1f"}', ("sweep",)) == CommandValue("1", sweep="5b1f")


@given(st.lists(KEYS, min_size=1, max_size=5, unique=True))
def test_a_key_as_people_see_it_is_read_back(keys: list[tuple[str, ...]]) -> None:
    assert read(nonce="1", keys=list(map(plain_key, keys))).keys == tuple(keys)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"nonce": "1", "key": ["42"]}, 'the field "key" does not exist: it has nonce, error and keys; did you mean "keys"?'),
        ({"nonce": "1", "Error": "E"}, 'the field "Error" does not exist'),
        ({"nonce": "1", "sweep": "5b1f"}, 'the field "sweep" does not exist'),
        ({"error": "E"}, "nonce must be a text of 1 to 253 characters"),
        ({"nonce": ""}, "nonce must be"),
        ({"nonce": 1}, "nonce must be"),
        ({"nonce": "a" * (MAX_NONCE + 1)}, "nonce must be"),
        ({"nonce": "1", "error": None}, "error must be a text of 1 to 1,024 characters"),
        ({"nonce": "1", "error": ""}, "error must be"),
        ({"nonce": "1", "error": ["E"]}, "error must be"),
        ({"nonce": "1", "keys": []}, "keys must be a list of 1 to 1,000 keys: to select all rows, leave it out"),
        ({"nonce": "1", "keys": None}, "keys must be a list"),
        ({"nonce": "1", "keys": "42"}, "keys must be a list"),
        ({"nonce": "1", "keys": ["1"] * (MAX_KEYS + 1)}, "keys must be a list"),
        ({"nonce": "1", "keys": ["1", 2]}, 'keys[1] must be a text, such as "42"'),
        ({"nonce": "1", "keys": [["eu", "17"]]}, "keys[0] must be a text"),
    ],
)  # fmt: skip
def test_an_object_that_is_not_understood_is_refused_with_the_field(fields: dict[str, Any], problem: str) -> None:
    value = read(**fields)
    assert value.problem.startswith(problem)
    assert (value.error, value.keys, value.sweep) == (None, None, None)


@pytest.mark.parametrize(
    "text", ["{", "{}}", '{"nonce": "1"', "{nonce: 1}", "{ please", '{"nonce": "1"} again', '{"a":' * 30_000]
)
def test_what_begins_like_an_object_and_is_none_is_refused(text: str) -> None:
    value = read_value(text[:MAX_VALUE], FILTER)
    assert value.problem == "it begins with { and is not a JSON object: correct the JSON"
    assert value.nonce.startswith("sha256:")


@pytest.mark.parametrize("before", ["'", '"', "`", "[", "\ufeff", " '", "\u201c", "[ "])
def test_an_object_in_quotes_acts_on_nothing(before: str) -> None:
    """cmd.exe leaves the quotes of a POSIX shell."""
    value = read_value(before + '{"nonce": "1", "error": "Http500"}' + before, FILTER)
    assert value.problem == "it is a JSON object in quotes or brackets: set the object without them"
    assert value.nonce.startswith("sha256:")


def test_a_value_that_is_too_long_is_not_read() -> None:
    value = read(nonce="1", keys=["1" * MAX_VALUE])
    assert value.problem.startswith("it has 100,0")
    assert value.problem.endswith(" characters, and at most 100,000 are read: name fewer keys")


def test_two_values_without_a_nonce_are_two_commands() -> None:
    one, two = (read(error="E" * length) for length in (2000, 2001))
    assert one.nonce != two.nonce
    assert one == read(error="E" * 2000)
    assert read(nonce="1", key=1).nonce == "1"


@given(st.text(max_size=60) | st.dictionaries(st.sampled_from(["nonce", "error", "keys", "x"]), st.none() | TEXTS | st.lists(TEXTS)).map(json.dumps))  # fmt: skip
def test_any_value_is_a_command_or_a_problem(text: str) -> None:
    value = read_value(text, FILTER)
    assert len(value.nonce) <= 1024
    assert value.nonce or not text
    if text.lstrip().startswith("{") and not value.problem:
        assert json.loads(text)["nonce"] == value.nonce
        assert json.loads(text).keys() <= {"nonce", *FILTER}
