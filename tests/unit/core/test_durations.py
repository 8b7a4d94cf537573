from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kubesweep.durations import MAX_LENGTH, PATTERN, UNITS, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("300ms", 0.3),
        ("2s", 2.0),
        ("30m", 1800.0),
        ("24h", 86400.0),
        ("7d", 604800.0),
        ("1h30m", 5400.0),
        ("1d2h3m4s5ms", 93784.005),
        ("90m", 5400.0),
        ("0s", 0.0),
        ("007s", 7.0),
    ],
)
def test_a_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is missing"),
        ("5", "has no unit"),
        ("-5s", "is negative"),
        ("1.5h", "has a fraction"),
        ("5 s", "is not a duration"),
        ("5S", "is not a duration"),
        ("30m1h", "largest unit first"),
        ("1h1h", "is not a duration"),
        ("5s\n", "is not a duration"),
        ("\u0665s", "is not a duration"),
        ("1w", "is not a duration"),
        ("inf", "is not a duration"),
        ("9" * 5000 + "s", "is not a duration"),
        ("9" * 5000, "has no unit"),
    ],
)
def test_what_is_no_duration_is_refused_with_advice(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        parse_duration(text)
    assert len(str(caught.value)) < 200


@given(st.integers(0, 10**15))
@example(0)
def test_a_duration_is_the_sum_of_its_parts(milliseconds: int) -> None:
    rest, parts = milliseconds, []
    for unit, size in UNITS.items():
        number, rest = divmod(rest, size)
        parts += [f"{number}{unit}"] if number else []
    text = "".join(parts) or "0s"
    if len(text) <= MAX_LENGTH and milliseconds < 999_999 * 86_400_000:
        assert round(parse_duration(text) * 1000) == milliseconds


@given(st.text(alphabet="0123456789dhms.- \n", max_size=MAX_LENGTH + 5))
def test_reading_and_the_pattern_for_the_cluster_agree(text: str) -> None:
    allowed = 0 < len(text) <= MAX_LENGTH and re.fullmatch(PATTERN, text) is not None and text[-1:] != "\n"
    try:
        parse_duration(text)
    except ValueError:
        assert not allowed
    else:
        assert allowed
