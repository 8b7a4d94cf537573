"""A stage for the controller: a namespace of a real cluster, a queue on loopback, and controllers as real processes.

For tests that run where kubectl works (tests/cluster/exec). No worker runs here: what one would do, a test does by hand.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import signal
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import yaml

from kubesweep.api.crd import custom_resource_definition
from kubesweep.queue.connect import connect
from kubesweep.queue.model import Finding, Limits, ScheduleRef, Settlement, Stats
from kubesweep.queue.service import QueueService
from kubesweep_controller.kube.client import (
    CRONJOBS,
    DEPLOYMENTS,
    EVENTS,
    LEASES,
    SCALEDOBJECTS,
    SCHEDULES,
    TRIGGER_AUTHENTICATIONS,
    Kind,
    KubeClient,
)
from kubesweep_controller.kube.kubeconfig import Kubeconfig, find
from kubesweep_controller.status.conditions.result import find_condition as condition_of
from tests.e2e.audit import Request, requests
from tests.e2e.processes import Controller
from tests.e2e.rights import account
from tests.kits.deadlines import scaled
from tests.kits.servers import Server, free_port

T = TypeVar("T")
CHILDREN: tuple[tuple[Kind, str], ...] = (
    (DEPLOYMENTS, "worker"),
    (CRONJOBS, "tick"),
    (SCALEDOBJECTS, "worker"),
    (TRIGGER_AUTHENTICATIONS, "worker"),
)
CRDS = Kind("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions")
SPEC: dict[str, Any] = {
    "schedule": "0 0 1 1 *",
    "source": {"urlFrom": {"secretKeyRef": {"name": "shop-db", "key": "url"}}, "table": "carts"},
    "match": [{"column": "updated_at", "before": "now-24h"}],
    "write": {"update": [{"column": "status", "value": "abandoned"}]},
}
PATIENCE = 240.0  # seconds; a deadline that costs nothing where all is well


async def until(look: Callable[[], Awaitable[T]], seconds: float = PATIENCE) -> T:
    """What ``look`` finds as soon as that is true. The cluster tells nobody in particular, so it is asked again and again."""
    found: T | None = None
    seconds = scaled(seconds)
    try:
        async with asyncio.timeout(seconds):
            while not (found := await look()):  # noqa: ASYNC110  see above
                await asyncio.sleep(0.05)
            return found
    except TimeoutError:
        raise AssertionError(f"not within {seconds:g} s; the last answer was {found!r}") from None


class Wire:
    """A way to the API server that can be cut. It reads nothing of what goes through."""

    def __init__(self, server: str) -> None:
        host, _, port = server.removeprefix("https://").rpartition(":")
        self._there = host, int(port)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.port = free_port()

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def cut(self) -> None:
        if self._server is not None:
            self._server.close()
        ends = list(self._open)
        for writer in ends:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in ends), return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, there = await asyncio.open_connection(*self._there)
        self._open |= {writer, there}
        with contextlib.suppress(OSError):
            await asyncio.gather(_pump(reader, there), _pump(back, writer))
        for end in (writer, there):
            end.close()
        self._open -= {writer, there}


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


class Stage:
    def __init__(self, at: Kubeconfig, redis: Server, folder: Path) -> None:
        self.at, self.redis, self.folder = at, redis, folder
        self.api = KubeClient(at)
        self.namespace = f"stage-{uuid.uuid4().hex[:8]}"
        self.queue: QueueService = connect(redis.root_url)
        self.processes: list[Controller] = []
        self._account: Path | None = None

    async def start(self, name: str = "controller-0", *, restarts: bool = True, **env: str) -> Controller:
        """A controller of this namespace, as a process, with the rights of the chart."""
        if "KUBECONFIG" not in env:
            self._account = self._account or await account(self.api, self.namespace, "controller", self.folder)
            env["KUBECONFIG"] = kubeconfig(self, token_file=str(self._account))
        given = {
            "KUBESWEEP_QUEUE": self.redis.url,
            "KUBESWEEP_WORKER_IMAGE": "ghcr.io/kubesweep/worker:none",
            "KUBESWEEP_WORKER_PULL_POLICY": "Never",
            "KUBESWEEP_NAMESPACES": self.namespace,
            "POD_NAMESPACE": self.namespace,
            "POD_NAME": name,
            "KUBESWEEP_PORT": "0",
        }
        log = self.folder / f"{name}-{len(self.processes)}.log"
        process = Controller({**given, **env}, log, restarts=restarts)
        await process.start()
        self.processes.append(process)
        return process

    def log(self) -> str:
        return "".join(file.read_text() for file in sorted(self.folder.glob("*.log")))

    async def kill(self, process: Controller, how: signal.Signals = signal.SIGKILL) -> int:
        return await process.kill(how)

    async def apply(self, name: str = "carts", **spec: Any) -> dict[str, Any]:
        """Server-side apply, as a person does it; fields given as None are left out."""
        return await self.api.apply(SCHEDULES, self.body(name, **spec))

    def body(self, name: str = "carts", **spec: Any) -> dict[str, Any]:
        merged = {field: value for field, value in (SPEC | spec).items() if value is not None}
        meta = {"name": name, "namespace": self.namespace}
        return {"apiVersion": SCHEDULES.group_version, "kind": SCHEDULES.kind, "metadata": meta, "spec": merged}

    async def get(self, kind: Kind, name: str) -> dict[str, Any] | None:
        return await self.api.get(kind, self.namespace, name)

    async def child(self, kind: Kind, suffix: str, schedule: str = "carts") -> dict[str, Any]:
        return await until(lambda: self.get(kind, f"{schedule}-{suffix}")) or {}

    async def condition(self, type_: str, name: str = "carts") -> tuple[str, str]:
        """Status and reason, of the present generation only."""
        body = await self.get(SCHEDULES, name) or {}
        status = body.get("status") or {}
        found = (
            condition_of(status, type_) if status.get("observedGeneration") == body["metadata"]["generation"] else None
        )
        return (found["status"], found["reason"]) if found else ("", "")

    async def message(self, type_: str, name: str = "carts") -> str:
        body = await self.get(SCHEDULES, name) or {}
        return str((condition_of(body.get("status") or {}, type_) or {}).get("message", ""))

    async def says(self, type_: str, reason: str, name: str = "carts", seconds: float = PATIENCE) -> None:
        # KEDA cannot reach the stage's queue: a minute after it was made, a schedule that nobody checked yet says that instead.
        wanted = {reason, "WorkerStuck"} if reason == "Checking" else {reason}

        async def look() -> bool:
            return (await self.condition(type_, name))[1] in wanted

        try:
            await until(look, seconds)
        except AssertionError:
            raise AssertionError(
                f"{type_} is {await self.condition(type_, name)}, not {reason}\n{self.log()}"
            ) from None

    async def ref(self, name: str = "carts") -> ScheduleRef:
        lease = await until(lambda: self.get(LEASES, "kubesweep-controller"))
        body = await self.get(SCHEDULES, name)
        assert lease
        assert body
        return ScheduleRef(lease["metadata"]["uid"][:8], self.namespace, name, body["metadata"]["uid"])

    async def stats(self, name: str = "carts") -> Stats:
        [stats] = await self.queue.stats([await self.ref(name)])
        return stats

    async def be_the_worker(self, name: str = "carts") -> None:
        """Take the check job and find everything as it should be."""
        ref = await self.ref(name)

        async def check() -> bool:
            for claim in (await self.queue.claim(ref, "hand", 1, Limits())).jobs:
                plan = claim.job.plan
                assert plan is not None
                await self.queue.report(ref, Finding("SourceReady", True, "Checked", "it is there", plan))
                await self.queue.settle(ref, "hand", [Settlement(claim)], 0, Limits())
                return claim.job.kind == "check"
            return False

        await until(check)

    async def events(self) -> set[str]:
        return {each["reason"] for each in await self.api.list(EVENTS, self.namespace)}

    async def close(self) -> None:
        for process in self.processes:
            await self.kill(process)
        await self.queue.close()
        namespaces = Kind("v1", "Namespace", "namespaces")
        for body in await self.api.list(SCHEDULES, self.namespace):
            await self.api.delete(SCHEDULES, self.namespace, body["metadata"]["name"])
        await self.api.delete(namespaces, "", self.namespace)
        await self.api.close()


async def install_crd(api: KubeClient, definition: dict[str, Any]) -> None:
    await api.apply(CRDS, definition | {"metadata": definition["metadata"] | {"namespace": ""}})


@asynccontextmanager
async def staged(redis: Server, folder: Path) -> AsyncIterator[Stage]:
    stage = Stage(find(), redis, folder)
    await install_crd(stage.api, custom_resource_definition())
    await until(lambda: stage.api.serves(SCHEDULES.group_version))
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": stage.namespace, "namespace": ""}}
    await stage.api.create(Kind("v1", "Namespace", "namespaces"), body)
    try:
        yield stage
    finally:
        await stage.close()


def kubeconfig(stage: Stage, *, server: str = "", token_file: str = "") -> str:
    """The path of a kubeconfig that leads by another way, or logs in with a token file, or both."""
    at = stage.at
    user: dict[str, str] = {"tokenFile": token_file}
    if not token_file:
        user = {"client-certificate": str(at.cert_file), "client-key": str(at.key_file)}
    cluster: dict[str, Any] = {"server": server or at.server, "insecure-skip-tls-verify": True}
    if not server:
        pem = base64.b64encode((at.ca or "").encode()).decode()
        cluster = {"server": at.server, "certificate-authority-data": pem}
    config = {
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path = stage.folder / f"kubeconfig-{uuid.uuid4().hex[:6]}"
    path.write_text(yaml.safe_dump(config))
    return str(path)


def requests_since(stage: Stage, start: str) -> list[Request]:
    """What controllers of the stage asked the API server for in its namespace, as the audit log has it, in the order of the answers."""
    return [
        each
        for each in requests(start, stage.namespace)
        if each.user.startswith(f"system:serviceaccount:{stage.namespace}:") and each.namespace == stage.namespace
    ]


def writes_since(stage: Stage, start: str) -> list[Request]:
    """Those that write, besides the Lease's."""
    found = requests_since(stage, start)
    return [each for each in found if each.verb not in ("get", "list", "watch") and each.resource != "leases"]


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
