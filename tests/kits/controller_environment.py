"""What a controller needs to run: a namespace of a real cluster, a queue on loopback, and controllers as real processes.

No worker runs here. A test acts for it, for example with ``complete_check``. kubectl must work where the tests run (tests/cluster/exec).
"""

from __future__ import annotations

import base64
import signal
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

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
from tests.kits.audit_log import Request, requests
from tests.kits.controller_process import ControllerProcess
from tests.kits.polling import PATIENCE, until
from tests.kits.rbac import create_account
from tests.kits.servers import Server

WORKER = "worker-0"
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


class ControllerEnvironment:
    """One namespace with its queue and the controllers that serve it. ``connection`` has the rights of an administrator."""

    def __init__(self, connection: Kubeconfig, redis: Server, folder: Path) -> None:
        self.connection, self.redis, self.folder = connection, redis, folder
        self.api = KubeClient(connection)
        self.namespace = f"controller-{uuid.uuid4().hex[:8]}"
        self.queue: QueueService = connect(redis.root_url)
        self.processes: list[ControllerProcess] = []
        self._account: Path | None = None

    async def start_controller(
        self, name: str = "controller-0", *, restarts: bool = True, **env: str
    ) -> ControllerProcess:
        """Start a controller of this namespace as a process, with the rights that the chart grants. ``env`` adds variables."""
        if "KUBECONFIG" not in env:
            self._account = self._account or await create_account(self.api, self.namespace, "controller", self.folder)
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
        process = ControllerProcess({**given, **env}, log, restarts=restarts)
        await process.start()
        self.processes.append(process)
        return process

    def controller_log(self) -> str:
        return "".join(file.read_text() for file in sorted(self.folder.glob("*.log")))

    async def kill(self, process: ControllerProcess, how: signal.Signals = signal.SIGKILL) -> int:
        return await process.kill(how)

    async def apply(self, name: str = "carts", **spec: Any) -> dict[str, Any]:
        """Server-side apply of a schedule. ``spec`` replaces fields; None removes one."""
        return await self.api.apply(SCHEDULES, self.schedule_body(name, **spec))

    def schedule_body(self, name: str = "carts", **spec: Any) -> dict[str, Any]:
        merged = {field: value for field, value in (SPEC | spec).items() if value is not None}
        meta = {"name": name, "namespace": self.namespace}
        return {"apiVersion": SCHEDULES.group_version, "kind": SCHEDULES.kind, "metadata": meta, "spec": merged}

    async def get(self, kind: Kind, name: str) -> dict[str, Any] | None:
        return await self.api.get(kind, self.namespace, name)

    async def child(self, kind: Kind, suffix: str, schedule: str = "carts") -> dict[str, Any]:
        return await until(lambda: self.get(kind, f"{schedule}-{suffix}")) or {}

    async def condition(self, type_: str, name: str = "carts") -> tuple[str, str]:
        """Status and reason of a condition; two empty strings where it is missing or of an earlier generation."""
        body = await self.get(SCHEDULES, name) or {}
        status = body.get("status") or {}
        found = (
            condition_of(status, type_) if status.get("observedGeneration") == body["metadata"]["generation"] else None
        )
        return (found["status"], found["reason"]) if found else ("", "")

    async def condition_message(self, type_: str, name: str = "carts") -> str:
        body = await self.get(SCHEDULES, name) or {}
        return str((condition_of(body.get("status") or {}, type_) or {}).get("message", ""))

    async def until_reason(self, type_: str, reason: str, name: str = "carts", seconds: float = PATIENCE) -> None:
        """Wait until a condition has this reason."""
        # KEDA cannot reach the queue on loopback: after a minute, a schedule that is not checked yet reports that instead.
        wanted = {reason, "WorkerStuck"} if reason == "Checking" else {reason}

        async def has_reason() -> bool:
            return (await self.condition(type_, name))[1] in wanted

        try:
            await until(has_reason, seconds)
        except AssertionError:
            raise AssertionError(
                f"{type_} is {await self.condition(type_, name)}, not {reason}\n{self.controller_log()}"
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

    async def complete_check(self, name: str = "carts") -> None:
        """Act for the worker: claim the check job and report that the source is ready."""
        ref = await self.ref(name)

        async def check() -> bool:
            for claim in (await self.queue.claim(ref, WORKER, 1, Limits())).jobs:
                plan = claim.job.plan
                assert plan is not None
                await self.queue.report(ref, Finding("SourceReady", True, "Checked", "the table exists", plan))
                await self.queue.settle(ref, WORKER, [Settlement(claim)], 0, Limits())
                return claim.job.kind == "check"
            return False

        await until(check)

    async def event_reasons(self) -> set[str]:
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
async def controller_environment(redis: Server, folder: Path) -> AsyncIterator[ControllerEnvironment]:
    """An environment with the CRD installed; everything in it is deleted at the end."""
    env = ControllerEnvironment(find(), redis, folder)
    await install_crd(env.api, custom_resource_definition())
    await until(lambda: env.api.serves(SCHEDULES.group_version))
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": env.namespace, "namespace": ""}}
    await env.api.create(Kind("v1", "Namespace", "namespaces"), body)
    try:
        yield env
    finally:
        await env.close()


def kubeconfig(env: ControllerEnvironment, *, server: str = "", token_file: str = "") -> str:
    """The path of a kubeconfig for another address of the API server, with another token, or both."""
    at = env.connection
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
    path = env.folder / f"kubeconfig-{uuid.uuid4().hex[:6]}"
    path.write_text(yaml.safe_dump(config))
    return str(path)


def requests_since(env: ControllerEnvironment, start: str) -> list[Request]:
    """The requests of the environment's controllers in its namespace, from the audit log, in the order of the responses."""
    return [
        each
        for each in requests(start, env.namespace)
        if each.user.startswith(f"system:serviceaccount:{env.namespace}:") and each.namespace == env.namespace
    ]


def writes_since(env: ControllerEnvironment, start: str) -> list[Request]:
    """The requests of ``requests_since`` that write, except to the Lease."""
    found = requests_since(env, start)
    return [each for each in found if each.verb not in ("get", "list", "watch") and each.resource != "leases"]


def now() -> str:
    """The time as the audit log writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
