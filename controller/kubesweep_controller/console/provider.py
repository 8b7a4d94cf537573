"""The data of the console: the schedules of the leader's cache, or, in a standby, of the API server.

A Service sends requests to every ready pod, so leader and standby must show the same. The leader watches, and its cache is what the API server
reported last. A standby watches nothing; it lists the schedules every ``LIST`` seconds while somebody reads a page.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kubesweep.errors import Outage
from kubesweep_console.cluster_documents import document_of, error_groups
from kubesweep_console.documents import Schedule
from kubesweep_console.provider import Action, ActionKind, DeadLetters, Document, Snapshot
from kubesweep_controller.children.names import ScheduleKey
from kubesweep_controller.kube.client import SCHEDULES, KubeClient, Refused
from kubesweep_controller.kube.object_limits import trim
from kubesweep_controller.status.formatting import annotate, namespaced_name

__all__ = ["ClusterProvider"]

Body = Mapping[str, Any]
Schedules = Mapping[ScheduleKey, Body]
LIST = 10.0  # seconds between two lists
PROBE = 5.0  # seconds between two questions whether the API server responds
_ANNOTATIONS = {
    ActionKind.TRIGGER: "trigger",
    ActionKind.APPROVE: "approve",
    ActionKind.RETRY: "retry-dead-letters",
    ActionKind.PURGE: "purge-dead-letters",
}


class ClusterProvider:
    """``cached``: the schedules that a leader watches; None in a standby, and until everything was listed."""

    def __init__(
        self,
        title: str,
        client: KubeClient,
        namespaces: tuple[str, ...],
        cached: Callable[[], Schedules | None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.title, self.first = title, "kubectl apply -f sweep.yaml"
        self._client, self._namespaces, self._cached, self._clock = client, namespaces, cached, clock
        self._known: dict[str, tuple[Body, Document]] = {}  # by uid: a body and its document
        self._listed = Snapshot((), 0.0)
        self._answered, self._asked = 0.0, float("-inf")  # when the API server answered, and was asked
        self._problem = ""

    async def snapshot(self) -> Snapshot:
        bodies = self._cached()
        if bodies is None:
            return await self._list()
        await self._probe()
        # Another thread changes the cache, but never an object in it.
        documents = self._documents(dict(bodies).values())
        return Snapshot(documents, self._answered, self._problem, self._version())

    async def dead_letters(self, document: Document) -> DeadLetters:
        """The groups of the status. Single dead letters are in the queue, which the console does not read."""
        return DeadLetters(error_groups(document))

    def command(self, action: Action) -> str:
        """The kubectl command. It acts on what the page shows: on the dead letters of one error, or on this one sweep."""
        namespace, name = namespaced_name(action.document)
        if action.kind in _ANNOTATIONS:
            narrowed_by = {"error": action.error, "sweep": action.sweep}
            given = {name: value for name, value in narrowed_by.items() if value}
            return annotate(action.document, _ANNOTATIONS[action.kind], **given)
        schedule = Schedule(action.document)
        if action.kind is ActionKind.RESUME and schedule.paused and not schedule.suspended:
            return f"kubectl annotate sweepschedule {name} -n {namespace} kubesweep.dev/throttle-"
        suspend = "true" if action.kind is ActionKind.PAUSE else "false"
        patch = f'\'{{"spec":{{"suspend":{suspend}}}}}\''
        return f"kubectl patch sweepschedule {name} -n {namespace} --type merge -p {patch}"

    def _documents(self, bodies: Iterable[Body]) -> tuple[Document, ...]:
        """A body that did not change keeps its document, so that the console sees at once what changed."""
        kept: dict[str, tuple[Body, Document]] = {}
        for body in sorted(bodies, key=namespaced_name):
            uid = str(body["metadata"]["uid"])
            known = self._known.get(uid)
            kept[uid] = known if known is not None and known[0] is body else (body, document_of(body))
        self._known = kept
        return tuple(document for _, document in kept.values())

    async def _probe(self) -> None:
        """A watch does not report that the API server is away, and the cache looks the same."""
        now = self._clock()
        if 0 <= now - self._asked < PROBE:
            return
        self._asked = now
        try:
            await self._client.serves(SCHEDULES.group_version)
        except Outage as outage:
            self._problem = f"{outage.reason}: {outage}"
            return
        except Refused:
            pass  # it responds
        self._answered, self._problem = self._clock(), ""

    async def _list(self) -> Snapshot:
        """Raises ``Outage``."""
        now = self._clock()
        if 0 <= now - self._listed.read_at < LIST:
            return self._listed
        bodies: list[Body] = []
        for namespace in self._namespaces or (None,):
            try:
                async for page in self._client.pages(SCHEDULES, namespace):
                    bodies += map(trim, page)
            except Refused as refused:
                if namespace is None:
                    raise Outage(refused.reason, str(refused)) from refused
        self._listed = Snapshot(self._documents(bodies), now, version=self._version())
        return self._listed

    def _version(self) -> str:
        """Of the documents: the same in leader and standby."""
        versions = (f"{uid} {body['metadata'].get('resourceVersion')}" for uid, (body, _) in self._known.items())
        return hashlib.sha256("\n".join(versions).encode()).hexdigest()[:16]
