"""A dead letter, or a row in retry, as a document: what ``kubesweep dead show`` and ``kubesweep-worker dead`` print of each. Pure."""

from __future__ import annotations

from typing import Any

from kubesweep.queue.model import Attempt, DeadLetter, plain_key
from kubesweep.timestamps import clamp_time, time_text

__all__ = ["letter_document"]


def letter_document(letter: DeadLetter, *, retrying: bool) -> dict[str, Any]:
    """One row with the history of its attempts, oldest first. ``key`` is as ``--key`` takes it. An unknown field is left out."""
    first = letter.attempts[0].at if letter.attempts else letter.at
    found = {
        "key": plain_key(letter.key),
        "error": letter.error,
        "message": letter.message,
        "retrying": retrying,
        "sweep": letter.sweep,
        "attempts": [_attempt(each) for each in letter.attempts],
        "firstTime": _time(first),
        "lastTime": _time(letter.at),
    }
    return found | ({"origin": letter.origin} if letter.origin else {})


def _attempt(attempt: Attempt) -> dict[str, Any]:
    found = {"time": _time(attempt.at), "error": attempt.error, "message": attempt.message}
    return found | ({"where": attempt.where} if attempt.where else {})


def _time(seconds: float) -> str:
    """Another program may have written any number."""
    return time_text(clamp_time(seconds) or 0.0)
