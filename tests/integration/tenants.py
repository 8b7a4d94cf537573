"""Two namespaces that share a real queue server, as the controller sees them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from redis.exceptions import ResponseError

from kubesweep.errors import Outage
from kubesweep.queue.connect import connect
from kubesweep.queue.model import OpenResult, PlanVersion, ScheduleRef, SweepRequest
from kubesweep_controller.metrics import Metrics
from kubesweep_controller.queue.credentials import QueueCredentials
from kubesweep_controller.queue.tenants import Tenants
from kubesweep_controller.settings import from_environment
from tests.kits.controller import Recorder
from tests.kits.servers import Server, until

INSTALL = "abcd1234"
EVIL = ScheduleRef(INSTALL, "evil", "carts", "8b5f6f0e-0000-4000-8000-000000000001")
GOOD = ScheduleRef(INSTALL, "good", "carts", "9b5f6f0e-0000-4000-8000-000000000002")
PLAN = PlanVersion(1, "aaaa")
SHARE = 2**20
ENDLESS = "while true do end"


class Cluster(Recorder):
    """Namespaces, each with a uid."""

    def __init__(self) -> None:
        super().__init__()
        self.uids = {"evil": "1", "good": "2"}

    async def get(self, kind: Any, namespace: str | None, name: str) -> dict[str, Any] | None:
        return {"metadata": {"uid": self.uids[name]}} if name in self.uids else None


class SharedQueue:
    """Two served namespaces and a clock. ``admin``: the controller's own user and password, ``url``: of a queue of several servers."""

    def __init__(self, server: Server, admin: str = ":sesame", url: str = "") -> None:
        self.server = server
        self.now = 1_800_000_000.0
        self.cluster = Cluster()
        settings = from_environment(
            {
                "KUBESWEEP_QUEUE": url or f"redis://{admin}@127.0.0.1:{server.port}/0",
                "KUBESWEEP_QUEUE_USERS": "per-namespace",
                "KUBESWEEP_NAMESPACE_MEMORY": "1Mi",
                "KUBESWEEP_WORKER_IMAGE": "worker:1",
                "POD_NAMESPACE": "kubesweep",
                "POD_NAME": "kubesweep-0",
            }
        )
        self.url = settings.queue_url
        self.metrics = Metrics()
        self.refs = [EVIL, GOOD]
        self.on_change: list[str] = []
        self.credentials = QueueCredentials(settings, INSTALL, self.cluster, clock=self.clock)
        self.tenants = Tenants(
            settings,
            INSTALL,
            self.credentials,
            self.metrics,
            lambda: {ref.namespace for ref in self.refs},
            lambda namespace: [ref for ref in self.refs if ref.namespace == namespace],
            self.on_change.append,
            clock=self.clock,
        )

    def clock(self) -> float:
        return self.now

    async def serve(self, ref: ScheduleRef) -> None:
        await self.credentials.ensure(ref.namespace, {"name": ref.name, "uid": ref.uid})

    def client(self, namespace: str, keda: bool = False) -> redis.Redis:
        own = self.credentials.derive(namespace)
        user, password = (own.keda_user, own.keda_password) if keda else (own.user, own.password)
        return redis.Redis(port=self.server.port, username=user, password=password)

    async def sweeps(self, ref: ScheduleRef, tick: float) -> OpenResult:
        """The queue's answer when the namespace's own credentials open a sweep."""
        own = self.credentials.derive(ref.namespace)
        queue = connect(f"redis://{own.user}:{own.password}@127.0.0.1:{self.server.port}/0")
        try:
            return (await queue.open_sweep(ref, SweepRequest(tick=tick, plan=PLAN))).answer
        finally:
            await queue.close()

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


def tenant_server(kind: str) -> Iterator[Server]:
    """A running server whose administrator's password is ``sesame``; removed afterwards."""
    made = Server(kind, **{"requirepass": "sesame", "busy-reply-threshold": "50"})
    made.login = {"password": "sesame"}
    made.start()
    yield made
    made.remove()


async def shared_queue(server: Server) -> SharedQueue:
    """Both namespaces have their credentials."""
    made = SharedQueue(server)
    for ref in made.refs:
        await made.serve(ref)
    return made


def endless(client: redis.Redis, script: str, *names: str) -> threading.Thread:
    """The script runs on the server until it is killed."""

    def run() -> None:
        with pytest.raises((ResponseError, redis.exceptions.ConnectionError)):
            client.eval(script, len(names), *names)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def busy(shared: SharedQueue) -> bool:
    with shared.server.client() as client:
        try:
            client.ping()
        except redis.exceptions.ResponseError as error:
            return "BUSY" in str(error)
    return False


async def ended(shared: SharedQueue, attacker: redis.Redis) -> None:
    """The client sends a script that never ends, and the controller kills it."""
    running = endless(attacker, ENDLESS)
    until(lambda: busy(shared))
    with pytest.raises(Outage):
        await shared.tenants.check()
    await asyncio.to_thread(running.join)


def fill(client: redis.Redis, name: str, size: int) -> None:
    for number in range(size // 65536):
        client.hset(name, str(number), "x" * 65536)


def pair(shared: SharedQueue, namespace: str) -> tuple[str, str]:
    own = shared.credentials.derive(namespace)
    return own.user, own.keda_user
