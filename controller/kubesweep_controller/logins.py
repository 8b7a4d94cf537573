"""How the pods of a namespace and KEDA log in to the queue: one Secret a namespace, and with it users of least rights.

Passwords are derived from the controller's own, so nothing has to be stored, and the Secret is only ever written. It is
written again where its content changed, and now and then because nobody can look whether it is still there. The users of a
server that lost them (a restart without an ACL file) come back as soon as the queue does.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio import RedisCluster
from redis.exceptions import RedisClusterException, RedisError

from kubesweep.queue.redis_connect import close_client, open_client, parse
from kubesweep.queue.redis_errors import outage
from kubesweep_controller.api import SECRETS, Api, Refused
from kubesweep_controller.apply import Hindered
from kubesweep_controller.children.secret import Login, build_secret
from kubesweep_controller.settings import Settings

AGAIN = 3600.0  # seconds after which a Secret is written again, whatever is known of it
SOON = 60.0  # the same where work waits and nobody does it: the Secret may have been deleted
# docs/redis-acl.md, worker and producer together: both run in the namespace. A test compares them with the page.
POD_RULES = (
    "resetchannels -@all +eval +evalsha +exists +hdel +hget +hgetall +hincrby +hkeys +hlen +hmget +hset +pexpire +sadd "
    "+srem +time +unlink +xack +xadd +xclaim +xdel +xgroup|create +xgroup|delconsumer +xinfo|consumers +xpending +xrange "
    "+xread +xrevrange +zadd +zrange +zrangebyscore +zrem"
)
KEDA_RULES = "resetchannels -@all +ping +xlen +eval +type +zcard +llen"
CLUSTER_RULES = "+cluster|slots +cluster|shards +command +readonly +asking +ping"


class Logins:
    """``install`` is part of every user's name and of the keys that they may touch."""

    def __init__(self, settings: Settings, install: str, api: Api, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._install = install
        self._api = api
        self._clock = clock
        self._written: dict[str, tuple[str, float]] = {}
        self._users: set[str] = set()
        self._turn = asyncio.Lock()

    def user(self, namespace: str) -> str:
        """Whom the pods of the namespace log in as; empty: the server's default user."""
        return self._name(namespace) if self._own_users else self._settings.queue.user

    def doubt(self) -> None:
        """The server may have lost its users: set them again at the next occasion."""
        self._users.clear()

    async def ensure(self, namespace: str, *, doubtful: bool = False) -> None:
        """The namespace's Secret, and its users, as they should be. ``doubtful``: there is a sign that the Secret is not
        there. Raises Outage or Hindered."""
        async with self._turn:
            if self._own_users and namespace not in self._users:
                await set_users(self._settings.queue_url, self._install, namespace, self.login(namespace))
                self._users.add(namespace)
            digest, now = self._settings.queue.digest(), self._clock()
            known = self._written.get(namespace)
            if known and known[0] == digest and now - known[1] < (SOON if doubtful else AGAIN):
                return
            await self._write(namespace)
            self._written[namespace] = digest, now

    @property
    def _own_users(self) -> bool:
        return self._settings.per_namespace_users and self._settings.queue.has_login

    def _name(self, namespace: str) -> str:
        return f"ks-{self._install}-{namespace}"

    def login(self, namespace: str) -> Login:
        """Users and passwords of the namespace."""
        queue = self._settings.queue
        password = queue.password()
        if not self._own_users:
            return Login(queue.user, password, queue.user, password)
        pods, keda = derived(password, f"worker/{namespace}"), derived(password, "keda")
        return Login(self._name(namespace), pods, self._name("keda"), keda)

    async def _write(self, namespace: str) -> None:
        queue = self._settings.queue
        secret = build_secret(namespace, self.login(namespace), queue.ca(), queue.sentinel_password())
        try:
            await self._api.apply(SECRETS, secret)
        except Refused as refused:
            raise Hindered(f"Secret {secret['metadata']['name']} in namespace {namespace}: {refused}") from refused


async def set_users(queue_url: str, install: str, namespace: str, login: Login) -> None:
    """Give the namespace's pods and KEDA their users, with the rules of docs/redis-acl.md. Raises Outage."""
    target = parse(queue_url)
    more = ["+select"] if target.options["db"] else []
    more += CLUSTER_RULES.split() if target.kind == "cluster" else []
    keys = [f"~{{ks:{install}/{namespace}/*"]
    looks = [f"%R~{{ks:{install}/*", f"~{{ks:{install}/*:delayed"]
    client: Any = open_client(target)
    try:
        async with asyncio.timeout(target.timeout):
            await _set_user(client, login.user, login.password, [*keys, *POD_RULES.split(), *more])
            await _set_user(client, login.keda_user, login.keda_password, [*looks, *KEDA_RULES.split(), *more])
    except (RedisError, RedisClusterException, OSError, TimeoutError) as error:
        raise outage(error if str(error) else TimeoutError("no answer"), target.where) from error
    finally:
        await close_client(client)


def derived(password: str, purpose: str) -> str:
    """A password that follows from the controller's own, and does not tell it."""
    return hmac.new(password.encode(), purpose.encode(), hashlib.sha256).hexdigest()


async def _set_user(client: Any, name: str, password: str, rules: list[str]) -> None:
    secret = "#" + hashlib.sha256(password.encode()).hexdigest()
    words = ["ACL", "SETUSER", name, "on", "resetpass", secret, "resetkeys", *rules]
    more = {"target_nodes": RedisCluster.ALL_NODES} if isinstance(client, RedisCluster) else {}
    call: Callable[..., Awaitable[Any]] = client.execute_command
    await call(*words, **more)
