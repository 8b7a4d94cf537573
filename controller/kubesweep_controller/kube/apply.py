"""Applies a child with as few writes as possible, and never somebody else's object.

An object is ours if its controlling owner is this very SweepSchedule (by uid). This is verified before each apply, because a forced
server-side apply would silently adopt another object of the same name. Nothing is sent where nothing changed: the child has a digest of
what was applied, and the live object must still contain all of it. That restores a child that somebody edited.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kubesweep.errors import KubesweepError
from kubesweep_controller.children.observed import APPLIED_DIGEST, AppliedRevision, applied_revision, owner_uid
from kubesweep_controller.children.quantity import amount
from kubesweep_controller.kube.client import MANAGER, ApiOutage, Body, Kind, KubeClient, Refused

_KEYS = ("name", "mountPath", "containerPort", "key")
_QUANTITIES = ("requests", "limits", "sizeLimit")


CREATION_MANAGER = "kubesweep-create"  # field manager of a Deployment's first replicas


class NameTaken(KubesweepError):
    """An object that is not ours has a child's name. The message says whose it is."""


class ApplyRejected(KubesweepError):
    """The API server refuses the child itself (422): the spec has to change."""


class ApplyBlocked(KubesweepError):
    """The child may be valid, but the cluster blocks it: permissions, quota, a webhook, a terminating namespace."""


@dataclass
class Applier:
    """Remembers, in this process only, the state in which it left each object, so that a reconcile need not read it again."""

    client: KubeClient
    applied: dict[tuple[str, str, str], tuple[str, AppliedRevision]] = field(default_factory=dict)

    async def ensure(
        self, kind: Kind, desired: Body, seen: AppliedRevision | None = None, initial: Body | None = None
    ) -> AppliedRevision:
        """Apply ``desired`` where it differs from the live object.

        ``seen``: the revision that a watch keeps up to date. ``initial``: the body to create, which has a field that others own later.
        """
        meta = desired["metadata"]
        key = (kind.plural, meta["namespace"], meta["name"])
        digest = _digest(desired)
        if seen is not None and self.applied.get(key) == (digest, seen):
            return seen
        live = await self.client.get(kind, meta["namespace"], meta["name"])
        marked = _with_digest(desired, digest)
        if live is not None:
            _check_owner(kind, live, marked)
            untouched = self.applied.get(key) == (digest, applied_revision(live))
            if not untouched and (not covers(live, marked) or _entry(live, MANAGER) is None):
                live = await self._write(kind, marked)
        else:
            if initial is not None:
                await self._create(kind, _with_digest(initial, digest))
            live = await self._write(kind, marked)
        if initial is not None and "f:template" in _fields(_entry(live, CREATION_MANAGER)):
            live = await self._release_template(kind, live)
        revision = applied_revision(live)
        self.applied[key] = digest, revision
        return revision

    async def remove(self, kind: Kind, namespace: str, name: str, owner: str) -> None:
        """Delete the object if it is ours."""
        self.applied.pop((kind.plural, namespace, name), None)
        live = await self.client.get(kind, namespace, name)
        if live is not None and owner_uid(live["metadata"]) == owner:
            await self.client.delete(kind, namespace, name, live["metadata"]["uid"])

    def last_applied(self, kind: Kind, namespace: str, name: str) -> AppliedRevision | None:
        """The revision in which this process left the object, for kinds that are not watched."""
        known = self.applied.get((kind.plural, namespace, name))
        return known[1] if known else None

    def forget(self, namespace: str, *names: str) -> None:
        """The objects of these names are gone."""
        for key in [key for key in self.applied if key[1] == namespace and key[2] in names]:
            del self.applied[key]

    async def _create(self, kind: Kind, body: Body) -> None:
        """Create a Deployment completely, as admission policies expect, but without replicas, and by a field manager of its own.

        The API server removes a field that its manager no longer applies. With the usual manager the following apply would set ``replicas`` to 1.
        """
        try:
            await self.client.apply(kind, body, CREATION_MANAGER, force=False)
        except Refused as refused:
            raise _as_error(kind, body, refused) from refused

    async def _release_template(self, kind: Kind, live: Body) -> Body:
        """Reduce the creating manager's fields to ``replicas``. Otherwise a removed field of the template would stay, because it has two managers."""
        meta = {name: live["metadata"][name] for name in ("name", "namespace")}
        number = {"replicas": live["spec"].get("replicas", 0)}
        body = {"apiVersion": kind.group_version, "kind": kind.kind, "metadata": meta, "spec": number}
        try:
            return await self.client.apply(kind, body, CREATION_MANAGER)
        except Refused as refused:
            raise _as_error(kind, body, refused) from refused

    async def _write(self, kind: Kind, body: Body) -> Body:
        try:
            return await self.client.apply(kind, body)
        except Refused as refused:
            raise _as_error(kind, body, refused) from refused


def _entry(live: Body, manager: str) -> Mapping[str, Any] | None:
    """What ``manager`` has applied of the object, according to its managedFields."""
    entries = live["metadata"].get("managedFields") or ()
    return next((each for each in entries if each.get("manager") == manager and each.get("operation") == "Apply"), None)


def _fields(entry: Mapping[str, Any] | None) -> Mapping[str, Any]:
    fields = (entry or {}).get("fieldsV1") or {}
    spec: Mapping[str, Any] = fields.get("f:spec") or {}
    return spec


def covers(live: Any, desired: Any, field_name: str = "", *, quantity: bool = False) -> bool:
    """Whether ``live`` contains everything in ``desired``. What others, or defaults, added does not matter."""
    quantity = quantity or field_name in _QUANTITIES
    if isinstance(desired, Mapping):
        return isinstance(live, Mapping) and all(
            covers(live[name], value, name, quantity=quantity) if name in live else value in (False, 0, "")
            for name, value in desired.items()
        )
    if isinstance(desired, Sequence) and not isinstance(desired, str):
        return isinstance(live, Sequence) and _covers_list(live, desired)
    if quantity and (number := amount(desired)) is not None:
        return amount(live) == number
    return bool(live == desired)


def _covers_list(live: Sequence[Any], desired: Sequence[Any]) -> bool:
    key = next((key for key in _KEYS if _is_unique_key(desired, key)), None)
    if key is None:
        return len(live) == len(desired) and all(map(covers, live, desired))
    known = {each.get(key): each for each in live if isinstance(each, Mapping)}
    return all(each[key] in known and covers(known[each[key]], each) for each in desired)


def _is_unique_key(elements: Sequence[Any], key: str) -> bool:
    names = [each.get(key) for each in elements if isinstance(each, Mapping)]
    return len(names) == len(elements) == len({str(name) for name in names if name is not None})


def _digest(body: Body) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]


def _with_digest(body: Body, digest: str) -> Body:
    meta = body["metadata"]
    return {**body, "metadata": {**meta, "annotations": {**meta.get("annotations", {}), APPLIED_DIGEST: digest}}}


def _check_owner(kind: Kind, live: Body, desired: Body) -> None:
    meta, ours = live["metadata"], desired["metadata"]["ownerReferences"][0]
    if owner_uid(meta) == ours["uid"]:
        if "deletionTimestamp" in meta:
            raise ApiOutage(
                "ChildLeaving", f"{kind.kind} {meta['name']} is being deleted; it is created again afterwards"
            )
        return
    former = [each for each in meta.get("ownerReferences") or () if each.get("controller")]
    if any(each["kind"] == ours["kind"] and each["name"] == ours["name"] for each in former):
        raise ApiOutage(
            "ChildLeaving",
            f"{kind.kind} {meta['name']} belongs to a deleted SweepSchedule of the same name and is being removed",
        )
    whose = f"{former[0]['kind']} {former[0]['name']}" if former else "an unknown owner"
    raise NameTaken(f"the {kind.kind} {meta['name']} already exists and belongs to {whose}")


def _as_error(kind: Kind, body: Body, refused: Refused) -> KubesweepError:
    """The meaning of a refusal: the object is invalid, or the cluster blocks it (permissions, quota, a terminating namespace)."""
    what = f"{kind.kind} {body['metadata']['name']}"
    if refused.invalid:
        return ApplyRejected(f"the {what}: {refused}")
    if refused.reason == "Conflict":
        return ApiOutage("ApiBusy", f"{what}: {refused}")
    return ApplyBlocked(f"{what}: {refused}")
