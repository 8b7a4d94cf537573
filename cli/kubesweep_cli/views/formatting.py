"""Numbers, durations and times as text, as the terminal shows them. Pure; the tests are the specification.

A time always has its date and its offset from UTC, in the zone of this machine: ``2026-03-01 02:00:00+01:00``, in UTC
``2026-03-01 01:00:00Z``. Only the next tick of a cron schedule is in that schedule's zone, which is named.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from kubesweep.quantities import count, duration, percent, rate, rows
from kubesweep.ticks import find_zone

__all__ = ["count", "cutoff_time", "duration", "local_time", "percent", "rate", "rows", "tick_time"]


def local_time(moment: float) -> str:
    """The date, the time and the offset from UTC, as RFC 3339 has them."""
    here = datetime.fromtimestamp(moment, UTC).astimezone()
    offset = here.strftime("%z")
    zone = "Z" if here.utcoffset() == timedelta() else f"{offset[:3]}:{offset[3:5]}"
    return f"{here:%Y-%m-%d %H:%M:%S}{zone}"


def cutoff_time(text: str | None) -> str:
    """A cutoff, which a database writes in UTC, as :func:`local_time`; ``-`` without one."""
    if not text:
        return "-"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return local_time((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def tick_time(moment: float, zone: str = "") -> str:
    """The nominal time of a tick: ``2026-03-01 02:00 Europe/Berlin``. Without a ``zone`` as :func:`local_time`."""
    if not zone:
        return local_time(moment)
    there = datetime.fromtimestamp(moment, find_zone(zone))
    return f"{there:%Y-%m-%d %H:%M} {'UTC' if zone == 'Etc/UTC' else zone}"
