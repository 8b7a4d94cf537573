"""Which of several releases serves a namespace. Two releases that served the same one would undo each other's work without end.

``status.servedBy`` of a schedule names its release: the namespace and name of a Deployment. The oldest schedule that has one decides
for the whole namespace, so all releases agree without communicating. A release that finds another one there leaves the namespace
alone. It takes over when that Deployment is gone, or is configured for other namespaces.

A release of a few namespaces may have no permission to read Deployments elsewhere. It takes over what it cannot verify, because the
other release may be gone, and yields when that one claims it back. So every schedule is served, and no two releases keep fighting.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kubesweep_controller.kube.cache import Cache
from kubesweep_controller.kube.client import DEPLOYMENTS, SCHEDULES, KubeClient, Refused
from kubesweep_controller.settings import NAMESPACES, comma_separated
from kubesweep_controller.status.conditions.reasons import Reason
from kubesweep_controller.status.event_rules import EventRequest

CACHE_SECONDS = 30.0  # for which an answer is reused
RECHECK_SECONDS = 60.0  # between two reconciles of a schedule that another release serves
log = logging.getLogger("kubesweep.controller")

Body = Mapping[str, Any]


@dataclass
class Ownership:
    """``mine``: this release's own name, as in ``servedBy``."""

    client: KubeClient
    cache: Cache
    mine: str
    clock: Callable[[], float] = time.monotonic
    _decided: dict[str, tuple[float, str | None]] = field(default_factory=dict)  # by namespace: when, the other release
    _serving: dict[str, tuple[float, frozenset[str] | None]] = field(default_factory=dict)
    _claimed: set[str] = field(default_factory=set)  # namespaces
    _reported: set[tuple[str, str]] = field(default_factory=set)

    async def other(self, body: Body) -> str | None:
        """The release that serves this schedule; None: this one does, or none yet. Raises ``ApiOutage``."""
        namespace, now = body["metadata"]["namespace"], self.clock()
        known = self._decided.get(namespace)
        if known is None or now - known[0] >= CACHE_SECONDS or served_by(body) not in ("", known[1] or self.mine):
            known = self._decided[namespace] = now, await self._decide(namespace)
        return known[1]

    async def _decide(self, namespace: str) -> str | None:
        claimed = [each for (place, _), each in self.cache.schedules.items() if place == namespace and served_by(each)]
        for each in sorted(claimed, key=_age):
            owner = served_by(each)
            if owner == self.mine:
                return None
            try:
                serves = await self._namespaces(owner)
            except Refused:  # no permission to read it
                serves = frozenset({namespace} & self._claimed)
            if serves is None or namespace in serves:
                return owner
        return None

    async def _namespaces(self, release: str) -> frozenset[str] | None:
        """The namespaces that a release serves; None: all. Raises ``Refused``."""
        now, known = self.clock(), self._serving.get(release)
        if known is None or now - known[0] >= CACHE_SECONDS:
            namespace, _, name = release.partition("/")
            deployment = await self.client.get(DEPLOYMENTS, namespace, name)
            serves = frozenset[str]() if deployment is None else _environment(deployment)
            known = self._serving[release] = now, serves
        return known[1]

    async def claim(self, body: Body) -> Body | None:
        """Write our name into the status. Returns the object afterwards; None: it was changed meanwhile, or is gone."""
        meta = body["metadata"]
        patch = {"metadata": {"resourceVersion": meta["resourceVersion"]}, "status": {"servedBy": self.mine}}
        try:
            written = await self.client.patch(SCHEDULES, meta["namespace"], meta["name"], patch, "status")
        except Refused as refused:
            if refused.reason == "Conflict":
                return None
            raise
        self._claimed.add(meta["namespace"])
        return written

    def leave(self, body: Body, other: str) -> EventRequest | None:
        """The Event for a schedule that another release serves; None: it was posted before."""
        namespace, uid = body["metadata"]["namespace"], body["metadata"]["uid"]
        if (namespace, other) not in self._reported:
            self._reported.add((namespace, other))
            log.warning(
                "%s serves namespace %s, so this release ignores it", other, namespace, extra={"release": self.mine}
            )
        if (uid, other) in self._reported:
            return None
        self._reported.add((uid, other))
        note = (
            f"{other} (a Deployment) serves this namespace, so {self.mine} ignores it. To run both, give them"
            f" different namespaces (watchNamespaces). When {other} stops serving it, this release takes over."
        )
        return EventRequest(Reason.SERVED_BY_ANOTHER, note, f"{other}/{self.mine}", error=self.mine)


def served_by(body: Body) -> str:
    """Empty: no release yet."""
    return str((body.get("status") or {}).get("servedBy") or "")


def _environment(deployment: Body) -> frozenset[str] | None:
    """The namespaces that a controller's Deployment is configured for; None: all."""
    for container in deployment["spec"]["template"]["spec"]["containers"]:
        env = {each["name"]: each.get("value", "") for each in container.get("env") or ()}
        if names := comma_separated(env, NAMESPACES):
            return frozenset(names)
    return None


def _age(body: Body) -> tuple[str, str]:
    return body["metadata"].get("creationTimestamp", ""), body["metadata"]["name"]
