"""From the queue and the files to the console's documents, in the shape of the object in the cluster. Pure."""

from __future__ import annotations

from typing import Any

from kubesweep.api.loading.files import Loaded
from kubesweep.queue.model import ScheduleRef, Stats, describe_rate
from kubesweep_cli.dashboard.conditions import conditions
from kubesweep_cli.views.status_document import status_document

__all__ = ["document"]

_IDENTITY = ("namespace", "name", "uid")
_INTERNAL = (*_IDENTITY, "known", "damage", "paused", "suspended", "throttle", "findings")


def document(ref: ScheduleRef, stats: Stats, loaded: Loaded | None, database: str, now: float) -> dict[str, Any]:
    """``loaded``: the schedule of a file; None: only the queue is known. ``database``: its address without a password."""
    (found,) = status_document([ref], [stats], now)
    status = {name: value for name, value in found.items() if name not in _INTERNAL}
    if (throttle := _throttle(stats, now)) is not None:
        status["throttle"] = throttle
    if "backlog" in status:  # computed now, as the snapshot; a time that always changes would redraw every page
        status["backlog"] = {name: value for name, value in status["backlog"].items() if name != "observedTime"}
    status["conditions"] = [*conditions(stats, loaded), *found["conditions"]]
    made: dict[str, Any] = {"metadata": {name: found[name] for name in _IDENTITY}, "status": status}
    if loaded is not None:
        made["spec"] = loaded.spec.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    if database:
        made["database"] = database
    return made


def _throttle(stats: Stats, now: float) -> dict[str, Any] | None:
    """As ``status.throttle``: what a person set, else the signal of the database."""
    if stats.pace is not None and stats.pace.throttle:
        set_to = f"`kubesweep throttle` sets the rate: {describe_rate(stats.pace.rate)}"
        return {"reason": "Throttle", "value": stats.pace.throttle, "message": set_to}
    finding = stats.throttled(now)
    if finding is None:
        return None
    found: dict[str, Any] = {"reason": finding.reason, "message": finding.message}
    if (throttle := finding.throttle) is not None:
        found |= {"percent": round(100 * throttle.factor), "value": throttle.value, "limit": throttle.limit}
    return found
