"""The latest state from the API server: SweepSchedules trimmed, their watched children as :class:`ObservedChild`.

Two streams fill it and may overtake each other: events of a watch, and full lists now and then (a broken watch misses deletions).
An object never goes back to an older version, and an event without news causes no reconcile.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kubesweep.api.loading.objects import APPLIED
from kubesweep_controller.children.names import SCHEDULE_LABEL, ScheduleKey, cronjob_name, worker_name
from kubesweep_controller.children.observed import ObservedChild, observe_child
from kubesweep_controller.kube.client import CRONJOBS, DEPLOYMENTS, SCHEDULES, Kind
from kubesweep_controller.kube.object_limits import estimated_bytes, placeholder, trim

Body = Mapping[str, Any]
log = logging.getLogger("kubesweep.controller.cache")
WATCHED = (SCHEDULES, DEPLOYMENTS, CRONJOBS)  # schedules first
SHARE = 32 * 2**20  # bytes of one namespace's SweepSchedules beyond USUAL each
USUAL = 8 * 2**10  # bytes of one SweepSchedule that are always allowed


@dataclass
class Cache:
    """``unreadable``: plural and uid of objects that could not be read, and why."""

    schedules: dict[ScheduleKey, Body] = field(default_factory=dict)
    children: dict[tuple[str, ScheduleKey], ObservedChild] = field(default_factory=dict)
    unreadable: dict[tuple[str, str], str] = field(default_factory=dict)  # plural and uid -> why
    _versions: dict[tuple[str, str], int] = field(default_factory=dict)  # plural, uid
    _deleted: dict[tuple[str, str], int] = field(
        default_factory=dict
    )  # plural, uid: an older list may still contain it
    _weights: dict[ScheduleKey, int] = field(default_factory=dict)
    _totals: Counter[str] = field(default_factory=Counter)  # by namespace

    def deployment(self, key: ScheduleKey) -> ObservedChild | None:
        return self.children.get((DEPLOYMENTS.plural, key))

    def cronjob(self, key: ScheduleKey) -> ObservedChild | None:
        return self.children.get((CRONJOBS.plural, key))

    def update(self, kind: Kind, body: Body, *, deleted: bool = False) -> ScheduleKey | None:
        """Process one event. Returns the key to reconcile because of it, if any. An object that cannot be read affects no other."""
        place = kind.plural, _uid(body)
        try:
            key = self._update(kind, body, deleted)
        except Exception as error:
            if self.unreadable.setdefault(place, why := f"{type(error).__name__}: {error}"[:200]) == why:
                log.warning(
                    "ignoring an object that cannot be read: %s", why, extra={"kind": kind.kind, **_about(body)}
                )
            return None
        self.unreadable.pop(place, None)
        return key

    def _update(self, kind: Kind, body: Body, deleted: bool) -> ScheduleKey | None:
        key = key_of(kind, body)
        if key is None or not self._is_news(kind, key, body, deleted):
            return None
        if kind is SCHEDULES:
            before: Any = self.schedules.get(key)
            self._keep_schedule(key, body, deleted)
            now: Any = self.schedules.get(key)
            return key if deleted or before is None or _without_version(before) != _without_version(now) else None
        place = kind.plural, key
        if deleted:
            if (known := self.children.get(place)) and known.revision.uid == body["metadata"]["uid"]:
                del self.children[place]
            return key
        observed = observe_child(trim(body))
        seen, self.children[place] = self.children.get(place), observed
        return key if seen != observed else None

    def replace(self, kind: Kind, bodies: Iterable[Body], namespace: str | None, version: int = 0) -> set[ScheduleKey]:
        """Process a full list of one namespace, or of all. Returns the keys to reconcile.

        An object that the list lacks is gone, unless it is newer than the list. ``version`` is the list's resource version (0: unknown).
        """
        changed, listed = self.page(kind, bodies)
        return changed | self.listed(kind, listed, namespace, version)

    def page(self, kind: Kind, bodies: Iterable[Body]) -> tuple[set[ScheduleKey], set[str]]:
        """Process one page of a full list. Returns the keys to reconcile, and the uids on the page."""
        changed: set[ScheduleKey] = set()
        listed: set[str] = set()
        for body in bodies:
            listed.add(_uid(body))
            changed |= {found} if (found := self.update(kind, body)) else set()
        return changed, listed

    def listed(self, kind: Kind, listed: set[str], namespace: str | None, version: int = 0) -> set[ScheduleKey]:
        """A full list of these uids is complete. See :meth:`replace`."""
        changed = self._drop(kind, listed, namespace, version)
        for place in [place for place, at in self._deleted.items() if place[0] == kind.plural and at <= version]:
            del self._deleted[place]  # later lists do not contain it
        for place in [place for place in self.unreadable if place[0] == kind.plural and place[1] not in listed]:
            if namespace is None:
                del self.unreadable[place]
        return changed

    def _drop(self, kind: Kind, listed: set[str], namespace: str | None, version: int) -> set[ScheduleKey]:
        uids = (
            {key: str(body["metadata"]["uid"]) for key, body in self.schedules.items()}
            if kind is SCHEDULES
            else {key: seen.revision.uid for (plural, key), seen in self.children.items() if plural == kind.plural}
        )
        gone = set()
        for key, uid in uids.items():
            younger = version and self._versions.get((kind.plural, uid), 0) > version
            if uid in listed or younger or namespace not in (None, key[0]):
                continue
            gone.add(key)
            self._versions.pop((kind.plural, uid), None)
            if kind is SCHEDULES:
                self._remove(key)
            else:
                del self.children[kind.plural, key]
        return gone

    def _keep_schedule(self, key: ScheduleKey, body: Body, deleted: bool) -> None:
        if not deleted:
            kept = trim(body)
            kept["metadata"].pop("managedFields", None)  # each of our own writes changes them
            self.schedules[key] = self._within_share(key, kept)
        elif (known := self.schedules.get(key)) and known["metadata"]["uid"] == body["metadata"]["uid"]:
            self._remove(key)

    def _within_share(self, key: ScheduleKey, body: dict[str, Any]) -> Body:
        """The object, without its spec where the namespace's objects would use too much memory."""
        total = self._totals[key[0]] - self._weights.get(key, 0)
        mine = _excess(body)
        if total + mine > SHARE:
            annotations = {name: "" for name in body["metadata"].get("annotations") or {} if name == APPLIED}
            body = {**body, "spec": placeholder(body.get("spec"))}
            body["metadata"] = {**body["metadata"], "annotations": annotations}
            mine = _excess(body)
        self._weights[key], self._totals[key[0]] = mine, total + mine
        return body

    def _remove(self, key: ScheduleKey) -> None:
        del self.schedules[key]
        self._totals[key[0]] -= self._weights.pop(key, 0)

    def _is_news(self, kind: Kind, key: ScheduleKey, body: Body, deleted: bool) -> bool:
        meta = body["metadata"]
        place, text = (kind.plural, meta["uid"]), meta["resourceVersion"]
        version = int(text) if text.isdecimal() else self._versions.get(place, 0)
        if version < self._versions.get(place, 0) or (not deleted and place in self._deleted):
            return False
        other = self._kept_uid(kind, key)
        if not deleted and other not in ("", meta["uid"]):  # the name was given again after a deletion
            if text.isdecimal() and version < self._versions.get((kind.plural, other), 0):
                return False
            self._versions.pop((kind.plural, other), None)
        if deleted:
            self._versions.pop(place, None)
            self._deleted[place] = version
        else:
            self._versions[place] = version
        return True

    def _kept_uid(self, kind: Kind, key: ScheduleKey) -> str:
        """The uid of the object that is kept under this name; empty: none."""
        if kind is SCHEDULES:
            known = self.schedules.get(key)
            return str(known["metadata"]["uid"]) if known else ""
        child = self.children.get((kind.plural, key))
        return child.revision.uid if child else ""


def _excess(body: Body) -> int:
    return max(0, estimated_bytes({**body, "status": None}, SHARE) - USUAL)  # the controller writes the status


def _uid(body: Body) -> str:
    meta = body.get("metadata")
    return str(meta.get("uid", "")) if isinstance(meta, Mapping) else ""


def _about(body: Body) -> dict[str, str]:
    meta = body.get("metadata")
    known = meta if isinstance(meta, Mapping) else {}
    return {"namespace": str(known.get("namespace", ""))[:253], "object": str(known.get("name", ""))[:253]}


def key_of(kind: Kind, body: Body) -> ScheduleKey | None:
    """The schedule of an object, by owner (or label) and name; None for an object that only resembles a child."""
    meta = body["metadata"]
    if kind is SCHEDULES:
        return meta["namespace"], meta["name"]
    owners = [each["name"] for each in meta.get("ownerReferences") or () if each["kind"] == SCHEDULES.kind]
    schedule = owners[0] if owners else (meta.get("labels") or {}).get(SCHEDULE_LABEL)
    name = worker_name if kind is DEPLOYMENTS else cronjob_name
    return (meta["namespace"], schedule) if schedule and meta["name"] == name(schedule) else None


def _without_version(body: Body) -> Body:
    meta = {name: value for name, value in body["metadata"].items() if name != "resourceVersion"}
    return {**body, "metadata": meta}
