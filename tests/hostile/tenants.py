"""Two namespaces that one controller serves. One tenant is hostile and has the role `edit` and the credentials of its queue."""

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
from redis.backoff import NoBackoff
from redis.retry import Retry

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
from tests.hostile.attacks import Annotation, Child, Command, Key, Spec
from tests.kits.controller_environment import ControllerEnvironment, controller_environment, kubeconfig
from tests.kits.controller_process import ControllerProcess
from tests.kits.polling import until
from tests.kits.rbac import ACCOUNTS, RBAC
from tests.kits.servers import Server, free_port

NAMESPACES = Kind("v1", "Namespace", "namespaces")
PERIOD = 5.0  # seconds between ticks of the good tenant's schedule
KINDS = {
    "deployment": (DEPLOYMENTS, "-worker"),
    "cronjob": (CRONJOBS, "-tick"),
    "scaledobject": (SCALEDOBJECTS, "-worker"),
}
SECRET = "kubesweep-queue"
Attack = Key | Spec | Annotation | Child | Command


class Tenants:
    """``env`` is the good tenant's environment, ``hostile`` the other tenant's namespace, and ``api`` acts as the hostile tenant."""

    def __init__(
        self, env: ControllerEnvironment, hostile: str, api: KubeClient, process: ControllerProcess, port: int
    ) -> None:
        self.env, self.hostile, self.api, self.process, self.port = env, hostile, api, process, port
        self.passwords: dict[bool, str] = {}
        self.ref: ScheduleRef
        self._clients: dict[bool, redis.Redis] = {}
        self.lateness: list[float] = []

    def body(self, name: str = "evil", **spec: Any) -> dict[str, Any]:
        made = copy.deepcopy(self.env.schedule_body(name, **spec))
        made["metadata"]["namespace"] = self.hostile
        return made

    async def read_credentials(self) -> None:
        """Read the queue's credentials from the Secret, as the role `edit` allows."""
        secret = await until(lambda: self.api.get(SECRETS, self.hostile, SECRET)) or {}
        read = {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}
        self.passwords = {False: read["password"], True: read["kedaPassword"]}

    def client(self, keda: bool = False) -> redis.Redis:
        if keda not in self._clients:
            user = user_names(self.ref.install, self.hostile)[keda]
            self._clients[keda] = redis.Redis(
                port=self.env.redis.port,
                username=user,
                password=self.passwords[keda],
                socket_timeout=30,
                retry=Retry(NoBackoff(), 0),  # by default the client sends a command up to ten times more
            )
        return self._clients[keda]

    async def carry_out(self, attack: Attack) -> None:
        """Try an attack. Refusals are ignored."""
        with contextlib.suppress(Refused, redis.exceptions.RedisError):
            match attack:
                case Key():
                    await asyncio.to_thread(self._overwrite, attack)
                case Command():
                    await asyncio.to_thread(self._send, attack)
                case Spec():
                    await self._set_field(attack)
                case Annotation():
                    meta = {"annotations": {f"kubesweep.dev/{attack.request}": attack.value}}
                    await self.api.patch(SCHEDULES, self.hostile, "evil", {"metadata": meta})
                case Child():
                    await self._change_child(attack)

    def _name(self, name: str | bytes) -> bytes:
        if isinstance(name, str) and name in KEY_NAMES:
            return f"{self.ref.prefix}:{name}".encode()
        return f"{{ks:{self.ref.install}/{self.hostile}/".encode() + (name.encode() if isinstance(name, str) else name)

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

    def _send(self, command: Command) -> None:
        names = {"big", "all", *KEY_NAMES}
        words = [self._name(word) if word in names else word for word in command.words]
        self.client(command.keda).execute_command(*words)  # type: ignore[no-untyped-call]

    async def _set_field(self, spec: Spec) -> None:
        body = self.body()
        place = body["spec"]
        for step in spec.path[:-1]:
            place = place.setdefault(step, {})
        place[spec.path[-1]] = spec.value
        await self.api.apply(SCHEDULES, body)

    async def _change_child(self, child: Child) -> None:
        if child.kind == "secret":
            kind, name = SECRETS, SECRET
        else:
            kind, suffix = KINDS[child.kind]
            name = f"evil{suffix}"
        if child.how == "delete":
            await self.api.delete(kind, self.hostile, name)
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
        await self.api.patch(kind, self.hostile, name, {"metadata": meta})

    async def ticked(self) -> bool:
        return (await self.env.stats("good")).last_tick is not None

    async def assert_other_tenant_served(self) -> None:
        """The controller is the same process and serves /metrics. Records how late the good tenant's tick is."""
        assert self.process.returncode is None, self.env.controller_log()[-3000:]
        last = (await self.env.stats("good")).last_tick or 0.0
        self.lateness.append(time.time() - last - PERIOD)
        where = f"http://127.0.0.1:{self.port}/metrics"
        async with aiohttp.ClientSession() as session, session.get(where) as answer:
            assert answer.status == 200
            assert b'namespace="' in await answer.read()

    def peak_memory(self) -> int:
        """The controller's peak memory in MiB (VmHWM of proc_pid_status(5))."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) // 1024

    def close(self) -> None:
        for client in self._clients.values():
            client.close()


@asynccontextmanager
async def tenants(server: Server, folder: Path) -> AsyncIterator[Tenants]:
    """A controller that serves both tenants, with the rights and the settings of the chart."""
    hostile, port = f"evil-{uuid.uuid4().hex[:8]}", free_port()
    async with controller_environment(server, folder) as env:
        await env.api.create(NAMESPACES, {"metadata": {"name": hostile, "namespace": ""}})
        process = await env.start_controller(
            restarts=False,
            KUBESWEEP_NAMESPACES=f"{env.namespace},{hostile}",
            KUBESWEEP_QUEUE=f"redis://:sesame@127.0.0.1:{server.port}/0",
            KUBESWEEP_QUEUE_USERS="per-namespace",
            KUBESWEEP_NAMESPACE_MEMORY="80Mi",
            KUBESWEEP_PORT=str(port),
        )
        await bind(env.api, hostile, "Role", "controller", env.namespace, of=env.namespace)
        api = KubeClient(await _editor(env, hostile))
        api.agent = "evil"  # so that test_rbac.py does not count it as a controller
        made = Tenants(env, hostile, api, process, port)
        try:
            await env.apply("good", schedule=None, every=f"{PERIOD:.0f}s")
            await env.until_reason("Ready", "Checking", "good")
            body = await env.api.apply(SCHEDULES, made.body())
            good = await env.ref("good")
            made.ref = ScheduleRef(good.install, hostile, "evil", body["metadata"]["uid"])
            await made.read_credentials()
            await until(made.ticked)
            yield made
        finally:
            made.close()
            await api.close()
            await env.api.delete(NAMESPACES, "", hostile)


async def bind(api: KubeClient, namespace: str, kind: str, role: str, account_of: str, *, of: str = "") -> None:
    """Bind a service account of ``account_of`` in ``namespace``: to a copy of the Role in ``of``, or to a ClusterRole."""
    meta = {"name": role, "namespace": namespace}
    if of:
        found = await api.get(Kind(f"{RBAC}/v1", "Role", "roles"), of, role) or {}
        await api.create(Kind(f"{RBAC}/v1", "Role", "roles"), {"metadata": meta, "rules": found["rules"]})
    subject = {"kind": "ServiceAccount", "name": role if of else "evil", "namespace": account_of}
    ref = {"apiGroup": RBAC, "kind": kind, "name": role}
    body = {"metadata": meta, "roleRef": ref, "subjects": [subject]}
    await api.create(Kind(f"{RBAC}/v1", "RoleBinding", "rolebindings"), body)


async def _editor(env: ControllerEnvironment, namespace: str) -> Any:
    """A connection with the cluster role `edit`, including the chart's additions, only in the namespace."""
    await env.api.create(ACCOUNTS, {"metadata": {"name": "evil", "namespace": namespace}})
    await bind(env.api, namespace, "ClusterRole", "edit", namespace)
    rules = [{"apiGroups": ["kubesweep.dev", "keda.sh"], "resources": ["*"], "verbs": ["*"]}]
    roles = Kind(f"{RBAC}/v1", "Role", "roles")
    await env.api.create(roles, {"metadata": {"name": "schedules", "namespace": namespace}, "rules": rules})
    await bind(env.api, namespace, "Role", "schedules", namespace)
    token_request = Kind("v1", "TokenRequest", "serviceaccounts/evil/token")
    answer = await env.api.create(token_request, {"metadata": {"name": "evil", "namespace": namespace}, "spec": {}})
    file = env.folder / "token-evil"
    file.write_text(answer["status"]["token"])
    config = yaml.safe_load(await asyncio.to_thread(Path(kubeconfig(env, token_file=str(file))).read_text))
    return from_kubeconfig(config, env.folder)
