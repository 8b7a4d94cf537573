"""One condition's verdict, and how a condition is found in a status. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["ConditionResult", "find", "repeated"]


class ConditionResult(NamedTuple):
    """Status (True, False or Unknown), reason and message of a condition."""

    status: str
    reason: str
    message: str


def find(status: Mapping[str, Any], type_: str) -> Mapping[str, Any] | None:
    """The condition of that type."""
    return next((each for each in status.get("conditions") or () if each.get("type") == type_), None)


def repeated(before: Mapping[str, Any]) -> ConditionResult:
    """What the condition said before."""
    return ConditionResult(str(before["status"]), str(before.get("reason")), str(before.get("message", "")))
