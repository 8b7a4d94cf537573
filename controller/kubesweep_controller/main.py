"""kubesweep-controller: from the environment to a running controller, and to its end.

The Lease is taken before anything else is done. When it is lost the process exits at once, its pod starts it again; on SIGTERM
it is released, so that the next one need not wait. Nothing has to be brought to an end: every look can be cut anywhere.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Coroutine, Mapping
from typing import Any

from kubesweep import logging as logs
from kubesweep.errors import SpecError
from kubesweep.queue.connect import connect
from kubesweep.queue.model import ScheduleRef
from kubesweep_controller.health import Health, serve
from kubesweep_controller.kube import kubeconfig
from kubesweep_controller.kube.apply import Applier
from kubesweep_controller.kube.cache import Cache
from kubesweep_controller.kube.client import Kind, KubeClient
from kubesweep_controller.kube.events import Events
from kubesweep_controller.kube.kubeconfig import Kubeconfig
from kubesweep_controller.kube.leader_election import LeaderElection
from kubesweep_controller.kube.object_limits import PARSED
from kubesweep_controller.kube.watch import Watcher
from kubesweep_controller.kube.workqueue import WorkQueue
from kubesweep_controller.metrics import Metrics
from kubesweep_controller.queue.circuit_breaker import Gate
from kubesweep_controller.queue.credentials import QueueCredentials
from kubesweep_controller.queue.password import QueuePassword
from kubesweep_controller.queue.tenants import Tenants
from kubesweep_controller.reconcile.children_reconciler import ChildrenReconciler
from kubesweep_controller.reconcile.ownership import Ownership
from kubesweep_controller.reconcile.reconciler import Reconciler
from kubesweep_controller.reconcile.resync import PERIOD, Resync
from kubesweep_controller.settings import Settings, from_environment

LEASE_TIMEOUT = 5.0  # seconds that one call for the Lease may take
_log = logging.getLogger("kubesweep.controller")


def main() -> None:
    """The console script. Exit code 0 after SIGTERM, 1 where the Lease was lost or a part failed, 2 for wrong settings."""
    try:
        settings = from_environment(os.environ)
    except SpecError as error:
        print(f"kubesweep-controller: {error}", file=sys.stderr)
        sys.exit(2)
    logs.configure(settings.log_level)
    sys.setrecursionlimit(PARSED)
    _lead_kopf(settings.log_level)
    try:
        sys.exit(asyncio.run(run(settings)))
    except SpecError as error:
        _log.error("%s", error)
        sys.exit(2)


def _lead_kopf(level: str) -> None:
    """kopf's log goes the way of ours; of its everyday business nobody needs to hear."""
    kopf_log = logging.getLogger("kopf")
    kopf_log.handlers = list(logging.getLogger("kubesweep").handlers)
    kopf_log.setLevel(logging.INFO if level == "debug" else logging.ERROR)
    kopf_log.propagate = False


async def run(settings: Settings, at: Kubeconfig | None = None) -> int:
    """Lead when it is our turn, until a signal or the loss of the Lease. The exit code."""
    at = at or kubeconfig.find()
    client, lease_client = KubeClient(at), KubeClient(at, LEASE_TIMEOUT)
    health, metrics = Health(max_age=3 * PERIOD), Metrics()
    lease = LeaderElection(lease_client, settings.namespace, settings.lease_name, settings.identity)
    stop = _stop_signal()
    turning = asyncio.create_task(health.run())
    probes = await serve(health, metrics, settings.port)
    try:
        uid = await _unless(stop, _follow(lease, health))
        if uid is None:
            return 0
        health.is_leader = True
        metrics.leading(True)
        return await _lead(settings, at, client, lease, uid, health, metrics, stop)
    finally:
        turning.cancel()
        await probes.cleanup()
        await client.close()
        await lease_client.close()


async def _follow(lease: LeaderElection, health: Health) -> str:
    async def show() -> None:
        while True:
            health.is_standby = lease.is_standby
            await asyncio.sleep(1.0)

    showing = asyncio.create_task(show())
    try:
        return await lease.acquire()
    finally:
        showing.cancel()


async def _lead(
    settings: Settings,
    at: Kubeconfig,
    client: KubeClient,
    lease: LeaderElection,
    uid: str,
    health: Health,
    metrics: Metrics,
    stop: asyncio.Event,
) -> int:
    password = QueuePassword.of(settings, client)
    manager = Manager(password.settings, at, client, uid[:8], health, metrics)
    held = asyncio.create_task(lease.hold())
    tasks = [asyncio.create_task(each) for each in (*manager.coroutines(), password.run())]
    stopped = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait([held, stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        if stopped in done:
            held.cancel()
            await asyncio.gather(held, return_exceptions=True)
            await lease.release()
            return 0
        if held in done:
            _log.error("the Lease is lost: %s", held.result(), extra={"lease": settings.lease_name})
            return 1
        for task in done:
            task.result()
        return 1
    finally:
        for task in (held, stopped, *tasks):
            task.cancel()
        await asyncio.gather(held, stopped, *tasks, return_exceptions=True)
        await manager.close()
        password.close()


class Manager:
    """All that a leading controller consists of, put together."""

    def __init__(
        self,
        settings: Settings,
        at: Kubeconfig,
        client: KubeClient,
        install: str,
        health: Health,
        metrics: Metrics,
    ) -> None:
        self._health = health
        self._cache = Cache()
        self._queue = connect(settings.queue_url)
        self._gate = Gate(self._queue, install, self._queue_is_back)
        self._credentials = QueueCredentials(settings, install, client)
        self._household = ChildrenReconciler(settings, client, self._cache, Applier(client), self._credentials)
        self._reconciler = Reconciler(
            install=install,
            client=client,
            cache=self._cache,
            children_reconciler=self._household,
            gate=self._gate,
            events=Events(client, settings.identity),
            metrics=metrics,
            ownership=Ownership(client, self._cache, f"{settings.namespace}/{settings.lease_name}"),
            namespaces=settings.namespaces,
            eviction_policy=lambda: self._tenants.eviction_policy,
            pod_policy=settings.pod_policy,
        )
        self._workqueue = WorkQueue(self._reconciler.look)
        self._install = install
        self._tenants = Tenants(settings, install, self._credentials, metrics, self._served, self._refs, self._look_at)
        self._watcher = Watcher(at, self._watchable, self._saw)
        self._resync = Resync(
            client,
            settings.namespaces,
            self._cache,
            self._workqueue,
            self._household,
            self._reconciler,
            self._listed,
            rewatch=self._watcher.again,
        )

    def coroutines(self) -> list[Coroutine[Any, Any, Any]]:
        """What runs side by side; none of them ever ends by itself."""
        return [self._serve(), self._gate.run()]

    async def close(self) -> None:
        await self._queue.close()

    async def _serve(self) -> None:
        await self._resync.until_served()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._resync.find_keda())
            group.create_task(self._resync.run())
            group.create_task(self._resync.work_on())
            group.create_task(self._watcher.run(self._resync.until_served, self._resync.wanted.set))
            group.create_task(self._resync.collect_garbage())
            group.create_task(self._look_after_tenants())

    async def _look_after_tenants(self) -> None:
        await self._resync.listed_once()
        await self._tenants.run()

    def _served(self) -> frozenset[str]:
        """Namespaces that have schedules, or may have some that cannot be seen now."""
        return frozenset(namespace for namespace, _ in self._cache.schedules) | self._resync.refused.keys()

    def _refs(self, namespace: str) -> list[ScheduleRef]:
        return [
            ScheduleRef(self._install, *key, body["metadata"]["uid"])
            for key, body in self._cache.schedules.items()
            if key[0] == namespace
        ]

    def _look_at(self, namespace: str) -> None:
        for key in self._cache.schedules:
            if key[0] == namespace:
                self._workqueue.add(key)

    def _saw(self, kind: Kind, body: Mapping[str, Any], deleted: bool) -> None:
        key = self._cache.update(kind, body, deleted=deleted)
        if key is not None:
            self._workqueue.add(key)

    def _watchable(self) -> tuple[str, ...] | None:
        return self._resync.served or (None if self._resync.namespaces else ())

    def _listed(self) -> None:
        self._health.listed = time.monotonic()

    def _queue_is_back(self) -> None:
        self._health.queue_reached = True
        self._credentials.invalidate()
        for key in self._cache.schedules:
            self._workqueue.add(key)


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    return stop


async def _unless(stop: asyncio.Event, call: Coroutine[Any, Any, str]) -> str | None:
    """The result of ``work``, or None if the stop comes first."""
    working, stopped = asyncio.create_task(call), asyncio.create_task(stop.wait())
    await asyncio.wait([working, stopped], return_when=asyncio.FIRST_COMPLETED)
    for task in (working, stopped):
        task.cancel()
    await asyncio.gather(working, stopped, return_exceptions=True)
    return working.result() if working.done() and not working.cancelled() else None


if __name__ == "__main__":
    main()
