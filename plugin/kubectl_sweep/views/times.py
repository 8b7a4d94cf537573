"""Times for people: with date, zone and distance; and short ages for tables, as kubectl prints them. Pure."""

from __future__ import annotations

from kubesweep_console.documents import Schedule
from kubesweep_console.times import moment, zone_of

__all__ = ["age", "when", "zone"]


def zone(schedule: Schedule) -> str:
    """The zone that a schedule's times are shown in: that of its cron expression, else UTC."""
    return zone_of(schedule.ticks)


def when(seconds: float | None, now: float, zone: str = "UTC") -> str:
    """``2026-03-01 12:00:00 UTC (5 min 0 s ago)``; empty for None."""
    if seconds is None:
        return ""
    found = moment(seconds, now, zone)
    return f"{found.clock} ({found.distance})"


def age(seconds: float | None, now: float) -> str:
    """``45s``, ``12m``, ``7h``, ``3d``, ``2y``; a future time as ``in 5m``; ``-`` for None."""
    if seconds is None:
        return "-"
    passed = now - seconds
    return f"in {_short(-passed)}" if passed < -1 else _short(max(0.0, passed))


def _short(seconds: float) -> str:
    for unit, size, most in (("s", 1, 120), ("m", 60, 120), ("h", 3600, 48), ("d", 86400, 730)):
        if seconds < size * most:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds // (365 * 86400))}y"
