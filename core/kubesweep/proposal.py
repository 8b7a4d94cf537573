"""The proposal of a sweep: what a person must see before approving it, or what a dry run would have swept. Pure.

It is the same in the cluster's status, in ``kubesweep status``, in both ``approve`` commands and in the console. What is unknown is
left out, never shown as zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kubesweep.quantities import rows
from kubesweep.queue.model import Key, Sweep, SweepState, key_text, parse_key, plain_key
from kubesweep.text import escaped
from kubesweep.timestamps import parse_time, time_text

__all__ = ["MAX_KEYS", "key_texts", "proposal_lines", "proposal_of", "read_proposal"]

MAX_KEYS = 10
MAX_KEY_TEXT = 1000


def key_texts(keys: tuple[Key, ...]) -> list[str]:
    """Keys for people. A key that is longer than a screen is left out."""
    return [text for text in (escaped(key_text(key)) for key in keys) if len(text) <= MAX_KEY_TEXT]


def proposal_of(sweep: Sweep) -> dict[str, Any] | None:
    """``status.lastSweep.proposal``. None for a sweep that neither awaits approval nor is a dry run, or that knows nothing."""
    if sweep.state is not SweepState.AWAITING_APPROVAL and sweep.mode != "DryRun":
        return None
    number, estimated = _rows(sweep)
    found: dict[str, Any] = {} if number is None else {"rows": number}
    if number is not None and estimated:
        found["estimated"] = True
    if sweep.oldest is not None:
        found["oldestTime"] = time_text(sweep.oldest)
    if sweep.newest is not None:
        found["newestTime"] = time_text(sweep.newest)
    if keys := key_texts(sweep.samples[:MAX_KEYS]):
        found["sampleKeys"] = keys
    return found or None


def _rows(sweep: Sweep) -> tuple[int | None, bool]:
    """A dry run that reached the end of the table has counted its rows."""
    if sweep.mode == "DryRun" and sweep.state is SweepState.COMPLETED and not sweep.capped:
        return sweep.planned, False
    return sweep.stale, sweep.estimated


def read_proposal(entry: object) -> dict[str, Any]:
    """The fields of a ``Sweep`` that :func:`proposal_of` reads, from what it wrote. Anything else in it is ignored."""
    if not isinstance(entry, Mapping):
        return {}
    number, keys = entry.get("rows"), entry.get("sampleKeys")
    return {
        "stale": number if isinstance(number, int) and not isinstance(number, bool) and number >= 0 else None,
        "estimated": entry.get("estimated") is True,
        "oldest": parse_time(entry.get("oldestTime")),
        "newest": parse_time(entry.get("newestTime")),
        "samples": tuple(parse_key(key) for key in keys if isinstance(key, str)) if isinstance(keys, list) else (),
    }


def proposal_lines(sweep: Sweep, shown: Callable[[str], str] = str) -> list[tuple[str, str]]:
    """Pairs of a label and a text, for people. Without a proposal only the reason is left. ``shown`` formats a time of RFC 3339."""
    found = proposal_of(sweep) or {}
    lines = [("why", f"{sweep.reason}: {sweep.message}" if sweep.message else sweep.reason)]
    if "rows" in found:
        lines.append(("rows", rows(found["rows"]) + (" (estimated)" if "estimated" in found else "")))
    if "oldestTime" in found:
        lines.append(("oldest", f"stale since {shown(found['oldestTime'])}"))
    if "newestTime" in found:
        lines.append(("newest", f"stale since {shown(found['newestTime'])}"))
    if "sampleKeys" in found:
        lines.append(("such as", ", ".join(plain_key(key) for key in sweep.samples[:MAX_KEYS])))
    return lines
