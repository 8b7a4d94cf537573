"""Times as Kubernetes writes them (RFC 3339 in UTC), and back. Pure."""

from __future__ import annotations

import math
from datetime import UTC, datetime

__all__ = ["LAST", "clamp_time", "parse_time", "time_text"]

_FIRST, LAST = -62_135_596_800.0, 253_402_300_799.0  # the years 1 to 9999, in UTC


def time_text(seconds: float) -> str:
    """``2026-03-01T00:00:00Z``, with milliseconds only where there are any. The inverse of :func:`parse_time`."""
    moment = datetime.fromtimestamp(round(seconds, 3), UTC).replace(tzinfo=None)
    exact = "milliseconds" if moment.microsecond else "seconds"
    return moment.isoformat(timespec=exact) + "Z"


def parse_time(text: object) -> float | None:
    """Seconds since the epoch; None for anything that is no time, or that :func:`time_text` cannot write."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return seconds if _FIRST <= seconds <= LAST else None


def clamp_time(seconds: float) -> float | None:
    """The nearest time from 1970 on that has a date; None for NaN."""
    return None if math.isnan(seconds) else min(max(seconds, 0.0), LAST)
