"""The data of the console: the schedules that the API server lists, with the rights of the person who runs it.

The list is read while somebody reads a page, every few seconds. The console only shows; each button is a command to copy.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kubectl_sweep.console.commands import command_of
from kubectl_sweep.console.leases import Silence
from kubesweep.errors import KubesweepError, Outage
from kubesweep_console.cluster_documents import document_of, error_groups
from kubesweep_console.provider import Action, DeadLetters, Document, Snapshot

__all__ = ["LIST", "ApiProvider"]

LIST = 5.0  # seconds between two lists
FIRST = "kubectl apply -f sweep.yaml"


class ApiProvider:
    """``list_schedules`` and ``silence`` block while they ask the API server, so they run in a thread. ``options``: see :func:`command_of`.

    ``silence``: whether a controller of these schedules reports nothing any more. Then their status is of that moment.
    """

    def __init__(
        self,
        title: str,
        list_schedules: Callable[[], Sequence[Mapping[str, Any]]],
        options: str = "",
        clock: Callable[[], float] = time.time,
        silence: Callable[[Sequence[Mapping[str, Any]]], Silence | None] = lambda _: None,
    ) -> None:
        self.title, self.first = title, FIRST
        self._list, self._options, self._clock, self._silence = list_schedules, options, clock, silence
        self._known: dict[tuple[str, str], Document] = {}  # by uid and version
        self._snapshot, self._listed = Snapshot((), 0.0), float("-inf")

    async def snapshot(self) -> Snapshot:
        """Raises Outage if the API server does not answer, or refuses."""
        now = self._clock()
        if 0 <= now - self._listed < LIST:
            return self._snapshot
        try:
            bodies, silence = await asyncio.to_thread(self._ask)
        except Outage:
            raise
        except KubesweepError as error:
            raise Outage(type(error).__name__, str(error)) from error
        self._listed = self._clock()
        documents = self._documents(bodies)
        if silence is None:
            self._snapshot = Snapshot(documents, self._listed)
        else:
            self._snapshot = Snapshot(documents, silence.since, silence.sentence)
        return self._snapshot

    def _ask(self) -> tuple[Sequence[Mapping[str, Any]], Silence | None]:
        bodies = self._list()
        return bodies, self._silence(bodies)

    async def dead_letters(self, document: Document) -> DeadLetters:
        """The groups of the status. ``kubectl sweep dead show`` reads single dead letters in the schedule's namespace."""
        return DeadLetters(error_groups(document))

    def command(self, action: Action) -> str:
        return command_of(action, self._options)

    def _documents(self, bodies: Sequence[Mapping[str, Any]]) -> tuple[Document, ...]:
        """An object that did not change keeps its document."""
        kept: dict[tuple[str, str], Document] = {}
        for body in sorted(bodies, key=_place):
            meta = body["metadata"]
            key = (str(meta.get("uid")), str(meta.get("resourceVersion")))
            kept[key] = self._known.get(key) or document_of(body)
        self._known = kept
        return tuple(kept.values())


def _place(body: Mapping[str, Any]) -> tuple[str, str]:
    meta = body["metadata"]
    return str(meta.get("namespace", "")), str(meta.get("name", ""))
