"""Read what a receiver answers to a request for many rows: ``{"results": [{"idempotencyKey", "result", ...}]}``.

A 2xx without ``results`` is the success of every row, so a receiver that cannot fail for single rows needs no body. An entry that
cannot be read fails its own row only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from kubesweep.errors import Outage, Reject, RetryAfter, RowError, Skip
from kubesweep.text import clip
from kubesweep_worker.effects.base import BatchRefused, RowOutcome
from kubesweep_worker.effects.webhook_response import MOST_READ, SHOWN, Answer, decoded

__all__ = ["row_results"]

RESULTS = ("success", "skip", "reject", "retry")
Mask = Callable[[str], str]


def row_results(keys: Sequence[str], answer: Answer, mask: Mask) -> Mapping[str, RowOutcome]:
    """The outcome of each row by its Idempotency-Key. ``answer`` has a status of success; ``mask`` replaces secrets in texts.

    Raises BatchRefused where the answer to many rows is too long to be read, and Outage where it broke off.
    """
    body = decoded(answer.body, answer.headers.get("Content-Encoding", "")).removeprefix(b"\xef\xbb\xbf").lstrip()
    if body and not body.startswith(b"{"):
        return dict.fromkeys(keys)
    if len(body) >= MOST_READ:
        return _too_long(keys)
    if not answer.complete:
        raise Outage("Unreachable", "the receiver's answer broke off, so its results are unknown")
    results = _results(body)
    if results is msgspec.UNSET:
        return dict.fromkeys(keys)
    if not isinstance(results, list):
        error = RowError("ResultInvalid", f"the receiver answered {answer.status}, but its results are not a list")
        return dict.fromkeys(keys, error)
    return _by_row(keys, results, mask)


def _results(body: bytes) -> Any:
    """The value of ``results``; UNSET where there is none, or where the body is not JSON."""
    try:
        decoded_body = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return msgspec.UNSET
    return decoded_body.get("results", msgspec.UNSET)


def _too_long(keys: Sequence[str]) -> Mapping[str, RowOutcome]:
    if len(keys) > 1:
        raise BatchRefused
    why = f"the receiver's answer has more than {MOST_READ} bytes, so its results cannot be read: shorten its messages"
    return dict.fromkeys(keys, RowError("ResultInvalid", why))


def _by_row(keys: Sequence[str], results: list[Any], mask: Mask) -> Mapping[str, RowOutcome]:
    entries: dict[str, list[dict[str, Any]]] = {key: [] for key in keys}
    unknown = 0
    for entry in results:
        key = entry.get("idempotencyKey") if isinstance(entry, dict) else None
        if isinstance(key, str) and key in entries:
            entries[key].append(entry)
        else:
            unknown += 1
    missing = "the receiver's results do not name this row's idempotencyKey"
    if unknown:
        missing += f"; {unknown} of {len(results)} entries name no row of the request"
    return {key: _outcome(found, missing, mask) for key, found in entries.items()}


def _outcome(entries: list[dict[str, Any]], missing: str, mask: Mask) -> RowOutcome:
    if not entries:
        return RowError("ResultMissing", missing)
    if len(entries) > 1:
        return _invalid(f"it has {len(entries)} entries")
    entry = entries[0]
    result, message, seconds = entry.get("result"), entry.get("message"), entry.get("seconds")
    if not isinstance(result, str) or result not in RESULTS:
        given = "missing" if result is None else clip(mask(str(result)), SHOWN)
        return _invalid(f"result must be one of {', '.join(RESULTS)}; given: {given}")
    if message is not None and not isinstance(message, str):
        return _invalid("message must be text")
    if result == "success":
        return None
    if result == "skip":
        return Skip()
    # Masked before it is shortened, because half a secret would not be found.
    text = clip(" ".join(mask(message or "").split()), SHOWN)
    if result == "reject":
        return Reject(text or "the receiver rejected this row")
    return _retry(seconds, text or "the receiver asked for a retry")


def _retry(seconds: object, text: str) -> RowError:
    if seconds is None:
        return RetryAfter(0, text)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 0:
        return _invalid("seconds must be a number that is not negative")
    try:
        return RetryAfter(seconds, text)
    except (ValueError, OverflowError):  # infinite, or beyond a float
        return _invalid("seconds must be a finite number")


def _invalid(why: str) -> RowError:
    return RowError("ResultInvalid", f"the receiver's result of this row cannot be used: {why}")
