"""Times that are numbers: seconds, milliseconds or microseconds since 1970 in UTC. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

MICROSECONDS = {"seconds": 1_000_000, "milliseconds": 1000, "microseconds": 1}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The years 1973 to 5138 in each unit.
_LEAST = (("microseconds", 1e14), ("milliseconds", 1e11), ("seconds", 1e8))
_MOST = 1e17


def _microseconds(cutoff: str, offset: float) -> int:
    """The time ``offset`` seconds before a cutoff (ISO 8601; UTC where it has no offset), in microseconds since 1970."""
    moment = datetime.fromisoformat(cutoff)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - EPOCH) // timedelta(microseconds=1) - round(offset * 1e6)


def floor(cutoff: str, offset: float, unit: str) -> int:
    """That time in whole ``unit``s, rounded down. A smaller whole number is in the past although it stands for a whole unit; a
    greater one is in the future."""
    return _microseconds(cutoff, offset) // MICROSECONDS[unit]


def exact(cutoff: str, offset: float, unit: str) -> str:
    """That time as a decimal number."""
    return format(Decimal(_microseconds(cutoff, offset)) / MICROSECONDS[unit], "f")


def unit_of(values: Iterable[float]) -> str | None:
    """The unit in which the median of these numbers is a plausible time; None where no unit fits."""
    sizes = sorted(abs(value) for value in values)
    middle = sizes[len(sizes) // 2] if sizes else 0.0
    return next((unit for unit, least in _LEAST if least <= middle < _MOST), None)
