"""The data of the console: the schedules that the API server lists, with the rights of the person who runs it.

The list is read while somebody reads a page, every few seconds. The console only shows; each button is a command to copy.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kubectl_sweep.console.commands import command_of
from kubesweep.errors import KubesweepError, Outage
from kubesweep_console.cluster_documents import document_of, error_groups
from kubesweep_console.provider import Action, DeadLetters, Document, Snapshot

__all__ = ["LIST", "ApiProvider"]

LIST = 5.0  # seconds between two lists
FIRST = "kubectl apply -f sweep.yaml"


class ApiProvider:
    """``list_schedules`` blocks while it asks the API server, so it runs in a thread. ``options``: see :func:`command_of`."""

    def __init__(
        self,
        title: str,
        list_schedules: Callable[[], Sequence[Mapping[str, Any]]],
        options: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.title, self.first = title, FIRST
        self._list, self._options, self._clock = list_schedules, options, clock
        self._known: dict[tuple[str, str], Document] = {}  # by uid and version
        self._snapshot = Snapshot((), float("-inf"))

    async def snapshot(self) -> Snapshot:
        """Raises Outage if the API server does not answer, or refuses."""
        now = self._clock()
        if 0 <= now - self._snapshot.read_at < LIST:
            return self._snapshot
        try:
            bodies = await asyncio.to_thread(self._list)
        except Outage:
            raise
        except KubesweepError as error:
            raise Outage(type(error).__name__, str(error)) from error
        self._snapshot = Snapshot(self._documents(bodies), self._clock())
        return self._snapshot

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
