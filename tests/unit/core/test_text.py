"""Text from outside: nothing of it reaches a terminal, a log or the API server as anything but text, whatever it holds and wherever it is cut."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesweep.text import CUT, LONGEST, clip, clip_bytes, escaped, printable

# Control characters, marks of direction and halves of surrogate pairs come often, and so does what is written with several code points.
HOSTILE = "\0\x1b\x07\x7f\x85\x9b\r\n\t\u061c\u200e\u2028\u2029\u202a\u202e\u2066\u2069\ud800\udfff"
JOINED = "é\u0301\u0489\u200d\ufe0f👩🏽🇩🇪\u1160각"
TEXTS = st.text(st.sampled_from(HOSTILE + JOINED) | st.characters(codec=None))
PEOPLE = {
    "a letter with marks": "e\u0301\u0328",
    "a family": "👩\u200d👩\u200d👧",
    "a tone of skin": "👋🏽",
    "a flag": "🇩🇪",
    "a heart in red": "❤\ufe0f",
    "a syllable of Korean in parts": "\u1112\u1161\u11ab",
    "a letter of Devanagari": "नि",
}


def harmful(text: str) -> list[str]:
    """By what Unicode says of each character: written apart from the list in the product."""
    return [
        each
        for each in text
        if (unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp") and each not in "\n\t")
        or unicodedata.bidirectional(each) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
        or each in "\u061c\u200e\u200f"
    ]


@given(TEXTS)
def test_what_would_move_a_cursor_or_turn_a_line_around_is_replaced_and_the_rest_stays(text: str) -> None:
    shown = printable(text)
    assert harmful(shown) == []
    assert len(shown) == len(text)
    assert [new for old, new in zip(text, shown, strict=True) if not harmful(old)] == [
        old for old in text if not harmful(old)
    ]
    assert printable(shown) == shown
    shown.encode()


def test_lines_of_windows_are_lines() -> None:
    assert printable("one\r\ntwo\rthree") == "one \ntwo\ufffdthree"


@given(st.recursive(TEXTS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner)))
def test_json_with_escapes_says_the_same(value: object) -> None:
    plain = json.dumps(value, ensure_ascii=False)
    assert json.loads(escaped(plain)) == value
    assert harmful(escaped(plain)) == []
    assert escaped(escaped(plain)) == escaped(plain)


@given(TEXTS, st.integers(0, 60))
def test_what_fits_stays_and_what_is_cut_says_so(text: str, most: int) -> None:
    whole = printable(text)
    for cut, size in ((clip(text, most), len), (clip_bytes(text, most), lambda each: len(each.encode()))):
        assert size(cut) <= most
        if size(whole) <= most:
            assert cut == whole
        else:
            assert cut.endswith(CUT[:most])
            assert whole.startswith(cut.removesuffix(CUT[:most]))
    assert clip(clip(text, most), most) == clip(text, most)
    assert clip_bytes(clip_bytes(text, most), most) == clip_bytes(text, most)


@pytest.mark.parametrize("shown", PEOPLE.values(), ids=PEOPLE.keys())
@pytest.mark.parametrize("cut", [clip, clip_bytes])
def test_no_cut_leaves_a_part_of_what_a_person_sees_as_one(shown: str, cut: Callable[[str, int], str]) -> None:
    text = f"a{shown * 30}"
    begun = {cut(text, most).removesuffix(CUT) for most in range(len(CUT) + 1, len(text))}
    assert begun <= {f"a{shown * number}" for number in range(31)}
    assert len(begun) > 5


def test_one_character_without_end_is_cut_inside() -> None:
    text = "a" + "\u0301" * 5000
    assert len(clip(text, 1024)) == 1024
    assert 1024 - LONGEST < len(clip_bytes(text, 1024).encode()) <= 1024


def test_russian_is_measured_as_its_reader_measures_it() -> None:
    note = "Строка отклонена. " * 38
    assert len(note) == 684
    assert clip(note, 1024) == note
    assert 1020 < len(clip_bytes(note, 1024).encode()) <= 1024


def test_a_large_text_costs_what_is_kept_of_it() -> None:
    assert clip("\r" * 100_000_000, 1000) == "\ufffd" * 997 + CUT
