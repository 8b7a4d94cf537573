"""What the API server showed last: the SweepSchedules as they are, their watched children as sights.

Filled by two streams that may cross: events of a watch, and full lists now and then (a watch that breaks loses deletions).
An object never goes back to an older version, and an event that brings nothing new asks for no look.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kubesweep_controller.api import CRONJOBS, DEPLOYMENTS, SCHEDULES, Kind
from kubesweep_controller.children.names import SCHEDULE_LABEL, cronjob_name, worker_name
from kubesweep_controller.sight import Sight, sight_of
from kubesweep_controller.work import Key

Body = Mapping[str, Any]
WATCHED = (SCHEDULES, DEPLOYMENTS, CRONJOBS)  # the schedules first


@dataclass
class Store:
    schedules: dict[Key, Body] = field(default_factory=dict)
    children: dict[tuple[str, Key], Sight] = field(default_factory=dict)
    _versions: dict[tuple[str, str], int] = field(default_factory=dict)  # plural, uid

    def deployment(self, key: Key) -> Sight | None:
        return self.children.get((DEPLOYMENTS.plural, key))

    def cronjob(self, key: Key) -> Sight | None:
        return self.children.get((CRONJOBS.plural, key))

    def saw(self, kind: Kind, body: Body, *, deleted: bool = False) -> Key | None:
        """Take in one event. The key that needs a look because of it, if any."""
        key = key_of(kind, body)
        if key is None or not self._is_news(kind, body, deleted):
            return None
        if kind is SCHEDULES:
            before: Any = self.schedules.get(key)
            self._keep_schedule(key, body, deleted)
            return key if deleted or before is None or _without_version(before) != _without_version(body) else None
        place = kind.plural, key
        if deleted:
            if (known := self.children.get(place)) and known.mark.uid == body["metadata"]["uid"]:
                del self.children[place]
            return key
        now = sight_of(body)
        before, self.children[place] = self.children.get(place), now
        return key if before != now else None

    def replace(self, kind: Kind, bodies: Iterable[Body], namespace: str | None) -> set[Key]:
        """Take in a full list (of one namespace, or of all): what it lacks is gone. The keys that need a look."""
        changed: set[Key] = set()
        listed: set[Key] = set()
        for body in bodies:
            if key := key_of(kind, body):
                listed.add(key)
                changed |= {found} if (found := self.saw(kind, body)) else set()
        return changed | self._drop(kind, listed, namespace)

    def _drop(self, kind: Kind, listed: set[Key], namespace: str | None) -> set[Key]:
        known = (
            set(self.schedules)
            if kind is SCHEDULES
            else {key for plural, key in self.children if plural == kind.plural}
        )
        gone = {key for key in known - listed if namespace in (None, key[0])}
        for key in gone:
            if kind is SCHEDULES:
                del self.schedules[key]
            else:
                del self.children[kind.plural, key]
        return gone

    def _keep_schedule(self, key: Key, body: Body, deleted: bool) -> None:
        if not deleted:
            self.schedules[key] = slim(body)
        elif (known := self.schedules.get(key)) and known["metadata"]["uid"] == body["metadata"]["uid"]:
            del self.schedules[key]

    def _is_news(self, kind: Kind, body: Body, deleted: bool) -> bool:
        meta = body["metadata"]
        place, text = (kind.plural, meta["uid"]), meta["resourceVersion"]
        version = int(text) if text.isdecimal() else self._versions.get(place, 0)
        if version < self._versions.get(place, 0):
            return False
        if deleted:
            self._versions.pop(place, None)
        else:
            self._versions[place] = version
        return True


def slim(body: Body) -> Body:
    """The object without its managedFields, which are the larger part of it."""
    meta = {name: value for name, value in body["metadata"].items() if name != "managedFields"}
    return {**body, "metadata": meta}


def key_of(kind: Kind, body: Body) -> Key | None:
    """The schedule that an object belongs to, by owner (or label) and name; None for what only looks like a child."""
    meta = body["metadata"]
    if kind is SCHEDULES:
        return meta["namespace"], meta["name"]
    owners = [each["name"] for each in meta.get("ownerReferences") or () if each["kind"] == SCHEDULES.kind]
    schedule = owners[0] if owners else (meta.get("labels") or {}).get(SCHEDULE_LABEL)
    name = worker_name if kind is DEPLOYMENTS else cronjob_name
    return (meta["namespace"], schedule) if schedule and meta["name"] == name(schedule) else None


def _without_version(body: Body) -> Body:
    meta = {name: value for name, value in body["metadata"].items() if name not in ("managedFields", "resourceVersion")}
    return {**body, "metadata": meta}
