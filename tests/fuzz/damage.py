"""Hostile values, and damage to valid inputs: to trees of plain data, to texts and to bytes.

Random bytes rarely get past the first check of a parser. So each input starts from a valid one, of which a few parts are changed.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

__all__ = ["LEAVES", "PASSWORD", "TEXTS", "VALUES", "damaged_bytes", "damaged_text", "damaged_tree", "places"]

PASSWORD = "hunter2"  # the password of every base; no message may contain it
Path = tuple[str | int, ...]
MOST = 50_000  # values of a tree: an API server takes no object of more than about a megabyte

TEXTS = [
    "", " ", "\0", "\n", "\r\n", "\x1b[31m", "\x7f", "\x85", "\u202e", "\u2028", "\ufeff", "\ufffd", "\U0001f468\u200d\U0001f469",
    "a" * 70, "a" * 300, "é" * 1100, "now", "now-5s", "now-", "5s", "5", "-5s", "99999999d", "007", "1_000", "0x1F", "1e3", "1:30", "٣", "²",
    "null", "~", "true", "yes", "2026-01-01", "$(HOME)", "$$", "%s", "{}", "[]", "a.b:c", ".", "..", "/", "//", "a/b", "*", "&a", "!x", "'", '"',
    "\\", "`", "--", ";", ":cutoff", "℀", "ﬀ", "ß", "İ", "xn--a", "-a", "a-", "http://a/", "https://[::1]:8443/x", "postgresql://a@b/c", "UTC",
    "Europe/Berlin", "Mars/Phobos", "DryRun", "worker", "producer", "database", "/run/kubesweep/database", "1Gi", "512MB", "kubesweep.dev/trigger",
]  # fmt: skip
NUMBERS = [0, -1, 1, 2, 1000, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 2**64, 10**30, 0.1, -0.0, 1e15, 1e308, -1e308]
LEAVES = st.sampled_from([None, True, False, *NUMBERS, *TEXTS]) | st.text(max_size=4) | st.integers()
VALUES: st.SearchStrategy[Any] = LEAVES | st.sampled_from(
    [[], {}, [None], [[]], [{}], {"": None}, {"a": {}}, {"name": "x"}, [{"name": "worker"}]]
)


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """The paths of everything in a tree, without that of the tree itself."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, below in inner:
        yield (*path, step)
        yield from places(below, (*path, step))


@st.composite
def damaged_tree(draw: st.DrawFn, bases: Sequence[Any], names: Sequence[str] = (), most: int = 4) -> Any:
    """One of ``bases`` with up to ``most`` changes. ``names``: keys that a change may give to a value."""
    tree = copy.deepcopy(draw(st.sampled_from(bases)))
    for _ in range(draw(st.integers(0, most))):
        known = list(places(tree))
        if known:
            _change(draw, tree, draw(st.sampled_from(known)), names or ("name",))
    return tree


def _change(draw: st.DrawFn, tree: Any, path: Path, names: Sequence[str]) -> None:
    *above, last = path
    place = tree
    for step in above:
        place = place[step]
    what = draw(st.sampled_from(("replace", "replace", "text", "delete", "rename", "add", "wrap", "nest", "repeat")))
    value = place[last]
    if what == "replace":
        place[last] = copy.deepcopy(draw(VALUES))  # a later change may be inside of it
    elif what == "text":
        place[last] = draw(damaged_text([value if isinstance(value, str) else str(value)[:200]]))
    elif what == "delete":
        del place[last]
    elif what in ("rename", "add") and isinstance(place, dict):
        key = draw(st.sampled_from((*names, *TEXTS)) | st.text(max_size=4))
        place[key] = place.pop(last) if what == "rename" else copy.deepcopy(draw(VALUES))
    elif what == "wrap":
        place[last] = [value] if draw(st.booleans()) else {draw(st.sampled_from((*names, "a"))): value}
    elif what == "nest":
        for _ in range(draw(st.sampled_from((3, 40, 63, 64, 65, 130)))):
            value = [value] if draw(st.booleans()) else {"a": value}
        place[last] = value
    elif what == "repeat":
        size = min(draw(st.sampled_from((2, 3, 33, 300))), max(1, MOST // (1 + len(list(places(tree))))))
        place[last] = [copy.deepcopy(value) for _ in range(size)] if size < 33 else [value] * size


@st.composite
def damaged_text(draw: st.DrawFn, bases: Sequence[str], tokens: Sequence[str] = TEXTS, most: int = 3) -> str:
    """One of ``bases`` in which parts are removed, repeated, moved or replaced by ``tokens``."""
    text = draw(st.sampled_from(bases))
    for _ in range(draw(st.integers(0, most))):
        at = draw(st.integers(0, len(text)))
        end = min(len(text), at + draw(st.sampled_from((0, 0, 1, 1, 2, 5, 40))))
        what = draw(st.sampled_from(("insert", "insert", "replace", "delete", "repeat", "move")))
        part = text[at:end]
        if what == "insert":
            text = text[:at] + draw(st.sampled_from(tokens)) + text[at:]
        elif what == "replace":
            text = text[:at] + draw(st.sampled_from(tokens)) + text[end:]
        elif what == "delete":
            text = text[:at] + text[end:]
        elif what == "repeat":
            text = text[:end] + part * draw(st.sampled_from((1, 2, 50))) + text[end:]
        else:
            rest, to = text[:at] + text[end:], draw(st.integers(0, max(0, len(text) - len(part))))
            text = rest[:to] + part + rest[to:]
    return text


@st.composite
def damaged_bytes(draw: st.DrawFn, bases: Sequence[bytes]) -> bytes:
    """One of ``bases`` with some bytes changed, removed or added."""
    data = bytearray(draw(st.sampled_from(bases)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        what = draw(st.sampled_from(("insert", "flip", "cut", "zero")))
        if what == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=6))
        elif what == "flip" and at < len(data):
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif what == "cut":
            del data[at : at + draw(st.sampled_from((1, 4, 10**6)))]
        elif what == "zero":
            data[at : at + 4] = b"\0" * len(data[at : at + 4])
    return bytes(data)
