"""Reads what ``kubesweep-worker dead`` prints. Pure, and lenient: the program may be of another version, and its pod may print more."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubesweep.queue.model import Attempt, DeadLetter, parse_key
from kubesweep.timestamps import parse_time

__all__ = ["Letters", "find_document", "read_letters"]


@dataclass(frozen=True, slots=True)
class Letters:
    """``total``: all that match; ``letters`` are the newest of them. ``document``: as it was printed."""

    total: int
    letters: tuple[DeadLetter, ...]
    document: Mapping[str, Any]


def find_document(output: str, field: str) -> Mapping[str, Any] | None:
    """The JSON object with ``field`` in the output of a pod, where the records of its log surround it. None: there is none."""
    decoder, at = json.JSONDecoder(), 0
    while (at := output.find("{", at)) >= 0:
        if at > 0 and output[at - 1] != "\n":
            at += 1
            continue
        try:
            found, end = decoder.raw_decode(output, at)
        except (ValueError, RecursionError):
            at += 1
            continue
        if isinstance(found, dict) and field in found:
            return found
        at = end
    return None


def read_letters(document: Mapping[str, Any]) -> Letters:
    entries = document.get("letters")
    letters = tuple(_letter(each) for each in entries if isinstance(each, Mapping)) if isinstance(entries, list) else ()
    number = document.get("total")
    return Letters(number if isinstance(number, int) else len(letters), letters, document)


def _letter(entry: Mapping[str, Any]) -> DeadLetter:
    attempts = entry.get("attempts")
    found = (
        tuple(_attempt(each) for each in attempts if isinstance(each, Mapping)) if isinstance(attempts, list) else ()
    )
    last = _time(entry, "lastTime") or (found[-1].at if found else 0.0)
    own = Attempt(last, _text(entry, "error"), _text(entry, "message"))
    return DeadLetter(
        key=parse_key(_text(entry, "key")),
        error=own.error,
        message=own.message,
        at=last,
        sweep=_text(entry, "sweep"),
        attempts=found or (own,),
        origin=_text(entry, "origin"),
    )


def _attempt(entry: Mapping[str, Any]) -> Attempt:
    return Attempt(_time(entry, "time"), _text(entry, "error"), _text(entry, "message"), _text(entry, "where"))


def _text(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)


def _time(entry: Mapping[str, Any], name: str) -> float:
    return parse_time(entry.get(name)) or 0.0
