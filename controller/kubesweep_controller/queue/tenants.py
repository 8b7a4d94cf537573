"""What namespaces do to the queue that they share: a script without an end, more memory than their share.

Every few seconds each server is asked for its memory, which also tells whether it answers at all. Where somebody's script keeps
it from that, the script is killed; one that has written cannot be, and only a restart ends it (the chart's liveness probe does
that after a minute); whose scripts have to be killed twice loses its logins for a while. Once a minute, and at once where memory
runs short, the keys of each namespace are summed up. A namespace above its share loses its logins for a while, and what
it had too much: the queue is disposable, and the others need the memory.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from typing import TypeVar

from kubesweep.errors import Outage
from kubesweep.queue.model import ScheduleRef
from kubesweep.queue.redis.connections import parse
from kubesweep_controller.metrics import Metrics
from kubesweep_controller.queue.credentials import QueueCredentials
from kubesweep_controller.queue.memory import delete_unserved, measure, shrink
from kubesweep_controller.queue.servers import ask, serving
from kubesweep_controller.queue.stuck_scripts import end_script
from kubesweep_controller.queue.users import namespace_of
from kubesweep_controller.settings import Settings
from kubesweep_controller.status.formatting import mebibytes, time_text

CHECK_SECONDS = 5.0  # seconds
MEASURE_SECONDS = 60.0  # seconds from one sum of all keys to the next
REVOKED_SECONDS = 600.0  # seconds that a namespace stays without its logins
LOW_MEMORY = 0.5  # part of the server's memory in use from which sums are made at each pulse
NO_EVICTION = "noeviction"
_T = TypeVar("_T")
_log = logging.getLogger("kubesweep.controller.tenants")


class Tenants:
    """``served`` are the namespaces that have schedules, ``refs`` those of one; ``told`` is called with a namespace of which there is
    something new to say. ``clock``: seconds since the epoch."""

    def __init__(
        self,
        settings: Settings,
        install: str,
        credentials: QueueCredentials,
        metrics: Metrics,
        served: Callable[[], Collection[str]],
        refs: Callable[[str], Collection[ScheduleRef]],
        on_change: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings, self._install = settings, install
        self._credentials, self._metrics = credentials, metrics
        self._served, self._refs, self._on_change = served, refs, on_change
        self._clock = clock
        self._target = parse(settings.queue_url)
        self._serving = [self._target]  # as last heard; a server that is busy does not answer who else serves
        self._measured = self._cleared = float("-inf")
        self._revoked_until: dict[str, float] = {}  # until when
        self._last_kill: dict[str, float] = {}  # when a script of theirs was killed
        self._logged: set[str] = set()
        self.eviction_policy = ""  # the server's eviction policy, where it has one

    async def run(self) -> None:
        """For ever. A server that is away is somebody else's news."""
        while True:
            try:
                await self.check()
            except Outage as met:
                _log.debug("the queue cannot be looked after now: %s", met)
            except Exception as error:
                _log.error("an error in looking after the queue; please report it", exc_info=error)
            await asyncio.sleep(CHECK_SECONDS)

    async def check(self) -> None:
        """One pulse. Raises Outage, but where the controller's login lacks a right: then that part alone rests."""
        try:
            short = await self._allowed(self._ask_memory())
        except Outage as met:
            if met.reason in ("QueueBusy", "QueueTimeout"):
                await self._end_scripts()
            raise
        now = self._clock()
        if now - self._cleared >= MEASURE_SECONDS:
            self._cleared = now
            await self._allowed(self._credentials.delete_unused(self._served))
        if short or now - self._measured >= MEASURE_SECONDS:
            self._measured = now
            await self._allowed(self._measure())

    async def _allowed(self, part: Awaitable[_T]) -> _T | None:
        try:
            return await part
        except Outage as met:
            if met.reason != "QueueRights":
                raise
            self._log_once(f"a part of looking after the queue rests: {met}")
            return None

    async def _ask_memory(self) -> bool:
        """Whether memory runs short on one of the servers."""
        self._serving, _ = await serving(self._target)
        infos = [await ask(each, lambda client: client.info("memory")) for each in self._serving]
        self.eviction_policy = ", ".join(
            sorted({str(info.get("maxmemory_policy", NO_EVICTION)) for info in infos} - {NO_EVICTION})
        )
        return any(
            limit and info["used_memory"] > LOW_MEMORY * limit
            for info in infos
            if (limit := int(info.get("maxmemory", 0)))
        )

    async def _end_scripts(self) -> None:
        for server in self._serving:
            try:
                user = await end_script(server)
            except Outage as met:
                if "UNKILLABLE" in str(met):
                    _log.error("a script keeps %s busy and has written: only a restart of it ends that", server.where)
                continue
            if user is None:
                continue
            self._metrics.killed_script()
            _log.warning(
                "a script kept %s busy and was killed; it was sent by %s", server.where, user or "nobody known"
            )
            namespace = namespace_of(self._install, user)
            if namespace is not None and self._credentials.own_users:
                await self._count_script(namespace)

    async def _count_script(self, namespace: str) -> None:
        """The first script may have met a server without a moment to spare."""
        now = self._clock()
        if now - self._last_kill.get(namespace, float("-inf")) < REVOKED_SECONDS:
            why = f"scripts that namespace {namespace} sent kept everybody from the queue"
            await self._revoke(namespace, "QueueScript", why)
            self._on_change(namespace)
        self._last_kill[namespace] = now

    async def _revoke(self, namespace: str, reason: str, why: str) -> None:
        until = self._revoked_until[namespace] = self._clock() + REVOKED_SECONDS
        said = (
            f"queue {self._target.where}: {why}. Its logins are switched off until {time_text(int(until))}. See who else "
            "writes with its login"
        )
        _log.warning("%s", said, extra={"namespace": namespace})
        await self._credentials.revoke(namespace, Outage(reason, said))

    async def _measure(self) -> None:
        sums: Counter[str] = Counter()
        for server in self._serving:
            sums += await measure(server, self._install, self._served())
        self._metrics.queue_memory({namespace: size for namespace, size in sums.items() if namespace})
        limit, now = self._settings.namespace_memory, self._clock()
        for namespace, until in list(self._revoked_until.items()):
            if now >= until and sums[namespace] <= limit:
                del self._revoked_until[namespace]
                self._credentials.restore(namespace)
                _log.info("the namespace has its logins to the queue again", extra={"namespace": namespace})
                self._on_change(namespace)
        for namespace, size in sums.items():
            if limit and size > limit:
                try:
                    await self._over_share(namespace, size)
                except Outage as met:  # the others' turn comes all the same, and its own with the next sum
                    _log.warning("the queue's memory cannot be freed: %s", met, extra={"namespace": namespace})

    async def _over_share(self, namespace: str, size: int) -> None:
        limit = self._settings.namespace_memory
        if not namespace:
            for server in self._serving:
                await delete_unserved(server, self._install, self._served())
        elif not self._credentials.own_users:
            text = f"namespace {namespace} takes {mebibytes(size)} of the queue, more than {mebibytes(limit)}"
            self._log_once(f"{text}; its login is everybody's, so it cannot be switched off")
        else:
            why = (
                f"the keys of namespace {namespace} took {mebibytes(size)}, more than queue.namespaceMemory ({mebibytes(limit)}), "
                "and what was too much is deleted: its sweeps start anew"
            )
            await self._revoke(namespace, "QueueMemory", why)
            await shrink(self._serving, self._install, namespace, self._refs(namespace), limit)
            self._on_change(namespace)

    def _log_once(self, text: str) -> None:
        if text not in self._logged:
            self._logged.add(text)
            _log.warning("%s", text)
