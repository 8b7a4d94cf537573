"""What the contestants of bench/controller.py run in: an API server with SweepSchedules, a queue, and a stand-in for KEDA and the workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from bench.kube_api import KubeApi, kube_api
from kubesweep.api.crd import custom_resource_definition
from kubesweep.queue.connect import connect
from kubesweep.queue.model import Finding, Limits, ScheduleRef, Settlement
from kubesweep.queue.service import QueueService
from kubesweep_controller.kube.client import (
    CRONJOBS,
    DEPLOYMENTS,
    LEASES,
    NAMESPACES,
    SCALEDOBJECTS,
    SCHEDULES,
    TRIGGER_AUTHENTICATIONS,
    Body,
    Kind,
    KubeClient,
)
from kubesweep_controller.status.conditions.result import find_condition
from tests.kits.controller_environment import SPEC, install_crd
from tests.kits.polling import until
from tests.kits.servers import Server, binaries

SPACE = 100  # schedules of a namespace
AT_ONCE = 16
RELEASE = "kubesweep"  # namespace and name of the controller's Lease
CHILDREN = (DEPLOYMENTS, CRONJOBS, SCALEDOBJECTS, TRIGGER_AUTHENTICATIONS)
OTHERS = {"secrets", "events", "namespaces"}  # what the controller writes besides; its Lease is left out
T = TypeVar("T")


@dataclass
class World:
    """``schedules`` is their number."""

    schedules: int
    api: KubeApi
    client: KubeClient
    redis: Server
    queue: QueueService

    def writes(self) -> int:
        """Write requests until now, without those to the Lease."""
        counted = {kind.plural for kind in (SCHEDULES, *CHILDREN)} | OTHERS
        return sum(number for resource, number in self.api.writes().items() if resource in counted)

    def queue_calls(self) -> int:
        """Scripts that the queue ran until now. A reconcile of an idle schedule runs one."""
        with self.redis.client() as client:
            stats: Any = client.info("commandstats")
        return int(stats.get("cmdstat_evalsha", {}).get("calls", 0))

    async def bodies(self) -> list[Body]:
        return await self.client.list(SCHEDULES, None)

    async def served(self) -> bool:
        """Whether every schedule has its children, and a status of its generation."""
        for body in await self.bodies():
            if (body.get("status") or {}).get("observedGeneration") != body["metadata"]["generation"]:
                return False
        return all([len(await self.client.list(kind, None)) == self.schedules for kind in CHILDREN])

    async def ready(self) -> bool:
        conditions = [find_condition(body.get("status") or {}, "Ready") or {} for body in await self.bodies()]
        return all(each.get("status") == "True" for each in conditions)

    async def complete_checks(self) -> None:
        """Act for the workers: run every check job, which finds that the source is usable."""
        lease = await self.client.get(LEASES, RELEASE, RELEASE)
        assert lease is not None
        install = lease["metadata"]["uid"][:8]

        async def check(meta: Body) -> None:
            ref = ScheduleRef(install, meta["namespace"], meta["name"], meta["uid"])
            for claim in (await self.queue.claim(ref, "bench", 1, Limits())).jobs:
                assert claim.job.plan is not None
                finding = Finding("SourceReady", True, "Checked", "the table exists", claim.job.plan)
                await self.queue.report(ref, finding)
                await self.queue.settle(ref, "bench", [Settlement(claim)], 0, Limits())

        await for_each([body["metadata"] for body in await self.bodies()], check)


@asynccontextmanager
async def world(schedules: int) -> AsyncIterator[World]:
    """Start everything and create so many schedules, in namespaces of ``SPACE``."""
    redis = Server("redis" if "redis" in binaries() else "valkey", appendonly="yes", appendfsync="everysec").start()
    try:
        async with kube_api() as api:
            client, queue = KubeClient(api.connection), connect(redis.url)
            try:
                await _install(client)
                await _create(client, schedules)
                yield World(schedules, api, client, redis, queue)
            finally:
                await client.close()
                await queue.close()
    finally:
        redis.remove()


async def _install(client: KubeClient) -> None:
    definitions = custom_resource_definition(), _keda(SCALEDOBJECTS), _keda(TRIGGER_AUTHENTICATIONS)
    for definition in definitions:
        await install_crd(client, definition)
    await until(lambda: client.serves(SCHEDULES.group_version))
    await until(lambda: client.serves(SCALEDOBJECTS.group_version))


def _keda(kind: Kind) -> dict[str, Any]:
    """A kind of KEDA. Its objects are Ready from the beginning, as KEDA makes them within a second."""
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    group, version = kind.group_version.split("/")
    names = {"kind": kind.kind, "plural": kind.plural, "singular": kind.kind.lower(), "listKind": f"{kind.kind}List"}
    schema = {"type": "object", "properties": {"spec": free, "status": {**free, "default": ready}}}
    versions = [{"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": versions},
    }


async def _create(client: KubeClient, schedules: int) -> None:
    spaces = [f"team-{number:03d}" for number in range(-(-schedules // SPACE))]
    for name in (RELEASE, *spaces):
        await client.create(NAMESPACES, {"metadata": {"name": name, "namespace": ""}})

    async def create(number: int) -> None:
        meta = {"name": f"close-idle-{number:05d}", "namespace": spaces[number // SPACE]}
        body = {"apiVersion": SCHEDULES.group_version, "kind": SCHEDULES.kind, "metadata": meta, "spec": SPEC}
        await client.create(SCHEDULES, body)

    await for_each(range(schedules), create)


async def for_each(items: Iterable[T], work: Callable[[T], Awaitable[None]]) -> None:
    """Run ``work`` for each item, ``AT_ONCE`` at a time."""
    left = iter(items)

    async def several() -> None:
        for item in left:
            await work(item)

    await asyncio.gather(*(several() for _ in range(AT_ONCE)))
