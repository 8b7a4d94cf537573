"""Times, numbers and commands in the form that a status and an Event use. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

__all__ = ["annotate", "generation_of", "namespaced_name", "parse_time", "rows", "time_text"]

GROUP = "kubesweep.dev"
_FIRST, _LAST = -62_135_596_800, 253_402_300_799  # the years 1 to 9999, in UTC


def time_text(seconds: float) -> str:
    """``2026-03-01T00:00:00Z``, with milliseconds only where there are any. The inverse of :func:`parse_time`."""
    moment = datetime.fromtimestamp(round(seconds, 3), UTC).replace(tzinfo=None)
    exact = "milliseconds" if moment.microsecond else "seconds"
    return moment.isoformat(timespec=exact) + "Z"


def parse_time(text: object) -> float | None:
    """Seconds since the epoch; None for anything that is no time, or that :func:`time_text` cannot write."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return seconds if _FIRST <= seconds <= _LAST else None


def rows(number: int) -> str:
    return f"{number:,} row" if number == 1 else f"{number:,} rows"


def mebibytes(number: int) -> str:
    return f"{number / 2**20:,.0f} MiB"


def namespaced_name(body: Mapping[str, Any]) -> tuple[str, str]:
    """Namespace and name of an object."""
    meta = body.get("metadata", {})
    return str(meta.get("namespace", "default")), str(meta.get("name", ""))


def generation_of(body: Mapping[str, Any]) -> int:
    return int(body.get("metadata", {}).get("generation", 0))


def annotate(body: Mapping[str, Any], command: str) -> str:
    """The kubectl command that sets a command's annotation, ready to paste."""
    namespace, name = namespaced_name(body)
    return f"kubectl annotate sweepschedule {name} -n {namespace} --overwrite {GROUP}/{command}=$(date +%s)"
