"""From a SweepSchedule of the API server to the console's document: what may be shown of it. Pure.

The console of a cluster may have readers who must not read the object itself. So this is a list of what is shown, not of what is hidden: nothing of the
pods, no reference to a header's Secret, and of a webhook's URL only the host, because its path and query may be secret. The status is shown
as it is. It has the keys of some rows, and no other value of a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from kubesweep.queue.model import ErrorGroup, parse_key
from kubesweep.timestamps import parse_time

__all__ = ["document_of", "error_groups"]

SHOWN = (
    "schedule",
    "every",
    "timeZone",
    "startingDeadlineSeconds",
    "suspend",
    "mode",
    "source",
    "match",
    "write",
    "limits",
    "retry",
    "deadLetters",
)


def document_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """The document of one object, in the object's shape. Fields may have any type: an old object may not fit today's schema."""
    meta, spec, status = (_mapping(body.get(name)) for name in ("metadata", "spec", "status"))
    shown = {name: spec[name] for name in SHOWN if name in spec}
    if effect := _effect(_mapping(spec.get("effect"))):
        shown["effect"] = effect
    return {
        "metadata": {name: meta.get(name) for name in ("namespace", "name", "uid")},
        "spec": shown,
        "status": status,
    }


def error_groups(document: Mapping[str, Any]) -> tuple[ErrorGroup, ...]:
    """The dead letters by error, as the status has them."""
    status = _mapping(document.get("status"))
    entries = status.get("errors")
    return tuple(_group(_mapping(each)) for each in entries) if isinstance(entries, list) else ()


def _group(entry: Mapping[str, Any]) -> ErrorGroup:
    keys = entry.get("sampleKeys")
    return ErrorGroup(
        error=str(entry.get("error", "")),
        count=count if isinstance(count := entry.get("count"), int) else 0,
        message=str(entry.get("message", "")),
        first=parse_time(entry.get("firstTime")) or 0.0,
        last=parse_time(entry.get("lastTime")) or 0.0,
        samples=tuple(parse_key(each) for each in keys if isinstance(each, str)) if isinstance(keys, list) else (),
    )


def _effect(effect: Mapping[str, Any]) -> dict[str, Any]:
    shown = {name: effect[name] for name in ("handler", "concurrency") if name in effect}
    webhook = _mapping(effect.get("webhook"))
    if "url" in webhook:
        shown["webhook"] = {"url": _origin(webhook["url"]), "batchRows": webhook.get("batchRows")}
    return shown


def _origin(url: object) -> str:
    try:
        parts = urlsplit(str(url))
        return f"{parts.scheme}://{parts.hostname or ''}"
    except ValueError:
        return ""


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
