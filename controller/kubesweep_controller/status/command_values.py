"""Reads the value of a command's annotation. Pure.

A value is a nonce, or a JSON object with a nonce and with what the command acts on. An object that is not understood completely is
refused as a whole, so that a misspelt filter never acts on all rows. So is one in quotes, which a shell may leave. A value that is refused has a nonce too: it is answered once.
"""

from __future__ import annotations

import hashlib
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from kubesweep.queue.model import Key, parse_key
from kubesweep.text import MAX_TEXT, clip, did_you_mean

__all__ = ["MAX_KEYS", "MAX_NONCE", "MAX_VALUE", "CommandValue", "read_value"]

MAX_PLAIN = MAX_TEXT  # characters of a value that is no object; the rest is ignored
MAX_VALUE = 100_000  # characters of an object: less than half of what all annotations of an object may have
MAX_NONCE = 253  # characters of the nonce of an object
MAX_KEYS = 1000
MAX_NAME = 64  # characters of an unknown field that a message repeats
_WRAPPING = (
    "'\"`([\ufeff\u2018\u201c\u201e"  # before an object: quotes that a shell did not remove, a list, a byte order mark
)


@dataclass(frozen=True)
class CommandValue:
    """What the command acts on. None: no filter.

    ``problem``: why the value is refused, as a sentence without a full stop that names the field; empty for a valid value.
    """

    nonce: str
    error: str | None = None
    keys: tuple[Key, ...] | None = None
    sweep: str | None = None
    problem: str = ""


def read_value(text: str, fields: Sequence[str]) -> CommandValue:
    """``fields``: what an object may have besides its nonce. Without any, each value is a nonce, such as one of a trigger."""
    if not fields or not text.lstrip(_WRAPPING + string.whitespace).startswith("{"):
        return CommandValue(text[:MAX_PLAIN])
    if len(text) > MAX_VALUE:
        too_long = f"it has {len(text):,} characters, and at most {MAX_VALUE:,} are read: name fewer keys"
        return CommandValue(_digest(text), problem=too_long)
    if not text.lstrip().startswith("{"):
        return CommandValue(
            _digest(text), problem="it is a JSON object in quotes or brackets: set the object without them"
        )
    try:
        given = msgspec.json.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return CommandValue(_digest(text), problem="it begins with { and is not a JSON object: correct the JSON")
    nonce = given.get("nonce")
    if problem := next(_problems(given, fields), ""):
        return CommandValue(nonce if _is_text(nonce, MAX_NONCE) else _digest(text), problem=problem)
    keys = tuple(dict.fromkeys(map(parse_key, given["keys"]))) if "keys" in given else None
    return CommandValue(nonce, given.get("error"), keys, given.get("sweep"))


def _problems(given: Mapping[str, Any], fields: Sequence[str]) -> Iterator[str]:
    known = ("nonce", *fields)
    for name in given:
        if name not in known:
            takes = f"it has {', '.join(known[:-1])} and {known[-1]}"
            yield f'the field "{clip(name, MAX_NAME)}" does not exist: {takes}{did_you_mean(name[:MAX_NAME], known)}'
    if not _is_text(given.get("nonce"), MAX_NONCE):
        yield f"nonce must be a text of 1 to {MAX_NONCE} characters"
    for name in ("error", "sweep"):
        if name in given and not _is_text(given[name], MAX_TEXT):
            yield f"{name} must be a text of 1 to {MAX_TEXT:,} characters"
    if "keys" in given:
        yield from _key_problems(given["keys"])


def _key_problems(keys: object) -> Iterator[str]:
    if not isinstance(keys, list) or not 1 <= len(keys) <= MAX_KEYS:
        yield f"keys must be a list of 1 to {MAX_KEYS:,} keys: to select all rows, leave it out"
        return
    for place, key in enumerate(keys):
        if not isinstance(key, str):
            yield f'keys[{place}] must be a text, such as "42", or "[\\"eu\\",\\"17\\"]" for a key of two columns'


def _is_text(value: object, most: int) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= most


def _digest(text: str) -> str:
    """Stands for a value without a nonce that can be read."""
    return f"sha256:{hashlib.sha256(text.encode(errors='replace')).hexdigest()}"
