"""Making a child what it should be, with as few writes as possible, and never somebody else's object.

An object is ours if its controlling owner is this very SweepSchedule (by uid). That is looked at before each apply: a forced
server-side apply would adopt a stranger's object of the same name without a word. Nothing is sent where nothing changed:
the child carries a digest of what was applied, and what is in the cluster must still cover it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kubesweep.errors import KubesweepError
from kubesweep_controller.children.observed import APPLIED, AppliedRevision, applied_revision, owner_uid
from kubesweep_controller.children.quantity import amount
from kubesweep_controller.kube.client import MANAGER, ApiOutage, Body, Kind, KubeClient, Refused

_KEYS = ("name", "mountPath", "containerPort", "key")
_QUANTITIES = ("requests", "limits", "sizeLimit")


CREATION_MANAGER = "kubesweep-birth"  # field manager of a Deployment's first replicas


class NameTaken(KubesweepError):
    """A child's name belongs to an object that is not ours; the sentence says whose."""


class ApplyRejected(KubesweepError):
    """The API server refuses the child itself (422): another spec is needed."""


class ApplyBlocked(KubesweepError):
    """The child may be right, but the cluster does not let it be: rights, quota, a webhook, a namespace that goes."""


@dataclass
class Applier:
    """Remembers, for this process only, which objects it left in which state, so that a look need not ask again."""

    client: KubeClient
    applied: dict[tuple[str, str, str], tuple[str, AppliedRevision]] = field(default_factory=dict)

    async def ensure(
        self, kind: Kind, desired: Body, seen: AppliedRevision | None = None, initial: Body | None = None
    ) -> AppliedRevision:
        """See to it that the object is as ``wanted``. ``seen``: its mark, where a watch keeps it up to date.
        ``first``: what to make of nothing, ``wanted`` with a field more that is somebody else's later."""
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
        """In which state this process left the object; for kinds that are not watched."""
        known = self.applied.get((kind.plural, namespace, name))
        return known[1] if known else None

    def forget(self, namespace: str, *names: str) -> None:
        """The objects of these names are gone."""
        for key in [key for key in self.applied if key[1] == namespace and key[2] in names]:
            del self.applied[key]

    async def _create(self, kind: Kind, body: Body) -> None:
        """Make a Deployment whole, as admission policies look at it, and without replicas, by a manager of its own: a field that
        its manager no longer applies is taken away, and so ``replicas`` would become 1 by the apply that follows."""
        try:
            await self.client.apply(kind, body, CREATION_MANAGER, force=False)
        except Refused as refused:
            raise _as_error(kind, body, refused) from refused

    async def _release_template(self, kind: Kind, live: Body) -> Body:
        """The manager of the birth keeps the number alone, whoever sets it later: else a field of the template that is no longer
        wanted would stay, as it had two managers."""
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
    """What ``manager`` has applied of the object, as its managedFields say."""
    entries = live["metadata"].get("managedFields") or ()
    return next((each for each in entries if each.get("manager") == manager and each.get("operation") == "Apply"), None)


def _fields(entry: Mapping[str, Any] | None) -> Mapping[str, Any]:
    fields = (entry or {}).get("fieldsV1") or {}
    spec: Mapping[str, Any] = fields.get("f:spec") or {}
    return spec


def covers(live: Any, desired: Any, field_name: str = "", *, quantity: bool = False) -> bool:
    """Whether ``live`` has all that is ``wanted``; what others (or defaults) added beside it does not matter."""
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
    return {**body, "metadata": {**meta, "annotations": {**meta.get("annotations", {}), APPLIED: digest}}}


def _check_owner(kind: Kind, live: Body, desired: Body) -> None:
    meta, ours = live["metadata"], desired["metadata"]["ownerReferences"][0]
    if owner_uid(meta) == ours["uid"]:
        if "deletionTimestamp" in meta:
            raise ApiOutage("ChildLeaving", f"{kind.kind} {meta['name']} is being deleted; it is made anew after that")
        return
    former = [each for each in meta.get("ownerReferences") or () if each.get("controller")]
    if any(each["kind"] == ours["kind"] and each["name"] == ours["name"] for each in former):
        raise ApiOutage(
            "ChildLeaving", f"{kind.kind} {meta['name']} is of the SweepSchedule before; it is being removed"
        )
    whose = f"{former[0]['kind']} {former[0]['name']}" if former else "nobody that is known here"
    raise NameTaken(f"the {kind.kind} {meta['name']} is there already and belongs to {whose}")


def _as_error(kind: Kind, body: Body, refused: Refused) -> KubesweepError:
    """What a refusal means: the object is wrong, or the world is (rights, quota, a namespace that is being deleted)."""
    what = f"{kind.kind} {body['metadata']['name']}"
    if refused.invalid:
        return ApplyRejected(f"the {what}: {refused}")
    if refused.reason == "Conflict":
        return ApiOutage("ApiBusy", f"{what}: {refused}")
    return ApplyBlocked(f"{what}: {refused}")
