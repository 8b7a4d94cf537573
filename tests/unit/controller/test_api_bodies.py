"""The API server reads request bodies as JSON or, for an apply, as YAML. Both must have the same meaning."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kubesweep_controller.kube.client import encoded

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
BODIES = st.recursive(TEXTS, lambda inside: st.lists(inside) | st.dictionaries(TEXTS, inside), max_leaves=8)


@given(body=BODIES)
def test_a_body_is_the_same_as_json_and_as_yaml(body: Any) -> None:
    assert json.loads(encoded(body)) == body
    assert yaml.load(encoded(body), yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader) == body


@pytest.mark.parametrize("text", ["\U0001f600", "\x7f", "\x85", "\x9f", "\ufeff", "\uffff", "\x00", "\u2028", '"\\"'])
def test_characters_that_one_of_the_two_does_not_take_as_they_are(text: str) -> None:
    assert json.loads(encoded({text: text})) == {text: text}
    assert yaml.safe_load(encoded({text: text})) == {text: text}


def test_half_of_a_surrogate_pair_is_no_character() -> None:
    assert yaml.safe_load(encoded("a\ud83db")) == json.loads(encoded("a\ud83db")) == "a\ufffdb"
