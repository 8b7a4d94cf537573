"""Posts and deduplicates Events: one object for each (schedule, reason, error class) and five minutes.

The name is a hash of these, so a restarted controller and a second leader address the same object. Creating it again fails with
AlreadyExists, and then only its series count grows. An annotation stores the latest occurrence, so the same one is never counted twice.
The controller never reads Events: a patch returns the object, so that permission is not needed. An Event that cannot be posted is
logged and dropped, because the status holds the facts.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from kubesweep.errors import KubesweepError
from kubesweep.text import clip_bytes
from kubesweep_controller.status.event_rules import EventRequest
from kubesweep_controller.status.formatting import namespaced_name

__all__ = ["Bucket", "Events", "EventsClient"]

log = logging.getLogger("kubesweep.controller")

WINDOW = 300.0
BURST = 25  # Events of one schedule at once
REFILL = 30.0  # seconds until one more may be posted
MAX_NOTE = 1024  # bytes, although the API server's message says characters
MAX_INSTANCE = 128  # bytes
REMEMBERED = 4096
CONTROLLER = "kubesweep.dev/controller"
OCCURRENCE = "kubesweep.dev/occurrence"


class EventsClient(Protocol):
    """The part of events.k8s.io/v1 that is used. Other answers than these raise a ``KubesweepError``."""

    async def create_event(self, body: Mapping[str, Any]) -> bool:
        """False: an Event of that name exists."""
        ...

    async def patch_event(self, namespace: str, name: str, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The Event after the merge patch; None: there is none."""
        ...


class Bucket:
    """A token bucket: ``burst`` at once, then one each ``refill`` seconds."""

    def __init__(self, now: float, burst: int = BURST, refill: float = REFILL) -> None:
        self._burst, self._refill = float(burst), refill
        self._tokens, self._at = self._burst, now

    def take(self, now: float) -> bool:
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) / self._refill)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Events:
    """``instance``: the name of this controller's pod. ``clock``: seconds since the epoch."""

    def __init__(self, client: EventsClient, instance: str, clock: Callable[[], float] = time.time) -> None:
        self._client, self._instance, self._clock = client, clip_bytes(instance, MAX_INSTANCE), clock
        self._buckets: dict[str, Bucket] = {}
        self._posted: OrderedDict[str, str] = OrderedDict()

    def forget(self, uid: str) -> None:
        """The schedule is gone."""
        self._buckets.pop(uid, None)

    async def post(self, body: Mapping[str, Any], event: EventRequest) -> None:
        """Post the Event, or count it where it was posted within the window. ``body`` is the SweepSchedule. Never raises."""
        now = self._clock()
        namespace, _ = namespaced_name(body)
        name = event_name(body, event, now)
        if self._posted.get(name) == event.occurrence:
            return
        uid = str(body["metadata"].get("uid", ""))
        if not self._buckets.setdefault(uid, Bucket(now)).take(now):
            log.debug("too many Events of this schedule: one is dropped", extra={"reason": str(event.reason)})
            return
        try:
            if not await self._client.create_event(_event(body, event, name, self._instance, now)):
                await self._count_again(namespace, name, event, now)
        except KubesweepError as error:
            log.warning("an Event was not posted: %s", error, extra={"reason": str(event.reason), "event": name})
            return
        self._posted[name] = event.occurrence
        if len(self._posted) > REMEMBERED:
            self._posted.popitem(last=False)

    async def _count_again(self, namespace: str, name: str, event: EventRequest, now: float) -> None:
        """The object exists. An empty patch changes nothing and returns its latest occurrence."""
        known = await self._client.patch_event(namespace, name, {})
        if known is None:
            return
        known_occurrence = (known["metadata"].get("annotations") or {}).get(OCCURRENCE)
        if known_occurrence == _occurrence_hash(event):
            return
        count = int((known.get("series") or {}).get("count", 1))
        more = count + 1 if event.count is None else max(count, event.count, 2)
        series = {"count": more, "lastObservedTime": micro_time(now)}
        patch = {"metadata": {"annotations": {OCCURRENCE: _occurrence_hash(event)}}, "series": series}
        await self._client.patch_event(namespace, name, patch)


def event_name(body: Mapping[str, Any], event: EventRequest, now: float) -> str:
    """The same for all Events that become one object."""
    _, name = namespaced_name(body)
    parts = (str(body["metadata"].get("uid", "")), str(event.reason), event.error, str(int(now // WINDOW)))
    return f"{name}.{hashlib.sha256('|'.join(parts).encode()).hexdigest()[:16]}"


def micro_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _occurrence_hash(event: EventRequest) -> str:
    return hashlib.sha256(event.occurrence.encode()).hexdigest()[:16]


def _event(body: Mapping[str, Any], event: EventRequest, name: str, instance: str, now: float) -> dict[str, Any]:
    meta = body["metadata"]
    namespace, schedule = namespaced_name(body)
    made: dict[str, Any] = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace, "annotations": {OCCURRENCE: _occurrence_hash(event)}},
        "eventTime": micro_time(now),
        "type": "Warning" if event.warning else "Normal",
        "reason": str(event.reason),
        "action": "Serve",
        "note": clip_bytes(event.note, MAX_NOTE),
        "regarding": {
            "apiVersion": body.get("apiVersion"),
            "kind": body.get("kind"),
            "namespace": namespace,
            "name": schedule,
            "uid": meta.get("uid"),
            "resourceVersion": meta.get("resourceVersion"),
        },
        "reportingController": CONTROLLER,
        "reportingInstance": instance,
    }
    if event.count is not None and event.count > 1:
        made["series"] = {"count": event.count, "lastObservedTime": micro_time(now)}
    return made
