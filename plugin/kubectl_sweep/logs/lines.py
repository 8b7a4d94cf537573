"""One line of a pod's log as text for people, or as JSON for programs. Pure.

Kubesweep's programs log one JSON object a line in a pod (:mod:`kubesweep.logging`). Handlers and other containers print what they like.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from rich.text import Text

from kubesweep.timestamps import parse_time, time_text

__all__ = ["LogFormat", "format_line", "read_record", "split_time"]

_LEVELS = {"warning": "warn", "error": "bad", "critical": "bad", "debug": "faint"}
_SHOWN = ("time", "level", "logger", "message")
_PODS = ("cyan", "magenta", "blue", "green", "yellow", "bright_cyan", "bright_magenta", "bright_blue")


class LogFormat(StrEnum):
    TEXT = "text"  # readable lines
    RAW = "raw"  # as the pod printed them, behind its name
    JSON = "json"  # one object a line, with the field pod


def read_record(line: str) -> Mapping[str, Any] | None:
    """The record of a line; None where it is none of Kubesweep's."""
    if not line.startswith("{"):
        return None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("message"), str) and "level" in found else None


def format_line(pod: str, line: str, how: LogFormat) -> Text:
    """``pod``: the name to show before it; empty: none."""
    if how is LogFormat.JSON:
        record = read_record(line)
        return Text(
            json.dumps({"pod": pod, **(record if record is not None else {"message": line})}, ensure_ascii=False)
        )
    head = Text.assemble((pod, _colour(pod)), " ") if pod else Text()
    record = read_record(line) if how is LogFormat.TEXT else None
    return head.append_text(Text(line) if record is None else _readable(record))


def split_time(line: str) -> tuple[float, str]:
    """A line with the kubelet's time before it (``timestamps=true``): seconds since the epoch, and the rest."""
    stamp, blank, rest = line.partition(" ")
    at = parse_time(_microseconds(stamp)) if blank or stamp.endswith("Z") else None
    return (0.0, line) if at is None else (at, rest)


def _microseconds(stamp: str) -> str:
    """The kubelet writes nanoseconds, which Python 3.11 reads up to the sixth digit only if there are no more."""
    whole, dot, rest = stamp.partition(".")
    digits = rest.rstrip("Z")
    return f"{whole}.{digits[:6]}Z" if dot and digits.isdigit() else stamp


def _readable(record: Mapping[str, Any]) -> Text:
    level = str(record["level"])
    style = _LEVELS.get(level, "")
    at = parse_time(record.get("time"))
    text = Text.assemble(
        ("-" if at is None else time_text(float(int(at))), "faint"),
        " ",
        (level, style),
        " ",
        (str(record["message"]), style),
    )
    below = Text()
    for name, value in record.items():
        if name in _SHOWN:
            continue
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if "\n" in shown:
            below.append(
                f"\n  {name}:\n" + "\n".join(f"    {part}" for part in shown.rstrip().split("\n")), style="faint"
            )
        else:
            text.append(f"  {name}={shown}", style="faint")
    return text.append_text(below)


def _colour(pod: str) -> str:
    return _PODS[sum(pod.encode()) % len(_PODS)]
