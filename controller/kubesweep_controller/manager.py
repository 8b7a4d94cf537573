"""Builds a leading controller from its parts and connects them.

Watch events fill the cache and add keys to the work queue, which reconciles them. Full lists (:class:`Resync`) catch what a watch
misses. A queue that becomes available again adds every schedule.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping
from typing import Any

from kubesweep.queue.connect import connect
from kubesweep.queue.model import ScheduleRef
from kubesweep_controller.children.names import ScheduleKey
from kubesweep_controller.health import Health
from kubesweep_controller.kube.apply import Applier
from kubesweep_controller.kube.cache import Cache
from kubesweep_controller.kube.client import Kind, KubeClient
from kubesweep_controller.kube.events import Events
from kubesweep_controller.kube.kubeconfig import Kubeconfig
from kubesweep_controller.kube.watch import Watcher
from kubesweep_controller.kube.workqueue import WorkQueue
from kubesweep_controller.metrics import Metrics
from kubesweep_controller.queue.credentials import QueueCredentials
from kubesweep_controller.queue.guarded_queue import GuardedQueue
from kubesweep_controller.queue.tenants import Tenants
from kubesweep_controller.reconcile.children_reconciler import ChildrenReconciler
from kubesweep_controller.reconcile.ownership import Ownership
from kubesweep_controller.reconcile.queue_reconciler import QueueReconciler
from kubesweep_controller.reconcile.reconciler import Reconciler
from kubesweep_controller.reconcile.resync import Resync
from kubesweep_controller.reconcile.spec_cache import SpecCache
from kubesweep_controller.settings import Settings


class Manager:
    """``install``: the first characters of the Lease's uid, part of every key in the queue."""

    def __init__(
        self,
        settings: Settings,
        kubeconfig: Kubeconfig,
        client: KubeClient,
        install: str,
        health: Health,
        metrics: Metrics,
    ) -> None:
        self._health, self._install = health, install
        self._cache = Cache()
        self._queue = GuardedQueue(connect(settings.queue_url), install, self._queue_available, metrics.queue_responds)
        self._credentials = QueueCredentials(settings, install, client)
        self._children = ChildrenReconciler(settings, client, self._cache, Applier(client), self._credentials)
        self._reconciler = Reconciler(
            client=client,
            cache=self._cache,
            children=self._children,
            queue=QueueReconciler(install, self._queue, settings.namespaces),
            specs=SpecCache(settings.pod_policy),
            events=Events(client, settings.identity),
            metrics=metrics,
            ownership=Ownership(client, self._cache, f"{settings.namespace}/{settings.lease_name}"),
            eviction_policy=lambda: self._tenants.eviction_policy,
        )
        self._workqueue = WorkQueue(self._reconciler.reconcile)
        self._tenants = Tenants(
            settings, install, self._credentials, metrics, self._served, self._refs, self._add_namespace
        )
        self._watcher = Watcher(kubeconfig, self._watchable, self._observed)
        self._resync = Resync(
            client,
            settings.namespaces,
            self._cache,
            self._workqueue,
            self._children,
            self._reconciler,
            self._listed,
            rewatch=self._watcher.restart,
        )

    def coroutines(self) -> list[Coroutine[Any, Any, Any]]:
        """What runs concurrently. None of them ever returns."""
        return [self._serve(), self._queue.run()]

    def schedules(self) -> Mapping[ScheduleKey, Mapping[str, Any]] | None:
        """What is served, for the console; None until everything was listed once."""
        return self._cache.schedules if self._resync.was_listed else None

    async def close(self) -> None:
        await self._queue.close()

    async def _serve(self) -> None:
        await self._resync.until_served()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._resync.find_keda())
            group.create_task(self._resync.run())
            group.create_task(self._resync.run_workqueue())
            group.create_task(self._watcher.run(self._resync.until_served, self._resync.list_due.set))
            group.create_task(self._resync.collect_garbage())
            group.create_task(self._watch_tenants())

    async def _watch_tenants(self) -> None:
        await self._resync.until_listed()
        await self._tenants.run()

    def _served(self) -> frozenset[str]:
        """Namespaces that have schedules, or may have some that cannot be listed now."""
        return frozenset(namespace for namespace, _ in self._cache.schedules) | self._resync.refused.keys()

    def _refs(self, namespace: str) -> list[ScheduleRef]:
        return [
            ScheduleRef(self._install, *key, body["metadata"]["uid"])
            for key, body in self._cache.schedules.items()
            if key[0] == namespace
        ]

    def _add_namespace(self, namespace: str) -> None:
        for key in self._cache.schedules:
            if key[0] == namespace:
                self._workqueue.add(key)

    def _observed(self, kind: Kind, body: Mapping[str, Any], deleted: bool) -> None:
        key = self._cache.update(kind, body, deleted=deleted)
        if key is not None:
            self._workqueue.add(key)

    def _watchable(self) -> tuple[str, ...] | None:
        return self._resync.served or (None if self._resync.namespaces else ())

    def _listed(self) -> None:
        self._health.listed = time.monotonic()

    def _queue_available(self) -> None:
        self._health.queue_reached = True
        self._credentials.invalidate()
        for key in self._cache.schedules:
            self._workqueue.add(key)
