"""Durations as text: ``300ms``, ``2s``, ``30m``, ``1h30m``, ``7d``.

A duration has whole numbers and the units d, h, m, s and ms, in this order, both here and in the cluster's schema (``PATTERN``).
The smallest unit is a millisecond, so every duration is exact.
"""

from __future__ import annotations

import re

UNITS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
PATTERN = r"^([0-9]{1,6}d)?([0-9]{1,7}h)?([0-9]{1,9}m)?([0-9]{1,9}s)?([0-9]{1,12}ms)?$"
MAX_LENGTH = 32

_SHAPE = re.compile(PATTERN)
HELP = 'write a whole number with a unit (ms, s, m, h, d), such as "30s", "5m" or "1h30m"'


def parse_duration(text: str) -> float:
    """The duration in seconds. Raises ValueError with a sentence that says what to write instead."""
    if not text:
        raise ValueError(f"a duration is missing: {HELP}")
    shown = text if len(text) <= MAX_LENGTH else text[:MAX_LENGTH] + "..."
    found = _SHAPE.fullmatch(text) if len(text) <= MAX_LENGTH else None
    if found:
        parts = zip(found.groups(), UNITS.items(), strict=True)
        return sum(int(part[: -len(unit)]) * size for part, (unit, size) in parts if part) / 1000
    if text.startswith("-"):
        raise ValueError(f'"{shown}" is negative: {HELP}')
    if text.isascii() and text.isdigit():
        raise ValueError(f'"{shown}" has no unit: {HELP}')
    if "." in text:
        raise ValueError(f'"{shown}" has a fraction: use a smaller unit, such as "90m" for one and a half hours')
    raise ValueError(f'"{shown}" is not a duration: {HELP}, the largest unit first')
