"""The result of evaluating one condition, and how to find a condition in a status. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["ConditionProblem", "ConditionResult", "find_condition", "repeated"]


class ConditionResult(NamedTuple):
    """Status (True, False or Unknown), reason and message of a condition. ``code`` is the class of the error behind it, if any."""

    status: str
    reason: str
    message: str
    code: str = ""


class ConditionProblem(NamedTuple):
    """Why a condition is not as it should be. Programs compare ``reason`` and ``code``; the message is for people only."""

    reason: str
    message: str
    code: str = ""


def find_condition(status: Mapping[str, Any], type_: str) -> Mapping[str, Any] | None:
    """The condition of that type."""
    return next((each for each in status.get("conditions") or () if each.get("type") == type_), None)


def repeated(before: Mapping[str, Any]) -> ConditionResult:
    """The condition as it was written before."""
    return ConditionResult(str(before["status"]), str(before.get("reason")), str(before.get("message", "")))
