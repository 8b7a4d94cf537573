"""Turns of phrase that all messages share, so that they speak in one voice."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def near(name: str, names: Iterable[str]) -> str:
    """``; did you mean "x"?`` or nothing. Upper and lower case make no difference, which to a database they do."""
    known = {each.lower(): each for each in sorted(names)}
    close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.6)
    return f'; did you mean "{known[close[0]]}"?' if close else ""


def sentence(text: str) -> str:
    """The text with an end, so that another sentence can follow."""
    return text if text.endswith((".", "?", "!")) else f"{text}."
