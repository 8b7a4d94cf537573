"""Posting Events: one object for each (schedule, reason, error class) and five minutes, however often it happens.

Its name is a hash of those, so a controller that starts anew and a second leader meet the same object: creating it again
answers *exists*, and then only its series grows. Which happening an object told last stands in an annotation of it, so that
the same happening is never counted twice. Nobody reads Events: that right is not needed, as a patch answers with the
object. An Event that cannot be posted is logged and dropped; what is true stands in the status.
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
BURST = 25  # Events of one schedule at once ...
REFILL = 30.0  # ... and seconds until one more may be posted
MAX_NOTE = 1024  # bytes, though the API server speaks of characters
MAX_INSTANCE = 128  # the same
REMEMBERED = 4096
CONTROLLER = "kubesweep.dev/controller"
OCCURRENCE = "kubesweep.dev/occurrence"


class EventsClient(Protocol):
    """events.k8s.io/v1, as much as is needed of it. Anything but the answers below is raised as a ``KubesweepError``."""

    async def create_event(self, body: Mapping[str, Any]) -> bool:
        """False: there is one of that name."""
        ...

    async def patch_event(self, namespace: str, name: str, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """A merge patch; the Event as it is then, None where there is none."""
        ...


class Bucket:
    """So many at once, one more each ``refill`` seconds."""

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
    """``instance`` is this controller's pod; ``clock`` gives seconds since the epoch."""

    def __init__(self, client: EventsClient, instance: str, clock: Callable[[], float] = time.time) -> None:
        self._client, self._instance, self._clock = client, clip_bytes(instance, MAX_INSTANCE), clock
        self._buckets: dict[str, Bucket] = {}
        self._told: OrderedDict[str, str] = OrderedDict()

    def forget(self, uid: str) -> None:
        """The schedule is gone."""
        self._buckets.pop(uid, None)

    async def post(self, body: Mapping[str, Any], wanted: EventRequest) -> None:
        """Tell it, or count it where it was told within the window. ``body`` is the SweepSchedule. Never fails."""
        now = self._clock()
        namespace, _ = namespaced_name(body)
        name = event_name(body, wanted, now)
        if self._told.get(name) == wanted.occurrence:
            return
        uid = str(body["metadata"].get("uid", ""))
        if not self._buckets.setdefault(uid, Bucket(now)).take(now):
            log.debug("too many Events of this schedule, one is dropped", extra={"reason": str(wanted.reason)})
            return
        try:
            if not await self._client.create_event(_event(body, wanted, name, self._instance, now)):
                await self._again(namespace, name, wanted, now)
        except KubesweepError as error:
            log.warning("an Event was not posted: %s", error, extra={"reason": str(wanted.reason), "event": name})
            return
        self._told[name] = wanted.occurrence
        if len(self._told) > REMEMBERED:
            self._told.popitem(last=False)

    async def _again(self, namespace: str, name: str, wanted: EventRequest, now: float) -> None:
        """There is one. A patch of nothing writes nothing and shows what it has told."""
        known = await self._client.patch_event(namespace, name, {})
        if known is None:
            return
        told = (known["metadata"].get("annotations") or {}).get(OCCURRENCE)
        if told == _mark(wanted):
            return
        count = int((known.get("series") or {}).get("count", 1))
        more = count + 1 if wanted.count is None else max(count, wanted.count, 2)
        series = {"count": more, "lastObservedTime": micro_time(now)}
        patch = {"metadata": {"annotations": {OCCURRENCE: _mark(wanted)}}, "series": series}
        await self._client.patch_event(namespace, name, patch)


def event_name(body: Mapping[str, Any], wanted: EventRequest, now: float) -> str:
    """The same for whatever is to be one object."""
    _, name = namespaced_name(body)
    manager = (str(body["metadata"].get("uid", "")), str(wanted.reason), wanted.error, str(int(now // WINDOW)))
    return f"{name}.{hashlib.sha256('|'.join(manager).encode()).hexdigest()[:16]}"


def micro_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _mark(wanted: EventRequest) -> str:
    return hashlib.sha256(wanted.occurrence.encode()).hexdigest()[:16]


def _event(body: Mapping[str, Any], wanted: EventRequest, name: str, instance: str, now: float) -> dict[str, Any]:
    meta = body["metadata"]
    namespace, schedule = namespaced_name(body)
    made: dict[str, Any] = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace, "annotations": {OCCURRENCE: _mark(wanted)}},
        "eventTime": micro_time(now),
        "type": "Warning" if wanted.warning else "Normal",
        "reason": str(wanted.reason),
        "action": "Serve",
        "note": clip_bytes(wanted.note, MAX_NOTE),
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
    if wanted.count is not None and wanted.count > 1:
        made["series"] = {"count": wanted.count, "lastObservedTime": micro_time(now)}
    return made
