"""The console's data on this machine: the queue, and the spec of each schedule whose file was given."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from kubesweep.api.loading.files import Loaded
from kubesweep.errors import KubesweepError
from kubesweep.logging import safe_url
from kubesweep.queue.model import LOCAL, ScheduleRef
from kubesweep.queue.service import QueueService, stats_of_each
from kubesweep_cli.dashboard.documents import document
from kubesweep_cli.shell.schedule_names import typed_name
from kubesweep_cli.shell.state_paths import program, queue_option
from kubesweep_cli.shell.suspending import suspended
from kubesweep_console.provider import Action, ActionKind, DeadLetters, Document, Snapshot

__all__ = ["QueueProvider"]

GROUPS = 50
LETTERS = 3  # of each group
_ANNOTATIONS = {
    ActionKind.TRIGGER: "trigger=$(date +%s)",
    ActionKind.APPROVE: "approve=$(date +%s)",
    ActionKind.PAUSE: "throttle=pause",
    ActionKind.RESUME: "throttle-",
}


class QueueProvider:
    """``where``: the URL of the queue. ``option``: the value of ``--queue``, for commands. ``loaded``: the schedules of the files.

    ``called``: how commands name this program; None: as it is called from here.
    """

    def __init__(
        self,
        queue: QueueService,
        where: str,
        option: str | None,
        loaded: Sequence[Loaded] = (),
        now: Callable[[], float] = time.time,
        called: str | None = None,
    ) -> None:
        self.title = f"queue {safe_url(where)}"
        self._queue, self._option, self._now = queue, option, now
        self.first = f"{called or program()} run -f sweep.yaml{queue_option(option)}"
        self.loaded = {one.ref: one for one in loaded}
        self._databases = {ref: _address(one) for ref, one in self.loaded.items()}
        self._refs: dict[str, ScheduleRef] = {ref.uid: ref for ref in self.loaded}
        self._program = called or program()
        self._suspended: frozenset[ScheduleRef] = frozenset()  # at the last snapshot

    async def snapshot(self) -> Snapshot:
        refs = sorted({*await self._queue.schedules(), *self.loaded})
        now = self._now()
        stats = await stats_of_each(self._queue, refs)
        self._suspended = frozenset(ref for ref, one in zip(refs, stats, strict=True) if suspended(one))
        self._refs |= {ref.uid: ref for ref in refs}  # a page may still be about one that has gone
        documents = tuple(
            document(ref, one, self.loaded.get(ref), self._databases.get(ref, ""), now)
            for ref, one in zip(refs, stats, strict=True)
        )
        return Snapshot(documents, now)

    def ref(self, shown: Document) -> ScheduleRef:
        return self._refs[shown["metadata"]["uid"]]

    async def dead_letters(self, document: Document) -> DeadLetters:
        ref = self.ref(document)
        groups = await self._queue.error_groups(ref, most=GROUPS)
        letters = [await self._queue.dead_letters(ref, error=group.error, most=LETTERS) for group in groups]
        return DeadLetters(groups, tuple(letter for found in letters for letter in found))

    def command(self, action: Action) -> str:
        ref = self.ref(action.document)
        kind = action.kind
        if ref.install != LOCAL and kind in _ANNOTATIONS:
            # The pace of a schedule in a cluster belongs to its controller; a trigger reaches it in both ways.
            verb = f"kubectl annotate sweepschedule {ref.name} -n {ref.namespace} --overwrite"
            return f"{verb} kubesweep.dev/{_ANNOTATIONS[kind]}"
        name, queue = typed_name(ref), queue_option(self._option)
        error = f" --error {shlex.quote(action.error)}" if action.error else ""
        words = {
            ActionKind.TRIGGER: f"trigger {name}",
            ActionKind.APPROVE: f"approve {name}",
            ActionKind.PAUSE: f"throttle {name} pause",
            ActionKind.RESUME: "" if self.suspended(ref) else self._resume(ref),
            ActionKind.RETRY: f"dead retry {name}{error}",
            ActionKind.PURGE: f"dead purge {name}{error}",
        }[kind]
        return f"{self._program} {words}{queue}" if words else ""

    def _resume(self, ref: ScheduleRef) -> str:
        name = typed_name(ref)
        return f"resume {name}" if ref in self._suspended else f"throttle {name} reset"

    def suspended(self, ref: ScheduleRef) -> bool:
        """Whether its file suspends it, which only an edit changes."""
        return (one := self.loaded.get(ref)) is not None and one.suspend


def _address(one: Loaded) -> str:
    """The database's address without a password; empty where it cannot be read now."""
    with suppress(KubesweepError):
        return safe_url(one.url)
    return ""
