"""Makes text from outside (databases, receivers, handlers, the queue) safe for terminals, logs and the API server.

A row's error message may contain escape sequences, so every such text passes one of these functions. They replace the characters
that move a cursor, change colours or reverse the direction of a line. All functions are idempotent.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable

__all__ = [
    "MAX_TEXT",
    "as_sentence",
    "clip",
    "clip_bytes",
    "did_you_mean",
    "escaped",
    "nearest_name",
    "printable",
    "unexpandable",
]

CUT = "..."
MAX_TEXT = 1024  # characters of a text from outside that is kept: a message, an identifier, a value
REPLACEMENT = "\ufffd"
LONGEST = 32  # code points of one visible character; a longer one may be cut
# Control characters except tab and newline, direction marks, line separators, and halves of surrogate pairs.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_JOINER = "\u200d"
_CONTINUES = re.compile("[\u200c\u200d\u1160-\u11ff\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]")
_FLAG = re.compile("[\U0001f1e6-\U0001f1ff]")  # two of them are a flag


def printable(text: str) -> str:
    """The text with U+FFFD for each character that is unsafe for a terminal or another program."""
    return _UNPRINTABLE.sub(_replacement, text)


def escaped(json: str) -> str:
    """The JSON with escapes for the characters that :func:`printable` replaces. It decodes to the same value."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", json)


def unexpandable(json: str) -> str:
    """The JSON with escapes for dollars, for a variable of a pod, where Kubernetes expands ``$(NAME)`` and ``$$``."""
    return json.replace("$", "\\u0024")


def clip(text: str, most: int) -> str:
    """The printable text, at most ``most`` characters. A text that was cut ends with dots."""
    text = printable(text[: most + 1])
    return text if len(text) <= most else _begin(text, most - len(CUT)) + CUT[:most]


def clip_bytes(text: str, most: int) -> str:
    """The printable text, at most ``most`` bytes of UTF-8, for receivers whose limit is in bytes."""
    text = printable(text[: most + 1])
    data = text.encode()
    if len(data) <= most:
        return text
    fits = data[: max(0, most - len(CUT))].decode(errors="ignore")
    return _begin(text, len(fits)) + CUT[:most]


def _replacement(found: re.Match[str]) -> str:
    ends_a_line = found[0] == "\r" and found.string.startswith("\n", found.end())
    return " " if ends_a_line else REPLACEMENT


def _begin(text: str, length: int) -> str:
    """At most the first ``length`` characters, not ending inside an accented letter, an emoji or a flag."""
    length = max(0, length)
    for end in range(length, max(0, length - LONGEST), -1):
        if not _continues(text, end):
            return text[:end]
    return text[:length]


def _continues(text: str, at: int) -> bool:
    """True if the character belongs to the one before it, by the common rules of UAX #29 (grapheme clusters)."""
    if unicodedata.category(text[at]).startswith("M") or _CONTINUES.match(text[at]) or text[at - 1] == _JOINER:
        return True
    flags = 0
    while _FLAG.match(text[at]) and flags < at and _FLAG.match(text[at - flags - 1]):
        flags += 1
    return flags % 2 == 1


def nearest_name(name: str, names: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The one of ``names`` that is most like ``name``, ignoring case; None where none reaches ``cutoff`` (0 to 1, see difflib)."""
    by_lower_case = {each.lower(): each for each in sorted(names)}
    close = difflib.get_close_matches(name.lower(), by_lower_case, n=1, cutoff=cutoff)
    return by_lower_case[close[0]] if close else None


def did_you_mean(name: str, names: Iterable[str], cutoff: float = 0.6) -> str:
    """``; did you mean "x"?`` for the end of a message, or an empty string where no name is near."""
    nearest = nearest_name(name, names, cutoff)
    return f'; did you mean "{nearest}"?' if nearest else ""


def as_sentence(text: str) -> str:
    """The text with a full stop, unless it ends a sentence already, so that another sentence can follow."""
    return text if text.endswith((".", "?", "!")) else f"{text}."
