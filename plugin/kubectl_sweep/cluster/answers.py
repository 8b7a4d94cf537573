"""Commands by annotation: the values to set, and the controller's answer in a status. Pure.

A value is a nonce, or a JSON object with a nonce and a filter (docs/conditions.md has both). The controller answers in
``status.answers``. An older one has only ``status.handled``: then it is known that the command was handled, but not with which result.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from kubesweep_console.documents import items, mapping, text

__all__ = ["GROUP", "HANDLED", "Command", "annotation_value", "find_answer", "fresh_nonce", "understands_filters"]

GROUP = "kubesweep.dev"
HANDLED = "Handled"  # the outcome where a controller without answers has handled the command


class Command(StrEnum):
    """The part of the annotation after ``kubesweep.dev/``."""

    TRIGGER = "trigger"
    APPROVE = "approve"
    RETRY = "retry-dead-letters"
    PURGE = "purge-dead-letters"
    THROTTLE = "throttle"

    @property
    def annotation(self) -> str:
        return f"{GROUP}/{self}"

    @property
    def answered_as(self) -> str:
        """Its name in ``status.answers``: ``RetryDeadLetters``."""
        return "".join(word.capitalize() for word in self.split("-"))

    @property
    def handled_as(self) -> str:
        """Its name in ``status.handled``: ``retryDeadLetters``."""
        return self.answered_as[0].lower() + self.answered_as[1:]


def fresh_nonce(now: float | None = None) -> str:
    """A value that no earlier command had, and that shows when it was set."""
    moment = time.gmtime(time.time() if now is None else now)
    return f"{time.strftime('%Y%m%dT%H%M%SZ', moment)}-{secrets.token_hex(4)}"


def understands_filters(status: Mapping[str, Any]) -> bool:
    """Whether the controller that wrote this status reads a filter. An older one would act on every row: it takes an object for a nonce.

    Today's controller always writes the list of answers, even an empty one. With an older CRD the API server drops it.
    """
    return "answers" in status


def annotation_value(nonce: str, *, error: str = "", keys: Sequence[str] = (), sweep: str = "") -> str:
    """The nonce alone, or a JSON object where there is a filter."""
    filters = {name: each for name, each in (("error", error), ("keys", list(keys)), ("sweep", sweep)) if each}
    return json.dumps({"nonce": nonce, **filters}, ensure_ascii=False) if filters else nonce


def find_answer(status: Mapping[str, Any], command: Command, nonce: str) -> dict[str, Any] | None:
    """The answer to the command with this nonce; None while there is none. An older controller's has the outcome ``Handled``."""
    for answer in map(mapping, items(status.get("answers"))):
        if answer.get("command") == command.answered_as and answer.get("nonce") == nonce:
            return dict(answer)
    handled = text(mapping(status.get("handled")).get(command.handled_as))
    if handled and nonce in (handled, _nonce_of(handled)):
        return {"command": command.answered_as, "nonce": nonce, "outcome": HANDLED, "reason": "", "message": ""}
    return None


def _nonce_of(value: str) -> str:
    """The nonce of a value that an older controller copied as a whole."""
    try:
        return text(mapping(json.loads(value)).get("nonce")) if value.startswith("{") else ""
    except ValueError:
        return ""
