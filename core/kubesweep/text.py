"""Text from outside (databases, receivers, handlers, the queue) on its way to a terminal, a log or the API server.

Whoever may write a row's error message may write escape sequences into it. So every such text passes one of these functions:
what it says stays, what would move a cursor, recolour a terminal or turn its lines around does not. All of them are idempotent.
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["MAX_TEXT", "clip", "clip_bytes", "escaped", "printable", "unexpandable"]

CUT = "..."
MAX_TEXT = 1024  # characters of a text from outside that is kept: a message, an identifier, a value
REPLACEMENT = "\ufffd"
LONGEST = 32  # code points of one character as a person sees it; text that goes on for longer is cut inside of it
# Control characters but tab and newline, marks that change the direction, separators of lines, halves of surrogate pairs.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_JOINER = "\u200d"
_CONTINUES = re.compile("[\u200c\u200d\u1160-\u11ff\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]")
_FLAG = re.compile("[\U0001f1e6-\U0001f1ff]")  # two of them are a flag


def printable(text: str) -> str:
    """The same text with U+FFFD for each character that no terminal and no other program should be handed."""
    return _UNPRINTABLE.sub(_replacement, text)


def escaped(json: str) -> str:
    """The same JSON, with escapes for what :func:`printable` replaces: a program reads from it what it did before."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", json)


def unexpandable(json: str) -> str:
    """The same JSON without a dollar, for a variable of a pod: in those Kubernetes replaces ``$(NAME)``, and ``$$`` by one dollar."""
    return json.replace("$", "\\u0024")


def clip(text: str, most: int) -> str:
    """Printable, and at most ``most`` characters; what was cut is said."""
    text = printable(text[: most + 1])
    return text if len(text) <= most else _begin(text, most - len(CUT)) + CUT[:most]


def clip_bytes(text: str, most: int) -> str:
    """Printable, and at most ``most`` bytes of UTF-8: some receivers write "characters" and count bytes."""
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
    """The first ``length`` characters at most, without a part of an accented letter, an emoji or a flag at their end."""
    length = max(0, length)
    for end in range(length, max(0, length - LONGEST), -1):
        if not _continues(text, end):
            return text[:end]
    return text[:length]


def _continues(text: str, at: int) -> bool:
    """Whether the character there is shown as one with that before it: UAX #29 (grapheme clusters), its commoner rules."""
    if unicodedata.category(text[at]).startswith("M") or _CONTINUES.match(text[at]) or text[at - 1] == _JOINER:
        return True
    flags = 0
    while _FLAG.match(text[at]) and flags < at and _FLAG.match(text[at - flags - 1]):
        flags += 1
    return flags % 2 == 1
