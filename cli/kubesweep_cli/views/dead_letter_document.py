"""The document of ``kubesweep dead list``, with the names of the status in the cluster. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kubesweep.queue.model import ErrorGroup, ScheduleRef, key_text
from kubesweep.timestamps import time_text

__all__ = ["group_document"]


def group_document(ref: ScheduleRef, groups: Sequence[ErrorGroup], *, retrying: bool) -> dict[str, Any]:
    """One schedule with its rows by error, the largest group first."""
    return {
        "namespace": ref.namespace,
        "name": ref.name,
        "retrying": retrying,
        "errors": [_group(each) for each in groups],
    }


def _group(group: ErrorGroup) -> dict[str, Any]:
    found = {
        "error": group.error,
        "count": group.count,
        "message": group.message,
        "firstTime": time_text(group.first),
        "lastTime": time_text(group.last),
        "sampleKeys": [key_text(key) for key in group.samples],
    }
    return found | ({"origin": group.origin} if group.origin else {})
