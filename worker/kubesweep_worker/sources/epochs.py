"""Times that are numbers: seconds, milliseconds or microseconds since 1970 in UTC. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

MICROSECONDS = {"seconds": 1_000_000, "milliseconds": 1000, "microseconds": 1}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The years 1973 to 5138, told in each unit.
_LEAST = (("microseconds", 1e14), ("milliseconds", 1e11), ("seconds", 1e8))
_MOST = 1e17


def _microseconds(cutoff: str, offset: float) -> int:
    """Of the moment ``offset`` seconds before a cutoff (ISO, without an offset in UTC)."""
    moment = datetime.fromisoformat(cutoff)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - EPOCH) // timedelta(microseconds=1) - round(offset * 1e6)


def floor(cutoff: str, offset: float, unit: str) -> int:
    """That moment in whole ``unit``s. A whole number less than it is past, though what it stands for lasts a unit; a whole number
    greater than it is to come."""
    return _microseconds(cutoff, offset) // MICROSECONDS[unit]


def exact(cutoff: str, offset: float, unit: str) -> str:
    """That moment as a decimal number."""
    return format(Decimal(_microseconds(cutoff, offset)) / MICROSECONDS[unit], "f")


def unit_of(values: Iterable[float]) -> str | None:
    """What most of these numbers look like as times of our days; None where they look like none."""
    sizes = sorted(abs(value) for value in values)
    middle = sizes[len(sizes) // 2] if sizes else 0.0
    return next((unit for unit, least in _LEAST if least <= middle < _MOST), None)
