"""Quantities as numbers, as Kubernetes compares them: "0.5", "500m" and 0.5 are equal."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

__all__ = ["amount"]

_SUFFIX = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    "u": Decimal("0.000001"),
    "n": Decimal("0.000000001"),
    "k": Decimal(1000),
}
_SUFFIX |= {letter: Decimal(1000**power) for power, letter in enumerate("MGTPE", 2)}
_SUFFIX |= {f"{letter}i": Decimal(1024**power) for power, letter in enumerate("KMGTPE", 1)}


def amount(value: Any) -> Decimal | None:
    """None for anything that is no quantity."""
    text = str(value)
    digits = text.rstrip("numkKMGTPEi")
    try:
        return Decimal(digits) * _SUFFIX[text[len(digits) :]]
    except (InvalidOperation, KeyError):
        return None
