"""Two namespaces that one controller serves, and one of them is hostile: with the rights of `edit` and the logins of its queue."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import copy
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import redis
import yaml

from kubesweep.queue.model import ScheduleRef
from kubesweep.queue.redis.scripts import KEY_NAMES
from kubesweep_controller.kube.client import (
    CRONJOBS,
    DEPLOYMENTS,
    SCALEDOBJECTS,
    SCHEDULES,
    SECRETS,
    Kind,
    KubeClient,
    Refused,
)
from kubesweep_controller.kube.kubeconfig import from_kubeconfig
from kubesweep_controller.queue.users import user_names
from tests.e2e.processes import Controller
from tests.e2e.rights import ACCOUNTS, RBAC
from tests.e2e.stage import Stage, kubeconfig, staged, until
from tests.hostile.mischief import Annotation, Child, Command, Key, Spec
from tests.kits.servers import Server, free_port

NAMESPACES = Kind("v1", "Namespace", "namespaces")
PERIOD = 5.0  # of the good tenant's schedule
KINDS = {
    "deployment": (DEPLOYMENTS, "-worker"),
    "cronjob": (CRONJOBS, "-tick"),
    "scaledobject": (SCALEDOBJECTS, "-worker"),
}
SECRET = "kubesweep-queue"
Mischief = Key | Spec | Annotation | Child | Command


class Tenants:
    """``stage`` is the good one's."""

    def __init__(self, stage: Stage, evil: str, api: KubeClient, process: Controller, port: int) -> None:
        self.stage, self.evil, self.api, self.process, self.port = stage, evil, api, process, port
        self.passwords: dict[bool, str] = {}
        self.ref: ScheduleRef
        self._clients: dict[bool, redis.Redis] = {}
        self.lateness: list[float] = []

    def body(self, name: str = "evil", **spec: Any) -> dict[str, Any]:
        made = copy.deepcopy(self.stage.body(name, **spec))
        made["metadata"]["namespace"] = self.evil
        return made

    async def learn_the_logins(self) -> None:
        """As anybody who may read Secrets of the namespace."""
        secret = await until(lambda: self.api.get(SECRETS, self.evil, SECRET)) or {}
        read = {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}
        self.passwords = {False: read["password"], True: read["kedaPassword"]}

    def client(self, keda: bool = False) -> redis.Redis:
        if keda not in self._clients:
            user = user_names(self.ref.install, self.evil)[keda]
            self._clients[keda] = redis.Redis(
                port=self.stage.redis.port, username=user, password=self.passwords[keda], socket_timeout=30
            )
        return self._clients[keda]

    async def do(self, mischief: Mischief) -> None:
        """Whatever is refused is refused."""
        with contextlib.suppress(Refused, redis.exceptions.RedisError):
            match mischief:
                case Key():
                    await asyncio.to_thread(self._overwrite, mischief)
                case Command():
                    await asyncio.to_thread(self._say, mischief)
                case Spec():
                    await self._respecify(mischief)
                case Annotation():
                    meta = {"annotations": {f"kubesweep.dev/{mischief.order}": mischief.value}}
                    await self.api.patch(SCHEDULES, self.evil, "evil", {"metadata": meta})
                case Child():
                    await self._meddle(mischief)

    def _name(self, name: str | bytes) -> bytes:
        if isinstance(name, str) and name in KEY_NAMES:
            return f"{self.ref.prefix}:{name}".encode()
        return f"{{ks:{self.ref.install}/{self.evil}/".encode() + (name.encode() if isinstance(name, str) else name)

    def _overwrite(self, key: Key) -> None:
        client, name = self.client(), self._name(key.name)
        client.unlink(name)
        for field, value, score in key.entries:
            match key.kind:
                case "string":
                    client.eval("return redis.call('set', KEYS[1], ARGV[1])", 1, name, value)
                case "list":
                    client.eval("return redis.call('rpush', KEYS[1], ARGV[1])", 1, name, value)
                case "set":
                    client.sadd(name, value)
                case "hash":
                    client.hset(name, field, value)
                case "zset":
                    client.zadd(name, {value: score})
                case "stream":
                    client.xadd(name, {"h": field, "b": value})

    def _say(self, command: Command) -> None:
        names = {"big", "all", *KEY_NAMES}
        words = [self._name(word) if word in names else word for word in command.words]
        self.client(command.keda).execute_command(*words)  # type: ignore[no-untyped-call]

    async def _respecify(self, spec: Spec) -> None:
        body = self.body()
        place = body["spec"]
        for step in spec.path[:-1]:
            place = place.setdefault(step, {})
        place[spec.path[-1]] = spec.value
        await self.api.apply(SCHEDULES, body)

    async def _meddle(self, child: Child) -> None:
        if child.kind == "secret":
            kind, name = SECRETS, SECRET
        else:
            kind, suffix = KINDS[child.kind]
            name = f"evil{suffix}"
        if child.how == "delete":
            await self.api.delete(kind, self.evil, name)
            return
        label = {"kubesweep.dev/schedule": child.value, "app.kubernetes.io/managed-by": "kubesweep"}
        owner = {
            "apiVersion": SCHEDULES.group_version,
            "kind": SCHEDULES.kind,
            "name": child.value or "x",
            "uid": child.value or "x",
        }
        meta = {
            "labels": {"labels": label},
            "owner": {"ownerReferences": [owner]},
            "annotate": {"annotations": {"autoscaling.keda.sh/paused-replicas": child.value}},
        }[child.how]
        await self.api.patch(kind, self.evil, name, {"metadata": meta})

    async def ticked(self) -> bool:
        return (await self.stage.stats("good")).last_tick is not None

    async def look(self) -> None:
        """The good tenant's schedule fires on time, the controller is the one that it was and answers."""
        assert self.process.returncode is None, self.stage.log()[-3000:]
        last = (await self.stage.stats("good")).last_tick or 0.0
        self.lateness.append(time.time() - last - PERIOD)
        where = f"http://127.0.0.1:{self.port}/metrics"
        async with aiohttp.ClientSession() as session, session.get(where) as answer:
            assert answer.status == 200
            assert b'namespace="' in await answer.read()

    def peak(self) -> int:
        """The most memory that the controller had, in MiB (VmHWM of proc_pid_status(5))."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) // 1024

    def close(self) -> None:
        for client in self._clients.values():
            client.close()


@asynccontextmanager
async def tenants(server: Server, folder: Path) -> AsyncIterator[Tenants]:
    """A controller that serves both, with the rights and the settings of the chart."""
    evil, port = f"evil-{uuid.uuid4().hex[:8]}", free_port()
    async with staged(server, folder) as stage:
        await stage.api.create(NAMESPACES, {"metadata": {"name": evil, "namespace": ""}})
        process = await stage.start(
            restarts=False,
            KUBESWEEP_NAMESPACES=f"{stage.namespace},{evil}",
            KUBESWEEP_QUEUE=f"redis://:sesame@127.0.0.1:{server.port}/0",
            KUBESWEEP_QUEUE_USERS="per-namespace",
            KUBESWEEP_NAMESPACE_MEMORY="80Mi",
            KUBESWEEP_PORT=str(port),
        )
        await bind(stage.api, evil, "Role", "controller", stage.namespace, of=stage.namespace)
        api = KubeClient(await _editor(stage, evil))
        api.agent = "evil"  # not a controller, for who reads the audit log
        made = Tenants(stage, evil, api, process, port)
        try:
            await stage.apply("good", schedule=None, every=f"{PERIOD:.0f}s")
            await stage.says("Ready", "Checking", "good")
            body = await stage.api.apply(SCHEDULES, made.body())
            good = await stage.ref("good")
            made.ref = ScheduleRef(good.install, evil, "evil", body["metadata"]["uid"])
            await made.learn_the_logins()
            await until(made.ticked)
            yield made
        finally:
            made.close()
            await api.close()
            await stage.api.delete(NAMESPACES, "", evil)


async def bind(api: KubeClient, namespace: str, kind: str, role: str, account_of: str, *, of: str = "") -> None:
    """The account ``controller`` of a namespace may do in another what a Role there is copied from, or what a ClusterRole says."""
    meta = {"name": role, "namespace": namespace}
    if of:
        found = await api.get(Kind(f"{RBAC}/v1", "Role", "roles"), of, role) or {}
        await api.create(Kind(f"{RBAC}/v1", "Role", "roles"), {"metadata": meta, "rules": found["rules"]})
    subject = {"kind": "ServiceAccount", "name": role if of else "evil", "namespace": account_of}
    ref = {"apiGroup": RBAC, "kind": kind, "name": role}
    body = {"metadata": meta, "roleRef": ref, "subjects": [subject]}
    await api.create(Kind(f"{RBAC}/v1", "RoleBinding", "rolebindings"), body)


async def _editor(stage: Stage, namespace: str) -> Any:
    """A connection of somebody with the cluster role `edit`, and what the chart adds to it, in the namespace alone."""
    await stage.api.create(ACCOUNTS, {"metadata": {"name": "evil", "namespace": namespace}})
    await bind(stage.api, namespace, "ClusterRole", "edit", namespace)
    rules = [{"apiGroups": ["kubesweep.dev", "keda.sh"], "resources": ["*"], "verbs": ["*"]}]
    roles = Kind(f"{RBAC}/v1", "Role", "roles")
    await stage.api.create(roles, {"metadata": {"name": "schedules", "namespace": namespace}, "rules": rules})
    await bind(stage.api, namespace, "Role", "schedules", namespace)
    asked = Kind("v1", "TokenRequest", "serviceaccounts/evil/token")
    answer = await stage.api.create(asked, {"metadata": {"name": "evil", "namespace": namespace}, "spec": {}})
    file = stage.folder / "token-evil"
    file.write_text(answer["status"]["token"])
    config = yaml.safe_load(await asyncio.to_thread(Path(kubeconfig(stage, token_file=str(file))).read_text))
    return from_kubeconfig(config, stage.folder)
