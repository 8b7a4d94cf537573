"""``status.throttle``: why a sweep is slower or faster than its spec says. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubesweep.queue.model import MESSAGE, Finding, Pace, describe_rate
from kubesweep.signals import LONGEST, percent_of
from kubesweep.text import clip
from kubesweep_controller.status.formatting import time_text
from kubesweep_controller.status.observation import Observation

__all__ = ["essence", "slowed_by", "throttle_of"]

ANNOTATION = "Annotation"


def throttle_of(observation: Observation, before: Mapping[str, Any]) -> dict[str, Any] | None:
    """``before``: the status that was written last, from which ``since`` is kept while nothing changes."""
    pace, finding = observation.pace, observation.stats.throttled(observation.now) if observation.stats else None
    if pace is not None and pace.throttle:
        found = _annotation(pace)
    elif finding is not None:
        found = _health(finding)
    else:
        return None
    old = before.get("throttle") or {}
    since = old.get("since") if essence(old) == essence(found) else None
    return {**found, "since": since or time_text(int(observation.now))}


def slowed_by(observation: Observation) -> tuple[str, float] | None:
    """The reason and the share of the speed that a signal leaves the sweep now, also of a rate that a person set. None where no signal
    slows it down, or where a person pauses it or has it ignore the signals."""
    pace = observation.pace
    if observation.stats is None or (pace is not None and pace.throttle and not pace.rate):
        return None
    if (finding := observation.stats.throttled(observation.now)) is None:
        return None
    found = _health(finding)
    return found["reason"], found["percent"] / 100


def essence(throttle: Mapping[str, Any]) -> tuple[object, ...]:
    """What makes two of them the same. A measured value changes all the time, and is written with the other numbers."""
    measured = "percent" in throttle
    return (
        throttle.get("reason"),
        throttle.get("percent"),
        *(() if measured else (throttle.get("value"), throttle.get("limit"))),
    )


def _annotation(pace: Pace) -> dict[str, Any]:
    found: dict[str, Any] = {"reason": ANNOTATION, "value": pace.throttle}
    if pace.rows_per_second is not None:
        found["limit"] = f"{pace.rows_per_second:g}"
    message = f"the annotation kubesweep.dev/throttle sets the rate: {describe_rate(pace.rate)}"
    return {**found, "message": message}


def _health(finding: Finding) -> dict[str, Any]:
    """Other programs may write to the queue, and the API server refuses a status with a text that is too long."""
    found: dict[str, Any] = {"reason": clip(finding.reason, LONGEST), "percent": 100}
    found["message"] = clip(finding.message, MESSAGE)
    if (throttle := finding.throttle) is not None:
        found["percent"] = percent_of(throttle.factor)
        texts = (("value", throttle.value), ("limit", throttle.limit))
        found |= {name: clip(text, LONGEST) for name, text in texts if text}
    return found
