"""Which pods of a schedule have a log, and which container of each. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

__all__ = ["LogSource", "has_log", "in_order", "is_running", "log_source", "selector"]

COMPONENT = "app.kubernetes.io/component"
WORKER, PRODUCER = "worker", "producer"


class LogSource(NamedTuple):
    """One start of one container: after a restart it is another one."""

    pod: str
    container: str
    uid: str
    restarts: int


def selector(schedule: str, *, ticks: bool | None = None) -> str:
    """Labels of the pods: of workers and ticks, with ``ticks`` False of workers alone, with True of ticks alone."""
    components = {None: f"{WORKER},{PRODUCER}", False: WORKER, True: PRODUCER}[ticks]
    return f"kubesweep.dev/schedule={schedule},{COMPONENT} in ({components})"


def log_source(pod: Mapping[str, Any]) -> LogSource:
    meta = pod["metadata"]
    container = PRODUCER if (meta.get("labels") or {}).get(COMPONENT) == PRODUCER else WORKER
    status = _status(pod, container)
    return LogSource(meta["name"], container, meta.get("uid", ""), int(status.get("restartCount") or 0))


def has_log(pod: Mapping[str, Any], *, previous: bool = False) -> bool:
    """Whether the container has started, or with ``previous``, has been started before."""
    status = _status(pod, log_source(pod).container)
    if previous:
        return bool((status.get("lastState") or {}).get("terminated"))
    state = status.get("state") or {}
    return bool(state.get("running") or state.get("terminated") or (status.get("lastState") or {}).get("terminated"))


def is_running(pod: Mapping[str, Any]) -> bool:
    return bool((_status(pod, log_source(pod).container).get("state") or {}).get("running"))


def in_order(pods: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The oldest first."""
    return sorted(pods, key=lambda each: (str(each["metadata"].get("creationTimestamp", "")), each["metadata"]["name"]))


def _status(pod: Mapping[str, Any], container: str) -> Mapping[str, Any]:
    found = (pod.get("status") or {}).get("containerStatuses") or ()
    return next((each for each in found if each.get("name") == container), {})
