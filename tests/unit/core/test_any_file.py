"""Any content of a file is accepted or refused, and raises no other error."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kubesweep import SpecErrors, load
from tests.unit.core.spec_files import SECRET, refused, save, schedule


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(each for key, below in inner for each in places(below, (*path, key)))]


WHOLE = schedule(
    timeZone="UTC",
    mode="DryRun",
    match=[{"column": "a", "in": ["b"]}, {"column": "a", "isNull": True}, {"sql": "t.a = 1"}],
    effect={"columns": ["a"], "webhook": {"url": "http://a/", "headersFrom": {"secretRef": {"name": "db"}}}},
    write={"update": [{"column": "a", "value": "b"}]},
    limits={"batchRows": 1},
    retry={"backoff": "2s"},
    deadLetters={"retention": "1h"},
    worker={"image": "a", "env": [{"name": "a"}], "podTemplate": {}},
)


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["5s", "now", "a:b"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from([(0, *each) for each in places(WHOLE)] + [(1, *each) for each in places(SECRET)]), ANYTHING)
def test_anything_in_any_place_is_taken_or_refused_and_never_fails_otherwise(
    place: tuple[Any, ...], value: Any
) -> None:
    documents: Any = copy.deepcopy([WHOLE, SECRET])
    at = documents
    for step in place[:-1]:
        at = at[step]
    at[place[-1]] = value
    with tempfile.TemporaryDirectory() as folder:
        try:
            reported = load([save(Path(folder), *documents)])[0].plan.to_json()
        except SpecErrors as error:
            reported = str(error)
    assert reported
    assert "hunter2" not in reported


@settings(deadline=None, max_examples=150)
@given(st.text(alphabet="ab:-,[]{}&*!|>'\"%@#?~\n \t0.<=\\", max_size=40))
def test_any_text_is_read_or_refused_and_never_fails_otherwise(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sweep.yaml"
        file.write_text(text)
        assert refused(file).problems
