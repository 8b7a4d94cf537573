"""Numbers, durations and times as text, as the terminal shows them. Pure; the tests are the specification."""

from __future__ import annotations

import time

from kubesweep.quantities import count, duration, percent, rate, rows

__all__ = ["clock_time", "count", "duration", "percent", "rate", "rows"]


def clock_time(moment: float, now: float | None = None) -> str:
    """The local time of day; with the date where ``now`` is on another day."""
    here = time.localtime(moment)
    if now is not None and time.localtime(now)[:3] != here[:3]:
        return time.strftime("%Y-%m-%d %H:%M:%S", here)
    return time.strftime("%H:%M:%S", here)
