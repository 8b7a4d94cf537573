"""Limits what one namespace can do to the queue that all share: scripts that never end, and memory beyond its limit.

Every few seconds each server is asked for its memory, which also shows whether it responds, and for its users, which a restart
deletes. A script that blocks a server is killed. One that has written cannot be killed: only a restart ends it, which the chart's
liveness probe does after a minute. A namespace whose scripts are killed twice loses its credentials for ten minutes. Once a minute,
or at once where memory is low, the keys of each namespace are measured. A namespace above its limit loses its credentials for ten
minutes, and the excess is deleted: the queue is disposable, and other namespaces need the memory.
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

CHECK_SECONDS = 5.0
MEASURE_SECONDS = 60.0  # between two measurements of all keys
REVOKED_SECONDS = 600.0  # that a namespace stays without credentials
LOW_MEMORY = 0.5  # share of the server's memory in use above which every check measures
NO_EVICTION = "noeviction"
_T = TypeVar("_T")
log = logging.getLogger("kubesweep.controller.tenants")


class Tenants:
    """``served``: the namespaces that have schedules. ``refs``: the schedules of one. ``on_change`` is called with a namespace whose state
    changed. ``clock``: seconds since the epoch.
    """

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
        self._serving = [self._target]  # as last reported; a busy server does not list the others
        self._measured = self._cleared = float("-inf")
        self._revoked_until: dict[str, float] = {}  # seconds since the epoch
        self._last_kill: dict[str, float] = {}  # when a script of the namespace was killed
        self._logged: set[str] = set()
        self.eviction_policy = ""  # of the server; empty for noeviction

    async def run(self) -> None:
        """Check until cancelled. An outage of the server is reported elsewhere."""
        while True:
            try:
                await self.check()
            except Outage as outage:
                log.debug("cannot check the queue's servers now: %s", outage)
            except Exception as error:
                log.error("an unexpected error while checking the queue's servers; please report it", exc_info=error)
            await asyncio.sleep(CHECK_SECONDS)

    async def check(self) -> None:
        """One check. Raises ``Outage``, except where the controller's user lacks a permission: then only that part is skipped."""
        try:
            short = await self._allowed(self._ask_memory())
        except Outage as outage:
            if outage.reason in ("QueueBusy", "QueueTimeout"):
                await self._end_scripts()
            raise
        await self._allowed(self._restore_users())
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
        except Outage as outage:
            if outage.reason != "QueueRights":
                raise
            self._log_once(f"one check of the queue's servers is skipped: {outage}")
            return None

    async def _ask_memory(self) -> bool:
        """Whether one of the servers is low on memory."""
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

    async def _restore_users(self) -> None:
        for namespace in await self._credentials.find_lost(self._serving):
            log.warning(
                "a server of the queue lost the namespace's users: they are set again", extra={"namespace": namespace}
            )
            self._on_change(namespace)

    async def _end_scripts(self) -> None:
        for server in self._serving:
            try:
                user = await end_script(server)
            except Outage as outage:
                if "UNKILLABLE" in str(outage):
                    log.error("a script that has written blocks %s: only a restart of the server ends it", server.where)
                continue
            if user is None:
                continue
            self._metrics.killed_script()
            log.warning("killed a script that blocked %s; it was sent by %s", server.where, user or "an unknown user")
            namespace = namespace_of(self._install, user)
            if namespace is not None and self._credentials.own_users:
                await self._count_script(namespace)

    async def _count_script(self, namespace: str) -> None:
        """The first script may have hit a server that was slow anyway, so only the second one within ``REVOKED_SECONDS`` counts."""
        now = self._clock()
        if now - self._last_kill.get(namespace, float("-inf")) < REVOKED_SECONDS:
            why = f"scripts from namespace {namespace} blocked the queue for all others"
            await self._revoke(namespace, "QueueScript", why)
            self._on_change(namespace)
        self._last_kill[namespace] = now

    async def _revoke(self, namespace: str, reason: str, why: str) -> None:
        until = self._revoked_until[namespace] = self._clock() + REVOKED_SECONDS
        message = (
            f"queue {self._target.where}: {why}. The namespace's credentials are disabled until {time_text(int(until))}. Find out who "
            "else uses them"
        )
        log.warning("%s", message, extra={"namespace": namespace})
        await self._credentials.revoke(namespace, Outage(reason, message))

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
                log.info("the namespace's queue credentials are enabled again", extra={"namespace": namespace})
                self._on_change(namespace)
        for namespace, size in sums.items():
            if limit and size > limit:
                try:
                    await self._over_share(namespace, size)
                except Outage as outage:  # the next measurement retries it
                    log.warning("cannot free the queue's memory: %s", outage, extra={"namespace": namespace})

    async def _over_share(self, namespace: str, size: int) -> None:
        limit = self._settings.namespace_memory
        if not namespace:
            for server in self._serving:
                await delete_unserved(server, self._install, self._served())
        elif not self._credentials.own_users:
            text = f"namespace {namespace} uses {mebibytes(size)} of the queue, more than {mebibytes(limit)}"
            self._log_once(f"{text}; all namespaces share one user, so it cannot be disabled")
        else:
            why = (
                f"the keys of namespace {namespace} used {mebibytes(size)}, more than queue.namespaceMemory ({mebibytes(limit)}). "
                "The excess is deleted, so its sweeps start again"
            )
            await self._revoke(namespace, "QueueMemory", why)
            await shrink(self._serving, self._install, namespace, self._refs(namespace), limit)
            self._on_change(namespace)

    def _log_once(self, text: str) -> None:
        if text not in self._logged:
            self._logged.add(text)
            log.warning("%s", text)
