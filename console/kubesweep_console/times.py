"""Times for people: a moment in a zone, and how far it is from now. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from kubesweep.quantities import duration
from kubesweep.ticks import Cron, Ticks, find_zone
from kubesweep.timestamps import time_text

__all__ = ["Moment", "moment", "moment_of", "zone_of"]

_NOW = 1.0  # seconds around now that are called now


@dataclass(frozen=True, slots=True)
class Moment:
    """``iso`` for programs, ``clock`` with the zone, ``distance`` such as ``in 5 s`` or ``2 h 1 min ago``."""

    iso: str
    clock: str
    distance: str


def moment(seconds: float, now: float, zone: str = "UTC") -> Moment:
    """In UTC where the zone has no such moment: at both ends of the calendar. Raises ValueError for an unknown zone."""
    found = find_zone(zone)
    try:
        local = datetime.fromtimestamp(seconds, found)
    except OverflowError:
        local = datetime.fromtimestamp(seconds, UTC)
    away = seconds - now
    distance = f"in {duration(away)}" if away > 0 else f"{duration(-away)} ago"
    if abs(away) < _NOW:
        distance = "now"
    return Moment(time_text(seconds), local.strftime("%Y-%m-%d %H:%M:%S %Z"), distance)


def moment_of(seconds: float | None, now: float, zone: str = "UTC") -> Moment | None:
    return None if seconds is None else moment(seconds, now, zone)


def zone_of(ticks: Ticks | None) -> str:
    """The zone that a schedule's times are shown in."""
    return ticks.time_zone if isinstance(ticks, Cron) else "UTC"
