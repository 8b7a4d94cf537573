"""``status.throttle``: why a sweep is slower or faster than its spec says. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubesweep.queue.model import describe_rate
from kubesweep_controller.status.formatting import time_text
from kubesweep_controller.status.observation import Observation

__all__ = ["throttle_of"]

ANNOTATION = "Annotation"


def throttle_of(observation: Observation, before: Mapping[str, Any]) -> dict[str, Any] | None:
    """``before``: the status that was written last, from which ``since`` is kept while nothing changes."""
    pace = observation.pace
    if pace is None or not pace.throttle:
        return None
    declared = pace.rows_per_second
    found: dict[str, Any] = {"reason": ANNOTATION, "value": pace.throttle}
    if declared is not None:
        found["limit"] = f"{declared:g}"
    old = before.get("throttle") or {}
    same = all(old.get(name) == found.get(name) for name in ("reason", "value", "limit"))
    since = old.get("since") if same else None
    message = f"the annotation kubesweep.dev/throttle sets the rate: {describe_rate(pace.rate)}"
    return {**found, "since": since or time_text(int(observation.now)), "message": message}
