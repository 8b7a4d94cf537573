"""Numbers, shares and durations as text, the same on every screen. Pure; the tests are the specification."""

from __future__ import annotations

__all__ = ["are_dead_letters", "count", "duration", "percent", "rate", "rows"]


def count(number: int) -> str:
    """``1234567`` -> ``1,234,567``."""
    return f"{number:,}"


def rows(number: int) -> str:
    """``1`` -> ``1 row``, ``2000`` -> ``2,000 rows``."""
    return f"{number:,} row" if number == 1 else f"{number:,} rows"


def are_dead_letters(number: int) -> str:
    """``1`` -> ``1 row is a dead letter``, ``2`` -> ``2 rows are dead letters``."""
    return f"{rows(number)} {'is a dead letter' if number == 1 else 'are dead letters'}"


def percent(part: int, whole: int) -> str:
    """Whole per cent, rounded down: 100 only when all is done."""
    if whole <= 0:
        return "0 %"
    return f"{min(part, whole) * 100 // whole} %"


def rate(per_second: float | None) -> str:
    """``11234.5`` -> ``11,200 rows/s``: three significant digits."""
    if per_second is None:
        return ""
    if per_second < 10:
        return f"{per_second:.1f} rows/s"
    digits = len(str(int(per_second)))
    return f"{round(per_second, 3 - digits):,.0f} rows/s"


def duration(seconds: float) -> str:
    """``0.34`` -> ``0.3 s``, ``75`` -> ``1 min 15 s``, ``7300`` -> ``2 h 1 min``, ``200000`` -> ``2 d 7 h``."""
    seconds = max(0.0, seconds)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"
